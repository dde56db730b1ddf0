"""The modules of meetings' pages by themselves, in Chromium: lines of several speakers while they change."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.conftest import Browse
from tests.support.server import Server

BEGIN = """async () => {
  const {RoomCaptions} = await import("/static/room-captions.js");
  const find = id => document.getElementById(id);
  document.body.classList.add("room");
  window.captions = new RoomCaptions({transcript: find("transcript"), segments: find("segments"),
                                      spoken: find("spoken"), follows: () => {}});
}"""
LINES = """() => [...document.querySelectorAll("#segments li")].map(each => [
    each.querySelector(".voice").textContent, each.querySelector("p").textContent, each.classList.contains("final")])"""
ANNA, MING = (1, "Anna"), (2, "王小明")
AT_END = "() => { const t = window.captions.transcript; return t.scrollHeight - t.scrollTop - t.clientHeight < 2; }"


@pytest.fixture(scope="module")
def page(server: Server, browse: Browse) -> Iterator[object]:
    with browse(server.http) as page:
        yield page


@pytest.fixture
def room(page) -> object:
    page.reload()
    page.evaluate(BEGIN)
    return page


def saying(page, who: tuple[int, str], segment: int, begin_ms: int, text: str, stable: int = 0) -> None:
    page.evaluate("event => { window.captions.saying(event); }", {
        "speaker": who[0], "name": who[1], "segment": segment, "begin_ms": begin_ms, "text": text, "stable": stable})


def said(page, who: tuple[int, str], segment: int, begin_ms: int, text: str, **more: object) -> None:
    page.evaluate("event => { window.captions.said(event); }", {
        "speaker": who[0], "name": who[1], "segment": segment, "begin_ms": begin_ms, "end_ms": begin_ms + 900,
        "text": text, "hotwords": [], **more})


def test_lines_stand_by_the_time_at_which_they_were_begun(room) -> None:
    saying(room, ANNA, 0, 1000, "我先说")
    said(room, MING, 0, 2000, "等一下")
    said(room, MING, 1, 5000, "好了")
    said(room, ANNA, 0, 1000, "我先说完。")
    said(room, ANNA, 1, 4000, "现在你说")
    assert room.evaluate(LINES) == [["Anna", "我先说完。", True], ["王小明", "等一下", True],
                                    ["Anna", "现在你说", True], ["王小明", "好了", True]]


def test_a_line_that_is_being_said_changes_in_place_and_becomes_final_there(room) -> None:
    saying(room, ANNA, 0, 1000, "今天𠮷天气", 3)
    assert room.inner_text(".loose") == "天气"
    room.evaluate("() => { window.kept = document.querySelector('#segments p').firstChild; }")
    saying(room, ANNA, 0, 1000, "今天𠮷天气好", 6)
    said(room, ANNA, 0, 1000, "今天𠮷天气好。")
    assert room.evaluate("() => document.querySelector('#segments p').firstChild === window.kept")
    assert room.evaluate(LINES) == [["Anna", "今天𠮷天气好。", True]]


def test_what_comes_to_nothing_goes(room) -> None:
    saying(room, ANNA, 0, 0, "嗯")
    saying(room, ANNA, 0, 0, "")
    saying(room, ANNA, 1, 1000, "咳")
    saying(room, ANNA, 2, 2000, "其实")
    saying(room, MING, 0, 2500, "我")
    said(room, ANNA, 2, 2000, "其实不然")
    assert room.evaluate(LINES) == [["Anna", "其实不然", True], ["王小明", "我", False]]
    room.evaluate("""() => window.captions.speaker({speaker: 2, name: "王小明", state: "left"})""")
    saying(room, ANNA, 3, 4000, "我们")
    room.evaluate("""() => window.captions.room({speakers: [{speaker: 1, name: "Anna"}]})""")
    assert room.evaluate(LINES) == [["Anna", "其实不然", True]]


def test_with_a_second_pass_the_next_lines_text_comes_before_a_final(room) -> None:
    saying(room, ANNA, 0, 0, "一")
    saying(room, ANNA, 1, 3000, "二")
    said(room, ANNA, 0, 0, "壹")
    assert room.evaluate(LINES) == [["Anna", "壹", True], ["Anna", "二", False]]


def test_a_name_is_seen_where_another_one_speaks_and_heard_with_every_line(room) -> None:
    for number, who in enumerate((ANNA, ANNA, MING, MING)):
        said(room, who, number, 1000 * number, "好")
    same = "() => [...document.querySelectorAll('#segments li')].map(each => each.classList.contains('same'))"
    assert room.evaluate(same) == [False, True, False, True]
    said(room, MING, 9, 500, "不")
    assert room.evaluate(same) == [False, False, False, False, True]
    assert room.evaluate("() => [...document.querySelectorAll('.voice')].every(each => each.textContent)")


def test_colours_are_the_same_for_whoever_comes_when(room) -> None:
    colours = """() => Object.fromEntries([...document.querySelectorAll("#segments li")].map(each =>
        [each.querySelector(".voice").textContent, each.dataset.voice]))"""
    said(room, ANNA, 0, 0, "早")
    said(room, MING, 0, 1000, "早")
    said(room, (7, "Anna"), 0, 2000, "我又来了")
    early = room.evaluate(colours)
    room.evaluate(BEGIN)
    room.evaluate("""() => { document.getElementById("segments").replaceChildren();
        window.captions.room({speakers: [{speaker: 7, name: "Anna"}, {speaker: 2, name: "王小明"}]}); }""")
    said(room, ANNA, 0, 0, "早")
    said(room, MING, 0, 1000, "早")
    said(room, (7, "Anna"), 0, 2000, "我又来了")
    assert room.evaluate(colours) == early == {"Anna": "0", "王小明": "1"}


def test_it_follows_the_end_and_stays_where_someone_has_scrolled_back_to(room) -> None:
    for number in range(60):
        said(room, ANNA, number, 10_000 * number, f"第{number}句")
    room.wait_for_function(AT_END)
    room.evaluate("() => { window.captions.transcript.scrollTop = 700; }")
    room.wait_for_function("() => !window.captions.following")
    place = """() => [...document.querySelectorAll("#segments li")].find(each => each.textContent.includes("第30句"))
        .getBoundingClientRect().top"""
    before = room.evaluate(place)
    said(room, MING, 0, 15_000, "迟到的一句")
    said(room, ANNA, 60, 700_000, "第60句")
    room.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert abs(room.evaluate(place) - before) < 1, "what comes in above does not move what is read"
    room.evaluate("() => window.captions.jump()")
    room.wait_for_function(AT_END)


def test_a_latecomers_screen_reader_is_told_the_last_few_lines(room) -> None:
    room.evaluate("""() => { for (let id = 0; id < 500; id += 1) window.captions.said({id, speaker: 1, name: "Anna",
        segment: id, begin_ms: id * 1000, end_ms: id * 1000 + 900, text: `第${id}句`, hotwords: []}); }""")
    room.locator("#spoken p").first.wait_for(state="attached")
    assert room.locator("#spoken p").all_text_contents() == [f"Anna: 第{number}句" for number in (497, 498, 499)]


def test_hotwords_are_marked(room) -> None:
    said(room, ANNA, 0, 0, "用 C++ 写", hotwords=["C++"])
    assert room.locator("mark").all_inner_texts() == ["C++"]


def test_both_languages_say_the_same_things(room) -> None:
    keys = room.evaluate("""async () => (await import("/static/texts.js")).KEYS""")
    assert len(keys["en"]) > 100 and keys["en"] == keys["zh"]


@pytest.mark.parametrize(("given", "used", "told"), [
    ("", {"lines": 2, "size": 48, "delay": 0, "keep": 6, "box": 60, "names": "on"}, []),
    ("lines=3&size=30.5&delay=1.5&names=off", {"lines": 3, "size": 30.5, "delay": 1.5, "names": "off"}, []),
    ("lines=0&size=1e9&delay=-1", {"lines": 1, "size": 200, "delay": 0}, ["lines", "size", "delay"]),
    ("lines=2.5&size=&keep=NaN&box=Infinity", {"lines": 3, "size": 48, "keep": 6, "box": 60},
     ["lines", "size", "keep", "box"]),
    ("names=yes&__proto__=1&toString=2", {"names": "on"}, ["names", "__proto__", "toString"]),
])
def test_an_overlays_settings(room, given: str, used: dict[str, object], told: list[str]) -> None:
    found = room.evaluate("""async search => (await import("/static/overlay-settings.js")).read(search)""",
                          f"?room=abc&{given}")
    assert found["settings"]["room"] == "abc" and found["settings"] | used == found["settings"]
    assert [complaint["values"]["name"] for complaint in found["complaints"]] == told
