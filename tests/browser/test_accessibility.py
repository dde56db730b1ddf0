"""Every view of the pages, judged by axe-core after WCAG 2.1, levels A and AA."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.resources import files

import pytest

from tests.browser.conftest import ALLOWED, CHROMIUM, FAKE_DEVICE, PATIENCE_MS
from tests.browser.meetings import address, new_room
from tests.support.server import Server

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
NO_MICROPHONE = """() => {
  navigator.mediaDevices.getUserMedia = async () => { throw new DOMException("", "NotAllowedError"); };
}"""
LINES = """async () => {
  const {Captions} = await import("/static/captions.js");
  const find = id => document.getElementById(id);
  const captions = new Captions({transcript: find("transcript"), segments: find("segments"), spoken: find("spoken"),
                                 follows: () => {}});
  for (let segment = 0; segment < 30; segment += 1)
    captions.final({segment, text: `第 ${segment} 次会议在下午三点`, start_ms: segment * 4000,
                    end_ms: segment * 4000 + 3000, reason: "silence", tokens: [], hotwords: ["会议"]});
  captions.partial({segment: 30, revision: 1, text: "今天天气很好", stable: 3, start_ms: 120000, end_ms: 121000});
}"""
ROOM_LINES = """async () => {
  const {RoomCaptions} = await import("/static/room-captions.js");
  const find = id => document.getElementById(id);
  const captions = new RoomCaptions({transcript: find("transcript") ?? find("bar"), segments: find("segments"),
                                     spoken: find("spoken"), follows: () => {}});
  const speakers = Array.from({length: 9}, (_, number) => ({speaker: number, name: `Speaker ${number}`}));
  captions.room({speakers});
  for (const {speaker, name} of speakers) {
    const line = {speaker, name, begin_ms: 4000 * speaker, end_ms: 4000 * speaker + 3000};
    captions.said({...line, id: speaker, segment: 0, text: "下次会议在下午三点", hotwords: ["会议"]});
    captions.saying({...line, segment: 1, begin_ms: 40_000, text: "今天天气很好", stable: 3});
  }
  const people = find("people");
  if (people) captions.showPeople(people);
}"""


def nothing(_: object) -> None:
    """The page as it opens."""


def with_lines(page) -> None:
    page.evaluate(LINES)
    page.locator("#empty").evaluate("each => { each.hidden = true; }")


def scrolled_back(page) -> None:
    with_lines(page)
    page.locator("#latest").evaluate("each => { each.hidden = false; }")


def speaking(page) -> None:
    page.click("#speak")
    page.locator("#state-text").filter(has_text="Listening").wait_for()
    page.evaluate(LINES)


def reconnecting(page) -> None:
    page.evaluate("() => { window.WebSocket = class { constructor() { setTimeout(() => this.onclose({}), 0); } }; }")
    with page.expect_response(lambda answer: answer.request.method == "POST") as answer:
        speaking(page)
    page.evaluate("address => { fetch(address, {method: 'DELETE'}); }", answer.value.headers["location"])
    page.locator("#state-text").filter(has_text="Connecting again").wait_for()


def with_settings(page) -> None:
    page.click("#settings summary")
    page.wait_for_selector("#microphone option:nth-child(2)", state="attached")


def with_an_error(page) -> None:
    page.evaluate(NO_MICROPHONE)
    page.click("#speak")
    page.wait_for_selector("#trouble:not([hidden])")


def with_a_note(page) -> None:
    page.evaluate("() => { window.RTCPeerConnection = undefined; }")
    page.click("#speak")
    page.wait_for_selector("#note:not([hidden])")


def in_chinese(page) -> None:
    page.click("#language")
    with_lines(page)
    page.click("#settings summary")


def with_a_file(page) -> None:
    """The file is on its way: as it stands while it is read."""
    with_lines(page)
    page.evaluate("""() => {
      document.getElementById("file-panel").hidden = false;
      document.getElementById("file-name").textContent = "recording.wav";
      document.getElementById("file-bar").value = 0.4;
      document.getElementById("file-done").textContent = "0:24 of 1:00";
      for (const id of ["speak", "sample", "choose"]) document.getElementById(id).ariaDisabled = "true";
    }""")


def with_a_hint(page) -> None:
    page.locator("#drop").evaluate("each => { each.hidden = false; }")


def creating(page) -> None:
    page.click("#new-meeting summary")


def with_speakers(page) -> None:
    page.evaluate(ROOM_LINES)
    page.locator("#empty").evaluate("each => { each.hidden = true; }")
    page.wait_for_selector("h1:has-text('Round'), h2:has-text('Round')")


def with_links(page) -> None:
    with_speakers(page)
    page.wait_for_selector("#end-meeting")


def recorded(page) -> None:
    with_speakers(page)
    page.locator("#recorded").evaluate("each => { each.hidden = false; each.textContent = 'It is recorded.'; }")


def lost(page) -> None:
    page.wait_for_selector("#trouble:not([hidden])")


def over_a_picture(page) -> None:
    page.evaluate(ROOM_LINES)


def in_a_room(page: str, more: str = "") -> Callable[[Server], str]:
    return lambda server: address(server, new_room(server), page, more).removeprefix(server.http)


@dataclass(frozen=True)
class View:
    """`prepare` brings the page at `path` into the state that is judged; `path` may depend on the server."""

    prepare: Callable[[object], None] = nothing
    path: str | Callable[[Server], str] = "/"
    options: dict[str, object] = field(default_factory=dict)


VIEWS = {
    "start": View(),
    "lines": View(with_lines),
    "scrolled back": View(scrolled_back),
    "speaking": View(speaking),
    "reconnecting": View(reconnecting),
    "settings": View(with_settings),
    "error": View(with_an_error),
    "note": View(with_a_note),
    "Chinese": View(in_chinese),
    "dark": View(with_lines, options={"color_scheme": "dark"}),
    "dark settings": View(with_settings, options={"color_scheme": "dark"}),
    "dark error": View(with_an_error, options={"color_scheme": "dark"}),
    "file": View(with_a_file),
    "dark file": View(with_a_file, options={"color_scheme": "dark"}),
    "dropping": View(with_a_hint),
    "phone": View(with_lines, options=PHONE),
    "phone settings": View(with_settings, options=PHONE),
    "creating a meeting": View(creating),
    "meeting": View(with_links, in_a_room("", "#new")),
    "dark meeting": View(with_links, in_a_room("", "#new"), {"color_scheme": "dark"}),
    "phone meeting": View(with_links, in_a_room("", "#new"), PHONE),
    "reading": View(recorded, in_a_room("room")),
    "dark reading": View(recorded, in_a_room("room"), {"color_scheme": "dark"}),
    "phone reading": View(with_speakers, in_a_room("room"), PHONE),
    "wrong link": View(lost, "/room?read=nonsense"),
    "overlay": View(over_a_picture, in_a_room("overlay", "&lines=8&wide=1")),
}


@pytest.fixture(scope="module")
def browser(microphone: str) -> Iterator[object]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, \
            playwright.chromium.launch(executable_path=CHROMIUM, args=[*FAKE_DEVICE, *ALLOWED, microphone]) as browser:
        yield browser


@pytest.mark.parametrize("name", VIEWS)
def test_axe_finds_nothing(name: str, browser, server: Server) -> None:
    passed, violations = judged(VIEWS[name], browser, server)
    assert "color-contrast" in passed and "document-title" in passed
    assert violations == []


def test_axe_finds_what_is_wrong(browser, server: Server) -> None:
    spoilt = View(lambda page: page.evaluate("() => { document.querySelector('h1').style.color = '#999'; }"))
    _, violations = judged(spoilt, browser, server)
    assert len(violations) == 1 and violations[0].startswith("color-contrast: ['h1']")


def judged(view: View, browser, server: Server) -> tuple[set[str], list[str]]:
    path = view.path if isinstance(view.path, str) else view.path(server)
    with browser.new_context(**{"locale": "en", "viewport": {"width": 1100, "height": 700}, **view.options}) as context:
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto(server.http + path)
        view.prepare(page)
        return judge(page)


def judge(page) -> tuple[set[str], list[str]]:
    """The rules that hold, and of each that does not where and why."""
    page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8"))
    found = page.evaluate("tags => axe.run({runOnly: {type: 'tag', values: tags}, resultTypes: ['violations']})", TAGS)
    return ({rule["id"] for rule in found["passes"]},
            [f"{rule['id']}: {node['target']} {node['failureSummary']}" for rule in found["violations"]
             for node in rule["nodes"]])
