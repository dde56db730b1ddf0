"""The page's modules by themselves, in Chromium: captions while they change, and files."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from stream_server.doors.pieces import LONGEST_PIECE, Joiner, split
from tests.browser.conftest import Browse
from tests.support.server import Server

BEGIN = """async () => {
  const {Captions} = await import("/static/captions.js");
  const find = id => document.getElementById(id);
  window.follows = [];
  window.captions = new Captions({transcript: find("transcript"), segments: find("segments"), spoken: find("spoken"),
                                  follows: following => window.follows.push(following)});
}"""
FINAL = """segment => window.captions.final({segment, text: "第" + segment + "句", start_ms: segment * 1000,
  end_ms: segment * 1000 + 900, reason: "silence", tokens: []})"""
PARTIAL = """([text, stable]) => window.captions.partial({segment: 0, revision: 1, text, stable, start_ms: 0,
  end_ms: 600})"""


@pytest.fixture(scope="module")
def page(server: Server, browse: Browse) -> Iterator[object]:
    with browse(server.http) as page:
        yield page


@pytest.fixture
def captions(page) -> object:
    page.reload()
    page.evaluate(BEGIN)
    return page


def test_a_partials_tail_is_lighter_and_its_text_is_changed_in_place(captions) -> None:
    captions.evaluate(PARTIAL, ["今天𠮷天气", 3])
    first = captions.query_selector("#segments p")
    assert captions.inner_text(".loose") == "天气", "characters are counted, not halves of them"
    captions.evaluate("() => { window.kept = document.querySelector('#segments p').firstChild; }")
    captions.evaluate(PARTIAL, ["今天𠮷天气好", 6])
    assert captions.evaluate("() => document.querySelector('#segments p').firstChild === window.kept")
    assert first.inner_text() == "今天𠮷天气好" and captions.inner_text(".loose") == ""


def test_it_follows_the_end_until_someone_scrolls_back(captions) -> None:
    for segment in range(40):
        captions.evaluate(FINAL, segment)
    at_end = "() => { const t = window.captions.transcript; return t.scrollHeight - t.scrollTop - t.clientHeight < 2; }"
    assert captions.evaluate(at_end)
    captions.evaluate("() => { window.captions.transcript.scrollTop = 0; }")
    captions.locator("#segments li").nth(0).wait_for()
    captions.wait_for_timeout(100)
    captions.evaluate(FINAL, 40)
    assert captions.evaluate("() => window.captions.transcript.scrollTop") == 0
    assert captions.evaluate("() => window.follows") == [False]
    captions.evaluate("() => window.captions.jump()")
    assert captions.evaluate(at_end)


def test_what_was_not_final_when_the_connection_ended_is_kept(captions) -> None:
    captions.evaluate(PARTIAL, ["今天天气", 2])
    captions.evaluate("() => window.captions.end()")
    assert captions.inner_text("#segments li.final p") == "今天天气"
    captions.evaluate("() => window.captions.begin()")
    captions.evaluate(FINAL, 0)
    times = captions.evaluate("() => window.captions.finals.map(final => final.start_ms)")
    assert times == [0, 1600], "the next session goes on after it"


def rendered(page, kind: str, finals: list[dict]) -> str:
    return page.evaluate("""async ([kind, finals]) =>
        (await import("/static/exports.js")).render(kind, finals, {model: "m"})""", [kind, finals])


def final(text: str, tokens: list[tuple[str, int, int]]) -> dict:
    return {"text": text, "tokens": tokens, "start_ms": 0, "end_ms": 4_000_000, "reason": "silence"}


def test_subtitles_are_cut_between_words_each_with_its_time(page) -> None:
    words = [(f"word{number}", 1000 * number, 1000 * number + 800) for number in range(20)]
    said = rendered(page, "srt", [final(" ".join(word for word, *_ in words), words)])
    blocks = [block.split("\n") for block in said.strip().split("\n\n")]
    assert blocks[0] == ["1", "00:00:00,000 --> 00:00:05,800", "word0 word1 word2 word3 word4 word5"]
    assert " ".join(block[2] for block in blocks) == " ".join(word for word, *_ in words)


def test_subtitles_of_written_numbers_and_capitals_are_cut_by_the_places(page) -> None:
    said = final("𠮷今天25度，OK。", [("𠮷", 0, 500), ("今", 500, 700), ("天", 700, 900), ("二", 900, 1100),
                                     ("十", 1100, 1300), ("五", 1300, 1500), ("度", 1500, 1700), ("ok", 7000, 7400)])
    said |= {"spoken": "𠮷今天二十五度ok", "marks": [""] * 6 + ["，", "。"], "second_pass": True,
             "places": [[0, 1], [1, 2], [2, 3], [3, 5], [3, 5], [3, 5], [5, 6], [7, 9]]}
    assert rendered(page, "srt", [said]) == ("1\n00:00:00,000 --> 00:00:01,700\n𠮷今天25度，\n\n"
                                             "2\n00:00:07,000 --> 00:00:07,400\nOK。\n\n")
    (segment,) = json.loads(rendered(page, "json", [said]))["segments"]
    assert {key: segment[key] for key in ("spoken", "places", "marks", "second_pass")} == {
        key: said[key] for key in ("spoken", "places", "marks", "second_pass")}


def test_files_hold_what_was_said_whatever_it_was(page) -> None:
    finals = [final("今天 AT&T <b>", [("今", 0, 500), ("天", 500, 1000), ("AT&T", 3_600_000, 3_601_001)]),
              final("没有时间", [])]
    vtt = rendered(page, "vtt", finals)
    assert vtt.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:01.000\n今天\n\n01:00:00.000 --> 01:00:01.001\n")
    assert "AT&amp;T &lt;b&gt;" in vtt and "没有时间" in vtt
    assert rendered(page, "txt", finals) == "今天 AT&T <b>\n没有时间\n"
    everything = json.loads(rendered(page, "json", finals))
    assert everything["model"] == "m" and everything["segments"][0]["tokens"][2] == ["AT&T", 3_600_000, 3_601_001]


def test_pieces_come_together_as_the_server_cuts_them(page) -> None:
    texts = ["{}", "{" + "字" * 2 * LONGEST_PIECE, '{"type": "ended"}']
    pieces = [piece for text in texts for piece in split(text)]
    assert page.evaluate("""async pieces => {
        const whole = [], take = (await import("/static/by-webrtc.js")).joiner(text => whole.push(text));
        pieces.forEach(take);
        return whole;
    }""", pieces) == texts
    cut = page.evaluate("""async texts => {
        const {split} = await import("/static/by-webrtc.js");
        return texts.flatMap(split);
    }""", texts)
    joiner = Joiner(3 * LONGEST_PIECE)
    assert [text for piece in cut if (text := joiner.receive(piece)) is not None] == texts


def test_hotwords_that_a_line_has_are_marked_and_nothing_else_is_touched(captions) -> None:
    captions.evaluate("""() => window.captions.final({segment: 0, text: "用 C++ <b> 写 c++", start_ms: 0, end_ms: 9,
                         reason: "silence", tokens: [], hotwords: ["C++", "+"]})""")
    assert captions.locator("mark").all_inner_texts() == ["C++", "c++"]
    assert captions.inner_text("#segments li p") == "用 C++ <b> 写 c++"


def test_everything_can_be_reached_and_is_named_for_those_who_do_not_see(captions) -> None:
    names = captions.evaluate("""() => [...document.querySelectorAll("button, select, input, [role=meter], section")]
        .map(each => each.getAttribute("aria-label") || (each.labels?.[0] ?? each).textContent.trim())""")
    assert len(names) > 15 and all(names)
    captions.locator("body").click(position={"x": 5, "y": 300})
    reached = []
    for _ in range(12):
        captions.keyboard.press("Tab")
        reached.append(captions.evaluate("() => document.activeElement.id || document.activeElement.tagName"))
    assert {"transcript", "speak", "sample", "format", "SUMMARY"} <= set(reached)
    captions.focus("#settings summary")
    captions.keyboard.press("Enter")
    assert captions.is_visible("#microphone") and captions.is_visible("#silence")
