"""What people choose on the page, what may fail before a word is heard, and the sentence that says what to do."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.browser.conftest import ALLOWED, FAKE_DEVICE, Browse
from tests.browser.test_page import saved, stop, wait_for_state
from tests.support.server import Server

REFUSED = """name => {
  navigator.mediaDevices.getUserMedia = async () => { throw new DOMException("", name); };
}"""
ASKED = """() => {
  const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  window.asked = [];
  navigator.mediaDevices.getUserMedia = async wishes => {
    window.asked.push(wishes.audio);
    window.stream = await real(wishes);
    return window.stream;
  };
}"""
PROCESSING = ("echoCancellation", "noiseSuppression", "autoGainControl")


@pytest.fixture(scope="module")
def opened(server: Server, browse: Browse, microphone: str) -> Iterator[object]:
    with browse(server.http, *FAKE_DEVICE, *ALLOWED, microphone) as page:
        yield page


@pytest.fixture
def page(opened) -> object:
    opened.evaluate("localStorage.clear()")
    opened.reload()
    return opened


def trouble(page, said: str) -> None:
    page.locator("#trouble").filter(has_text=said).wait_for()


@pytest.mark.parametrize(("name", "said", "in_chinese"), [
    ("NotAllowedError", "allow the microphone", "允许麦克风"),
    ("NotFoundError", "Plug one in", "请接上麦克风"),
    ("NotReadableError", "Close other programs", "请关闭正在使用它的其他程序"),
    ("OverconstrainedError", "Choose another one", "请选择另一个"),
])
def test_a_microphone_that_cannot_be_had_is_told_in_both_languages(page, name: str, said: str, in_chinese: str) -> None:
    page.evaluate(REFUSED, name)
    page.click("#speak")
    trouble(page, said)
    page.click("#language")
    trouble(page, in_chinese)
    assert page.is_enabled("#speak") and page.inner_text("#speak") == "开始"


def test_a_server_that_is_not_there_is_told(page) -> None:
    page.route("**/v1/webrtc", lambda route: route.fulfill(json={"offered": False, "ice_servers": []}))
    page.evaluate("() => { window.WebSocket = class { constructor() { setTimeout(() => this.onclose({}), 0); } }; }")
    page.click("#speak")
    trouble(page, "cannot be reached. Check that it runs")
    page.unroute("**/v1/webrtc")


def test_the_browsers_processing_and_the_microphone_are_the_users_choice_and_are_kept(page) -> None:
    page.evaluate(ASKED)
    page.click("#speak")
    wait_for_state(page, "Listening")
    stop(page)
    page.click("#settings summary")
    for name in PROCESSING:
        page.check(f"#{name}")
    device = page.eval_on_selector("#microphone", "each => each.options[1].value")
    page.select_option("#microphone", device)
    page.reload()
    page.evaluate(ASKED)
    page.click("#speak")
    wait_for_state(page, "Listening")
    stop(page)
    (asked,) = page.evaluate("window.asked")
    assert {name: asked[name] for name in PROCESSING} == dict.fromkeys(PROCESSING, True)
    assert asked["deviceId"] == {"exact": device}


def test_nothing_is_done_to_the_sound_unless_it_is_chosen(page) -> None:
    page.evaluate(ASKED)
    page.click("#speak")
    wait_for_state(page, "Listening")
    stop(page)
    assert page.evaluate("window.asked") == [dict.fromkeys(PROCESSING, False)]


def test_a_microphone_that_is_unplugged_ends_it_with_what_was_said(page) -> None:
    page.evaluate(ASKED)
    page.click("#speak")
    page.locator("#segments li").first.wait_for()
    # As the browser does when the device goes.
    page.evaluate("() => window.stream.getAudioTracks()[0].dispatchEvent(new Event('ended'))")
    trouble(page, "unplugged or taken away")
    assert page.inner_text("#speak") == "Start" and page.locator("#segments li:not(.final)").count() == 0


def test_window_and_silence_say_what_they_mean_and_hold_from_the_next_start(page) -> None:
    page.click("#settings summary")
    windows = page.eval_on_selector_all("#window option", "all => all.map(each => each.value)")
    page.select_option("#window", windows[-1])
    _, hop, ahead = map(int, windows[-1].split(","))
    note = page.inner_text("#window-note")
    assert f"{0.06 * ahead:.2f}".removesuffix("0") in note and f"{0.06 * (hop + ahead):.2f}".removesuffix("0") in note
    page.fill("#silence", "400")
    assert page.inner_text("#silence-shown") == "0.4 s"
    page.focus("#speak")
    page.keyboard.press("Enter")
    page.locator("#segments li.final").first.wait_for()
    page.keyboard.press("Enter")
    wait_for_state(page, "Stopped")
    everything = json.loads(saved(page, "json"))
    assert everything["window"]["chunk_size_frames"][1:] == [hop, ahead]


def test_a_page_that_browsers_do_not_trust_says_where_to_go(server: Server, browse: Browse) -> None:
    address = server.http.replace("127.0.0.1", "captions.test")
    with browse(address, *FAKE_DEVICE, *ALLOWED, "--host-resolver-rules=MAP captions.test 127.0.0.1") as page:
        page.click("#speak")
        trouble(page, f"Open https://{address.removeprefix('http://')}")
        page.click("#sample")
        page.locator("#segments li").first.wait_for()
        assert page.inner_text("#by") == "WebRTC", "what the sentence advises works"
        stop(page)
