"""The captions page in Chromium: the whole way from a microphone to text, and what is said where it fails."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.browser.conftest import ALLOWED, FAKE_DEVICE, NO_UDP, Browse
from tests.doors.conversations import native
from tests.doors.test_webrtc import recording
from tests.support.server import Server
from tests.support.speaker import request

TOP = Path(__file__).parents[2]


def by_socket(server: Server, name: str) -> str:
    """What a WebSocket gets for a recording."""
    # Playwright's loop may run in this thread.
    with ThreadPoolExecutor(1) as thread:
        (text,) = thread.submit(lambda: asyncio.run(native(server.url, recording(name)))).result().texts
    return text


@pytest.fixture(scope="module")
def expected(server: Server) -> str:
    """The text of what the microphone hears."""
    return by_socket(server, "command")


def page_texts(page) -> list[str]:
    return page.locator("#segments li.final p").all_inner_texts()


def wait_for_text(page, text: str) -> None:
    # The first time round, the recording may have begun before the session.
    page.locator("#segments li.final p").filter(has_text=re.compile(f"^{text}$")).first.wait_for()


def wait_for_state(page, state: str) -> None:
    page.locator("#state-text").filter(has_text=re.compile(f"^{state}$")).wait_for()


def stop(page) -> None:
    page.click("#speak")
    wait_for_state(page, "Stopped")


def saved(page, kind: str) -> str:
    page.select_option("#format", kind)
    with page.expect_download() as download:
        page.click("#save")
    assert download.value.suggested_filename.endswith(f".{kind}")
    return Path(download.value.path()).read_text("utf-8")


def test_what_the_microphone_hears_stands_on_the_page_by_webrtc(server: Server, browse: Browse, microphone: str,
                                                                expected: str) -> None:
    with browse(server.http, *FAKE_DEVICE, *ALLOWED, microphone) as page:
        page.click("#speak")
        wait_for_text(page, expected)
        assert page.inner_text("#by") == "WebRTC"
        assert not page.is_visible("#note") and not page.is_visible("#trouble")
        assert expected in page.text_content("#spoken"), "a screen reader is told finals"
        assert re.fullmatch(r"\d+\.\d s", page.inner_text("#delay"))
        check_hotwords(page, expected)
        stop(page)
        check_files(page, expected)


def check_hotwords(page, expected: str) -> None:
    """Changed while speaking: the next line that has one shows it marked."""
    page.click("#settings summary")
    page.fill("#hotwords", f"{expected[3:5]}\n龘")
    page.keyboard.press("Tab")
    page.locator("#segments li.final mark").first.wait_for()
    assert page.locator("#segments mark").first.inner_text() == expected[3:5]
    assert "no characters for 龘" in page.inner_text("#note")
    page.fill("#hotwords", "x" * 65)
    page.keyboard.press("Tab")
    page.locator("#note").filter(has_text="The hotwords were not taken").wait_for()


def check_files(page, expected: str) -> None:
    shown = page_texts(page)
    assert saved(page, "txt").splitlines() == shown
    everything = json.loads(saved(page, "json"))
    assert everything["model"] and [segment["text"] for segment in everything["segments"]] == shown
    stamp = r"\d\d:\d\d:\d\d{0}\d\d\d"
    for kind, point, head in (("srt", ",", ""), ("vtt", r"\.", "WEBVTT\n\n")):
        written = saved(page, kind)
        assert written.startswith(head)
        cues = [cue.splitlines() for cue in written[len(head):].strip().split("\n\n")]
        times = [line for cue in cues for line in cue if "-->" in line]
        assert all(re.fullmatch(rf"{stamp} --> {stamp}".format(point), line) for line in times)
        assert len(times) == len(cues)
        assert "".join(cue[-1] for cue in cues).replace(" ", "") == "".join(shown).replace(" ", "")
        assert expected[:6] in written


def test_without_udp_it_goes_by_websocket_and_says_so(server: Server, browse: Browse, microphone: str,
                                                      expected: str) -> None:
    with browse(server.http, *FAKE_DEVICE, *ALLOWED, *NO_UDP, microphone) as page:
        page.click("#speak")
        wait_for_text(page, expected)
        assert page.inner_text("#by") == "WebSocket"
        assert "WebSocket" in page.inner_text("#note") and "UDP" in page.inner_text("#note")
        stop(page)
        page.click("#settings summary")
        page.select_option("#way", "webrtc")
        page.click("#speak")
        page.locator("#trouble").filter(has_text="WebRTC could not connect (no way for UDP was found)").wait_for()


def test_without_a_microphone_it_says_so_and_plays_the_sample(server: Server, browse: Browse) -> None:
    with browse(server.http, *ALLOWED) as page:
        page.click("#speak")
        page.wait_for_selector("#trouble:not([hidden])")
        assert "No microphone was found" in page.inner_text("#trouble")
        page.click("#sample")
        wait_for_state(page, "Stopped")
        assert page_texts(page) == [by_socket(server, "meeting")]
        assert not page.is_visible("#trouble")


def test_a_microphone_that_is_not_allowed_is_told_with_what_to_do(server: Server, browse: Browse) -> None:
    with browse(server.http, *FAKE_DEVICE) as page:
        page.click("#speak")
        page.wait_for_selector("#trouble:not([hidden])")
        assert "allow the microphone" in page.inner_text("#trouble")
        page.click("#language")
        assert "允许麦克风" in page.inner_text("#trouble")
        assert page.get_attribute("html", "lang") == "zh-Hans"
        assert page.inner_text("#speak") == "开始"


def test_a_full_server_is_told_with_what_to_do(server: Server, browse: Browse) -> None:
    capacity = json.loads(request(f"{server.http}/health/ready", "GET")[2])["streams_at_once"]
    with sessions(server, capacity), browse(server.http, *ALLOWED) as page:
        page.click("#sample")
        page.wait_for_selector("#trouble:not([hidden])")
        assert re.search(r"The server is full. Wait \d+ s", page.inner_text("#trouble"))


@contextmanager
def sessions(server: Server, count: int) -> Iterator[None]:
    """So many sessions that are open and silent."""
    from websockets.sync.client import connect

    with ExitStack() as stack:
        for _ in range(count):
            client = stack.enter_context(connect(f"{server.url}/v1/stream"))
            client.send('{"type": "start"}')
            if json.loads(client.recv())["type"] == "error":
                break
        yield


def test_the_readmes_script_works_as_it_stands(server: Server, browse: Browse, microphone: str, expected: str,
                                               tmp_path: Path) -> None:
    script = re.search(r"```html\n(.*?)```", (TOP / "README.md").read_text("utf-8"), re.DOTALL)[1]
    own = script.replace("ws://127.0.0.1:10095", server.url)
    assert own != script
    (tmp_path / "mine.html").write_text('<meta charset="utf-8"><link rel="icon" href="data:,">' + own, "utf-8")
    with serving(tmp_path) as address, browse(f"{address}/mine.html", *FAKE_DEVICE, *ALLOWED, microphone) as page:
        page.click("#speak")
        page.locator("#text").filter(has_text=expected).wait_for()


@contextmanager
def serving(directory: Path) -> Iterator[str]:
    """The address of a plain web server."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=directory)) as web:
        thread = Thread(target=web.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{web.server_port}"
        finally:
            web.shutdown()
            thread.join()
