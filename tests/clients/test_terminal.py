from __future__ import annotations

import io
import re

import pytest

from stream_client.events import Final, Partial, Ready
from stream_client.terminal import Terminal, clock_time, tail, width


def screen(text: str) -> list[str]:
    """The lines that a terminal shows after these characters."""
    lines = [""]
    for piece in re.findall(r"\x1b\[[0-9;]*[A-Za-z]|[\s\S]", text):
        if piece == "\n":
            lines.append("")
        elif piece in ("\r", "\x1b[2K"):
            lines[-1] = ""
        elif not piece.startswith("\x1b"):
            lines[-1] += piece
    return lines


def partial(text: str) -> Partial:
    return Partial(segment=0, text=text, start_ms=1_200, end_ms=2_400)


FINAL = Final(segment=0, text="今天天气很好。", start_ms=1_200, end_ms=3_440)


def test_a_partial_is_rewritten_and_becomes_firm() -> None:
    out = io.StringIO()
    terminal = Terminal(out, rewrites=True, columns=lambda: 60)
    terminal.show(partial("今天"))
    assert screen(out.getvalue()) == ["[00:01.2 – 00:02.4] 今天"]
    terminal.show(partial("今天天气"))
    assert screen(out.getvalue()) == ["[00:01.2 – 00:02.4] 今天天气"]
    terminal.show(FINAL)
    assert screen(out.getvalue()) == ["[00:01.2 – 00:03.4] 今天天气很好。", ""]


def test_a_long_partial_stays_on_one_line() -> None:
    out = io.StringIO()
    terminal = Terminal(out, rewrites=True, columns=lambda: 42)
    terminal.show(partial("一二三四五六七八九十" * 8))
    (line,) = screen(out.getvalue())
    assert line == "[00:01.2 – 00:02.4] …一二三四五六七八九十"
    assert width(line) == 41


def test_a_narrow_terminal_shows_text_rather_than_times() -> None:
    out = io.StringIO()
    Terminal(out, rewrites=True, columns=lambda: 20).show(partial("一二三四五六七八九十"))
    assert screen(out.getvalue()) == ["…二三四五六七八九十"]


def test_no_terminal_gets_finals_as_plain_lines() -> None:
    out = io.StringIO()
    terminal = Terminal(out)
    for event in (Ready(), partial("今天"), FINAL, Final(segment=1, text="")):
        terminal.show(event)
    assert out.getvalue() == "[00:01.2 – 00:03.4] 今天天气很好。\n"


def test_an_empty_final_takes_its_partial_away() -> None:
    out = io.StringIO()
    terminal = Terminal(out, rewrites=True, columns=lambda: 60)
    terminal.show(partial("嗯"))
    terminal.show(Final(segment=0, text=""))
    assert screen(out.getvalue()) == [""]


def test_several_sources_are_named() -> None:
    out = io.StringIO()
    Terminal(out).show(FINAL, "a.wav")
    assert out.getvalue() == "a.wav: [00:01.2 – 00:03.4] 今天天气很好。\n"


def test_times_that_the_protocol_does_not_tell_are_left_out() -> None:
    out = io.StringIO()
    Terminal(out).show(Final(segment=0, text="好的"))
    assert out.getvalue() == "好的\n"


@pytest.mark.parametrize(("text", "columns"), [("abc", 3), ("今天", 4), ("ａ", 2), ("e\u0301", 1), ("", 0), ("。", 2)])
def test_width_counts_columns(text: str, columns: int) -> None:
    assert width(text) == columns


@pytest.mark.parametrize(
    ("text", "columns", "shown"),
    [("今天天气", 8, "今天天气"), ("今天天气", 7, "…天天气"), ("今天天气", 6, "…天气"), ("今", 1, "…"), ("今", 0, "")],
)
def test_tail_keeps_what_is_newest(text: str, columns: int, shown: str) -> None:
    assert tail(text, columns) == shown
    assert width(tail(text, columns)) <= columns


@pytest.mark.parametrize(
    ("milliseconds", "text"), [(0, "00:00.0"), (61_990, "01:01.9"), (3_599_999, "59:59.9"), (3_600_000, "1:00:00.0")]
)
def test_clock_time(milliseconds: int, text: str) -> None:
    assert clock_time(milliseconds) == text
