"""Meetings in Chromium: two who speak, those who read along, and captions over a picture."""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import av
import numpy as np
import pytest
from anyio.from_thread import start_blocking_portal

from tests.browser.conftest import ALLOWED, FAKE_DEVICE, Browse
from tests.browser.meetings import address, new_room
from tests.doors.conversations import native
from tests.doors.test_webrtc import recording
from tests.support.proxy import Proxy, proxy
from tests.support.server import Server
from tests.support.speaker import request

PHONE = {"viewport": {"width": 390, "height": 780}}


def speak(server: Server, room: dict[str, str], speaker: str, sample: str) -> str:
    """Says a recording in a room by a WebSocket; its text."""
    # Playwright's loop may run in this thread.
    with ThreadPoolExecutor(1) as thread:
        (text,) = thread.submit(lambda: asyncio.run(native(server.url, recording(sample), room=room["speak"],
                                                           name=speaker))).result().texts
    return text


def lines(page) -> list[tuple[str, str]]:
    """Who said what, from top to bottom."""
    return [tuple(line) for line in page.locator("#segments li.final").evaluate_all(
        "all => all.map(each => [each.querySelector('.voice').textContent, each.querySelector('p').textContent])")]


def wait_for_line(page, name: str, text: str) -> None:
    said = page.locator("#segments li.final").filter(has=page.locator(".voice").filter(has_text=name))
    said.filter(has=page.locator("p").filter(has_text=re.compile(f"^{text}$"))).first.wait_for(state="attached")


def wait_for_state(page, state: str, place: str = "#state-text") -> None:
    page.locator(place).filter(has_text=re.compile(f"^{state}$")).wait_for()


def transcript(server: Server, read: str) -> list[tuple[str, str]]:
    captions = json.loads(request(f"{server.http}/v1/rooms/{read}/transcript.json", "GET")[2])["captions"]
    return [(each["name"], each["text"]) for each in sorted(captions, key=lambda each: each["begin_ms"])]


def create(page) -> dict[str, str]:
    """Makes a meeting on the page; the links that it shows."""
    page.click("#new-meeting summary")
    page.fill("#meeting-name", "周会 & Round")
    page.click("#create button")
    page.wait_for_selector("#link-read:visible")
    page.wait_for_function("() => document.getElementById('link-read').value")
    assert page.inner_text("#room-name") == "周会 & Round"
    page.click("[data-copies=link-read]")
    page.locator("[data-copies=link-read]").filter(has_text=re.compile("Copied|Ctrl")).wait_for()
    assert page.evaluate("() => getSelection().toString()") == page.input_value("#link-read")
    return {name: page.input_value(f"#link-{name}") for name in ("read", "speak", "overlay")}


def join(page, name: str) -> None:
    page.fill("#my-name", name)
    assert page.inner_text("#speak") == "Join and speak"
    page.click("#speak")


def leave(page) -> None:
    page.click("#speak")
    wait_for_state(page, "Stopped")


def test_two_speak_and_all_read_both_in_order(server: Server, browse: Browse, microphone: str,
                                              other_microphone: str) -> None:
    # Words of the two recordings, not whole lines: what a busy machine does to a microphone is not what is tested.
    words = {"Anna": "卧室|空调|二十六", "王小明": "十月|十八|星期"}
    with browse(server.http, *FAKE_DEVICE, *ALLOWED, microphone) as anna:
        links = create(anna)
        with browse(links["speak"], *FAKE_DEVICE, *ALLOWED, other_microphone) as ming, browse(links["read"]) as viewer:
            join(anna, "Anna")
            viewer.locator("#people li", has_text="Anna").wait_for()
            join(ming, "王小明")
            for page in (viewer, anna, ming):
                for name, text in words.items():
                    wait_for_line(page, name, f".*({text}).*")
            assert viewer.locator("#people li").all_inner_texts() == ["Anna", "王小明"]
            assert "Anna: " in viewer.text_content("#spoken") or "王小明: " in viewer.text_content("#spoken")
            leave(anna)
            leave(ming)
            viewer.locator("#nobody").wait_for()
            said = transcript(server, parse_qs(urlsplit(links["read"]).query)["read"][0])
            viewer.wait_for_function(f"() => document.querySelectorAll('#segments li.final').length === {len(said)}")
            assert lines(viewer) == said, "in the order in which it was spoken"
            assert lines(anna) == lines(ming) == said, "what one says oneself comes once"
            check_latecomer(viewer, said)
            check_name_is_kept(anna)
            check_end(anna, viewer, links)


