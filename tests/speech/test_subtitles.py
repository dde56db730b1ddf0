"""Subtitles, read back by a parser of their formats."""

from __future__ import annotations

import html
import re

from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream_server.speech.subtitles import LONGEST_CUE_MS, WIDEST_CUE, Cue, Line, as_srt, as_text, as_vtt, cues, pieces

NAMES = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=8)
WORDS = st.text(st.sampled_from("今天开会<&>-a9 "), min_size=1, max_size=4).filter(str.strip)


@st.composite
def lines(draw: st.DrawFn) -> list[Line]:
    """What several people say, at any times."""
    found = []
    for _ in range(draw(st.integers(0, 4))):
        time = begin = draw(st.integers(0, 40_000_000))
        timed = []
        for word in draw(st.lists(WORDS, min_size=1, max_size=15)):
            length = draw(st.integers(1, 3_000))
            timed.append((word, time, time + length))
            time += length + draw(st.integers(0, 300))
        text = "".join(word for word, _, _ in timed)
        found.append(Line(draw(NAMES), begin, time, text, timed if draw(st.booleans()) else ()))
    return found


@settings(deadline=None, max_examples=50)
@given(lines())
def test_cues_are_the_text_in_the_order_of_time(said: list[Line]) -> None:
    found = cues(said)
    assert [cue.begin_ms for cue in found] == sorted(cue.begin_ms for cue in found)
    assert all(cue.end_ms > cue.begin_ms for cue in found)
    for line in said:
        timed = [cue for cue in cues([line])]
        assert "".join(cue.text for cue in timed).replace(" ", "") == line.text.replace(" ", "")
        assert all(one.end_ms <= other.begin_ms + 1 for one, other in zip(timed, timed[1:], strict=False))
        for cue in timed if line.pieces else ():
            several = len([1 for _, begin, end in line.pieces if cue.begin_ms <= begin and end <= cue.end_ms]) > 1
            if several:
                assert cue.end_ms - cue.begin_ms <= LONGEST_CUE_MS
                assert sum(2 if character > "\u2e80" else 1 for character in cue.text) <= WIDEST_CUE


@settings(deadline=None, max_examples=50)
@given(lines())
def test_subrip_reads_back(said: list[Line]) -> None:
    blocks = as_srt(said).split("\n\n")[:-1]
    found = []
    for number, block in enumerate(blocks, start=1):
        head, times, text = block.split("\n")
        assert head == str(number)
        begin, end = times.split(" --> ")
        name, text = text.split(": ", 1)
        found.append(Cue(name, read(begin, ","), read(end, ","), text))
    # A name may have a colon itself, but no space.
    assert found == cues(said)


@settings(deadline=None, max_examples=50)
@given(lines())
@example([Line("--", 0, 1, "9")])
def test_webvtt_reads_back(said: list[Line]) -> None:
    head, *blocks = as_vtt(said).split("\n\n")[:-1]
    assert head == "WEBVTT"
    found = []
    for block in blocks:
        times, text = block.split("\n")
        assert "-->" not in text
        begin, end = times.split(" --> ")
        name, text = re.fullmatch(r"<v ([^<>]+?) ?>([^<>]*)</v>", text).groups()
        found.append(Cue(html.unescape(name), read(begin, "."), read(end, "."), html.unescape(text)))
    assert found == cues(said)


def test_text_has_a_line_for_each_in_the_order_of_time() -> None:
    said = [Line("乙", 3_723_500, 3_725_000, "好"), Line("甲", 1_000, 9_000, "我们开始")]
    assert as_text(said) == "[0:00:01] 甲: 我们开始\n[1:02:03] 乙: 好\n"


def test_pieces_of_a_text_as_it_was_spoken() -> None:
    tokens = [("hello", 0, 300), ("世", 300, 500), ("界", 500, 700)]
    assert pieces("hello 世界", tokens) == [("hello", 0, 300), (" 世", 300, 500), ("界", 500, 700)]
    assert pieces("other text", tokens) == [] == pieces("", [])


def test_pieces_of_a_text_as_it_is_written() -> None:
    """The tokens of a number are one piece, marks stay with what is before them."""
    tokens = [("三", 0, 100), ("十", 100, 200), ("人", 200, 300), ("来", 300, 400)]
    assert pieces("30人，来。", tokens, [(0, 2), (0, 2), (2, 3), (4, 5)]) == \
        [("30", 0, 200), ("人，", 200, 300), ("来。", 300, 400)]


def read(stamp: str, point: str) -> int:
    """Milliseconds of a time stamp."""
    form = rf"(\d\d+):([0-5]\d):([0-5]\d){re.escape(point)}(\d{{3}})"
    hours, minutes, seconds, ms = re.fullmatch(form, stamp).groups()
    return ((int(hours) * 60 + int(minutes)) * 60 + int(seconds)) * 1000 + int(ms)
