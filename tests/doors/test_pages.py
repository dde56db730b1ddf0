"""The captions page's files: headers, types, words in both languages, contrast."""

from __future__ import annotations

import re
from pathlib import Path

import httpx2
import pytest

from stream_server.doors import meetings
from stream_server.doors.http import Health, create_http
from stream_server.doors.pages import DIRECTORY, HEADERS

TOP = Path(__file__).parents[2]
SCRIPTS = "".join(path.read_text("utf-8") for path in DIRECTORY.glob("*.js"))
PAGE = (DIRECTORY / "index.html").read_text("utf-8")
STYLE = (DIRECTORY / "style.css").read_text("utf-8")


def client() -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(create_http(Health(), lambda: b""))
    return httpx2.AsyncClient(transport=transport, base_url="http://door")


async def test_people_get_the_page_and_programs_get_words() -> None:
    async with client() as http:
        page = await http.get("/", headers={"Accept": "text/html,*/*"})
        words = await http.get("/")
    assert page.text == PAGE and page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "ws://door/v1/stream" in words.text and words.headers["Content-Type"].startswith("text/plain")
    assert page.headers["Vary"] == words.headers["Vary"] == "Accept"
    policy = page.headers["Content-Security-Policy"]
    assert policy == HEADERS["Content-Security-Policy"] and "unsafe" not in policy and "http" not in policy


@pytest.mark.parametrize(("name", "kind"), [("app.js", "text/javascript; charset=utf-8"), ("sample.wav", "audio/wav"),
                                            ("style.css", "text/css; charset=utf-8"), ("icon.svg", "image/svg+xml")])
async def test_files_come_with_their_type_and_once(name: str, kind: str) -> None:
    async with client() as http:
        first = await http.get(f"/static/{name}")
        again = await http.get(f"/static/{name}", headers={"If-None-Match": first.headers["ETag"]})
        changed = await http.get(f"/static/{name}", headers={"If-None-Match": '"other"'})
    assert first.content == (DIRECTORY / name).read_bytes() and first.headers["Content-Type"] == kind
    assert all(first.headers[header] == value for header, value in HEADERS.items())
    assert (again.status_code, again.content, changed.status_code) == (304, b"", 200)


async def test_a_server_without_rooms_says_so() -> None:
    transport = httpx2.ASGITransport(create_http(Health(), lambda: b"", meetings.routes(None)))
    async with httpx2.AsyncClient(transport=transport, base_url="http://door") as http:
        for answer in (await http.post("/v1/rooms", json={"name": "x"}), await http.get("/v1/rooms/x/live"),
                       await http.get("/v1/rooms/x/transcript.srt"), await http.delete("/v1/rooms/x")):
            assert (answer.status_code, answer.json()["code"]) == (404, "unsupported")


@pytest.mark.parametrize("name", ["nothing.js", "..%2Fapp.py", "%2Fetc%2Fpasswd", ".", "__pycache__"])
async def test_nothing_else_is_served(name: str) -> None:
    async with client() as http:
        assert (await http.get(f"/static/{name}")).status_code == 404


def test_the_page_needs_nothing_from_elsewhere() -> None:
    assert re.findall(r"(?:src|href)=\"(?!/static/)", PAGE) == []
    foreign = re.findall(r"https?://[\w.]+", SCRIPTS + STYLE + PAGE)
    assert foreign == []
    assert "style=" not in PAGE and not re.search(r"\son\w+=", PAGE), "the policy forbids both"
    for name in re.findall(r"/static/([\w.-]+)", PAGE + SCRIPTS) + re.findall(r"from \"\./([\w.-]+)\"", SCRIPTS):
        assert (DIRECTORY / name).is_file(), name


def test_both_languages_have_a_sentence_for_everything() -> None:
    written = "".join((DIRECTORY / name).read_text("utf-8") for name in ("texts.js", "room-texts.js"))
    english, chinese = ("".join(re.findall(rf"^  {language}: \{{\n(.*?)^  \}},", written, re.DOTALL | re.MULTILINE))
                        for language in ("en", "zh"))
    pairs = [dict(re.findall(r"\"([\w-]+)\": \"((?:[^\"\\]|\\.)*)\"", words)) for words in (english, chinese)]
    assert pairs[0].keys() == pairs[1].keys()
    for key in pairs[0]:
        assert set(re.findall(r"\{\w+\}", pairs[0][key])) == set(re.findall(r"\{\w+\}", pairs[1][key])), key
    asked = set(re.findall(r"data-(?:text|label)=\"([\w-]+)\"", PAGE))
    asked |= set(re.findall(r"(?:text|note|Trouble|NoWay)\(\"([\w-]+)\"", SCRIPTS))
    asked |= set(re.findall(r"(?:Error|\d{4}): \"([a-z-]+)\"", SCRIPTS))
    assert len(asked) > 50 and asked <= pairs[0].keys(), asked - pairs[0].keys()


def test_the_sample_is_the_one_that_comes_with_the_code() -> None:
    assert (DIRECTORY / "sample.wav").read_bytes() == (TOP / "samples" / "meeting.wav").read_bytes()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_all_words_stand_out_from_what_is_behind_them(theme: str) -> None:
    blocks = [dict(re.findall(r"--([\w-]+): (#\w{6})", block)) for block in re.findall(r"\{[^{}]*\}", STYLE)]
    light, dark, system = (block for block in blocks if "page" in block)
    assert dark == system, "dark by choice and dark by the system are the same"
    colours = light if theme == "light" else {**light, **dark}
    for words, behind in (("text", "page"), ("text", "surface"), ("loose", "page"), ("quiet", "page"),
                          ("quiet", "surface"), ("on-accent", "accent"), ("trouble", "trouble-back"),
                          ("note", "note-back")):
        assert contrast(colours[words], colours[behind]) >= 4.5, (words, behind)
    for sign, behind in (("focus", "page"), ("focus", "surface"), ("speech", "surface"), ("bar", "line")):
        assert contrast(colours[sign], colours[behind]) >= 3, (sign, behind)


def contrast(one: str, other: str) -> float:
    """WCAG 2.1's contrast ratio."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    channels = [int(colour[place:place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