def check_latecomer(viewer, said: list[tuple[str, str]]) -> None:
    colours = "() => [...document.querySelectorAll('#segments li')].map(each => each.dataset.voice)"
    late = viewer.context.browser.new_page()
    late.goto(viewer.url)
    late.wait_for_function(f"() => document.querySelectorAll('#segments li.final').length === {len(said)}")
    assert lines(late) == said
    assert late.evaluate(colours) == viewer.evaluate(colours) and len(set(late.evaluate(colours))) == 2
    late.close()


def check_name_is_kept(page) -> None:
    page.reload()
    assert page.input_value("#my-name") == "Anna"


def check_end(speaker, viewer, links: dict[str, str]) -> None:
    """Ended for all; what was said can be saved, nobody can join."""
    wait_for_state(speaker, "Live", "#room-state")
    if not speaker.is_visible("#end-meeting"):
        speaker.click("#links summary")
    speaker.once("dialog", lambda dialog: dialog.accept())
    speaker.click("#end-meeting")
    wait_for_state(viewer, "The meeting has ended")
    wait_for_state(speaker, "The meeting has ended", "#room-state")
    saved = files(viewer)
    assert saved["txt"].splitlines()
    speaker.click("#speak")
    speaker.locator("#trouble").filter(has_text="Nobody can join this meeting").wait_for()


def files(page) -> dict[str, str]:
    """What is saved, by kind."""
    found = {}
    for link in page.locator("#files a").all():
        with page.expect_download() as download:
            link.click()
        name = download.value.suggested_filename
        assert name.startswith("周会 & Round.")
        found[name.rsplit(".", 1)[1]] = Path(download.value.path()).read_text("utf-8")
    return found


def test_what_was_said_is_saved_in_four_formats(server: Server, browse: Browse) -> None:
    room = new_room(server)
    said = [("<Ann>", speak(server, room, "<Ann>", "number")), ("王小明", speak(server, room, "王小明", "date"))]
    with browse(address(server, room)) as page:
        for name, text in said:
            wait_for_line(page, name, text)
        saved = files(page)
    assert re.findall(r"^\[\d+:\d\d:\d\d\] (.+?): (.+)$", saved["txt"], re.MULTILINE) == said
    everything = json.loads(saved["json"])
    assert [(each["name"], each["text"]) for each in everything["captions"]] == said
    stamp = r"\d\d:\d\d:\d\d{0}\d\d\d --> \d\d:\d\d:\d\d{0}\d\d\d\n"
    cues = re.findall(r"\d+\n" + stamp.format(",") + r"(.+?): (.+)\n", saved["srt"])
    voices = re.findall(stamp.format(r"\.") + r"<v (.+?)>(.+)</v>\n", saved["vtt"])
    for found, names in ((cues, ("<Ann>", "王小明")), (voices, ("&lt;Ann&gt;", "王小明"))):
        assert [name for name, _ in found] == sorted((name for name, _ in found), key=names.index)
        assert {name: "".join(text for each, text in found if each == name) for name in names} == dict(
            zip(names, (text for _, text in said), strict=True))


@contextmanager
def cutting(server: Server) -> Iterator[tuple[Proxy, Callable[[], None]]]:
    """A network before the server, and what cuts it."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(proxy(server.http)) as between:
        yield between, lambda: portal.call(between.cut)


def test_a_lost_connection_is_told_and_what_was_said_meanwhile_comes_once(server: Server, browse: Browse) -> None:
    room = new_room(server)
    first = speak(server, room, "Anna", "command")
    with cutting(server) as (line, cut), browse(f"http://127.0.0.1:{line.port}/room?read={room['read']}",
                                                expected="ERR_") as page:
        wait_for_line(page, "Anna", first)
        line.refusing = True
        cut()
        page.locator("#note").filter(has_text="The connection was lost").wait_for()
        wait_for_state(page, "Connection lost, trying again…")
        second = speak(server, room, "Anna", "date")
        assert lines(page) == [("Anna", first)]
        line.refusing = False
        wait_for_state(page, "Live")
        wait_for_line(page, "Anna", second)
        assert lines(page) == [("Anna", first), ("Anna", second)]
        assert not page.is_visible("#note")


def test_a_connection_that_died_without_a_word_is_made_again(server: Server, browse: Browse) -> None:
    room = new_room(server)
    text = speak(server, room, "Anna", "command")
    with browse(address(server, room)) as page:
        page.clock.install()
        page.reload()
        wait_for_line(page, "Anna", text)
        with page.expect_request(re.compile(r"/live\?after=\d+$")):
            page.clock.fast_forward(60_000)
        wait_for_state(page, "Live")
        assert lines(page) == [("Anna", text)]


def test_a_server_that_keeps_no_sound_says_so(server: Server, browse: Browse) -> None:
    with browse(server.http) as page:
        page.click("#new-meeting summary")
        page.check("#record")
        page.fill("#meeting-name", "A")
        page.press("#meeting-name", "Enter")
        page.locator("#trouble").filter(has_text="its sound is not kept").wait_for()
        wait_for_state(page, "Live", "#room-state")
        assert not page.is_visible("#recorded") and page.input_value("#link-read")


@pytest.mark.parametrize("place", ["/room?read=nonsense", "/?speak=nonsense"])
def test_a_wrong_link_is_told_with_what_to_do(server: Server, browse: Browse, place: str) -> None:
    with browse(server.http + place, expected="404") as page:
        page.locator("#trouble").filter(has_text="There is no meeting behind this link").wait_for()
        page.click("#language")
        assert "此链接没有对应的会议" in page.inner_text("#trouble")


def test_who_speaks_says_who_they_are(server: Server, browse: Browse) -> None:
    room = new_room(server)
    with browse(address(server, room, ""), *ALLOWED) as page:
        wait_for_state(page, "Live", "#room-state")
        page.fill("#my-name", "  ")
        page.click("#speak")
        assert "Say who you are" in page.inner_text("#trouble")
        assert page.evaluate("() => document.activeElement.id") == "my-name"
        assert page.inner_text("#state-text") == "Not started"


def test_on_a_phone_nothing_is_wider_than_the_screen(server: Server, browse: Browse) -> None:
    room = new_room(server, "Mit einem recht langen Namen, der auf einem Telefon nicht in eine Zeile passt")
    text = speak(server, room, "W" * 60, "number")
    wide = "() => document.documentElement.scrollWidth - window.innerWidth"
    for page_name in ("room", ""):
        with browse(address(server, room, page_name, "#new"), **PHONE) as page:
            wait_for_line(page, "W" * 60, text)
            assert page.evaluate(wide) <= 0
            assert page.locator("#segments li p").first.bounding_box()["width"] > 200


def pixels(page) -> np.ndarray:
    """The page as a picture with its transparency: rows, columns, red green blue alpha."""
    with av.open(io.BytesIO(page.screenshot(omit_background=True))) as picture:
        return next(picture.decode(video=0)).to_ndarray(format="rgba")


def test_an_overlay_shows_the_latest_lines_on_nothing_and_then_nothing(server: Server, browse: Browse) -> None:
    room = new_room(server)
    with browse(address(server, room, "overlay", "&size=40&keep=2"), viewport={"width": 1000, "height": 400}) as page:
        latest = speak(server, room, "王小明", "date")
        page.locator("#segments p").filter(has_text=latest).wait_for()
        shown = pixels(page)
        rows = np.flatnonzero(shown[:, :, 3].any(axis=1))
        assert rows.min() > 200, "nothing above the captions"
        assert (shown[rows.min():, :, :3].max(axis=2) == 255).any(), "white on dark"
        assert (shown[:, :20, 3] == 0).all() and (shown[:, -20:, 3] == 0).all()
        assert page.evaluate("() => getComputedStyle(document.documentElement).overflow") == "hidden"
        page.wait_for_function("() => !document.querySelector('#segments li')")
        assert not pixels(page)[:, :, 3].any(), "with nobody speaking nothing is left"


def test_an_overlays_settings_are_told_where_they_cannot_be_taken(server: Server, browse: Browse) -> None:
    room = new_room(server)
    with browse(address(server, room, "overlay", "&size=900&lines=x&wide=1&delay=2")) as page:
        told = page.locator("#told p").all_inner_texts()
        assert told == ["size=900: 16–200 are allowed. 200 is used.", "lines=x: 1–8 are allowed. 2 is used.",
                        "wide: there is no such setting. There are room, lines, size, delay, keep, box, names."]
        style = "name => document.documentElement.style.getPropertyValue(name)"
        assert [page.evaluate(style, name) for name in ("--size", "--lines")] == ["200px", "2"]
