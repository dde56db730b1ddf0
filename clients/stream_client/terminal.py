"""Recognised speech on a terminal: one line that changes while it is partial, and stays when it is final.

Where the output is no terminal, finals are plain lines.
"""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Callable
from typing import TextIO

from stream_client.events import Event, Final, Partial

START_OF_LINE, ERASE_LINE = "\r", "\x1b[2K"
FAINT, PLAIN = "\x1b[2m", "\x1b[0m"
ELLIPSIS = "…"


class Terminal:
    """Renders the events of one session, or of several at once when `show` is given their names."""

    def __init__(
        self, out: TextIO, *, rewrites: bool | None = None, columns: Callable[[], int] | None = None
    ) -> None:
        self._out = out
        self._rewrites = out.isatty() if rewrites is None else rewrites
        self._columns = columns or (lambda: shutil.get_terminal_size().columns)
        self._partial_shown = False

    def show(self, event: Event, name: str = "") -> None:
        """Render an event; those without text are not shown."""
        if isinstance(event, Partial) and self._rewrites:
            self._show_partial(event, name)
        elif isinstance(event, Final) and event.text:
            self.line(f"{_prefix(name)}{_span(event.start_ms, event.end_ms)}{event.text}")
        elif isinstance(event, Final):
            self.clear()

    def line(self, text: str) -> None:
        """A line that stays."""
        self.clear()
        self._write(text + "\n")

    def clear(self) -> None:
        """Take away the partial, so that others may write."""
        if self._partial_shown:
            self._write(START_OF_LINE + ERASE_LINE)
            self._partial_shown = False

    def _show_partial(self, event: Partial, name: str) -> None:
        head = f"{_prefix(name)}{_span(event.start_ms, event.end_ms)}"
        # The last column stays free: a terminal that has filled it may wrap, and the line could not be rewritten.
        room = self._columns() - 1
        head = head if width(head) * 2 <= room else ""
        text = tail(event.text, room - width(head))
        self._write(f"{START_OF_LINE}{ERASE_LINE}{head}{FAINT}{text}{PLAIN}")
        self._partial_shown = True

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


def width(text: str) -> int:
    """Columns that a terminal gives to a text: two for Chinese characters, none for combining marks."""
    return sum(_character_width(character) for character in text)


def tail(text: str, columns: int) -> str:
    """The end of a text that fits, behind an ellipsis where its beginning had to go: the newest words count most."""
    if width(text) <= columns:
        return text
    taken, room = 0, columns - width(ELLIPSIS)
    for index in range(len(text) - 1, -1, -1):
        taken += _character_width(text[index])
        if taken > room:
            return ELLIPSIS + text[index + 1 :] if room >= 0 else ""
    return text


def clock_time(milliseconds: int) -> str:
    """`01:02.3`, or `1:01:02.3` from an hour on."""
    tenths = milliseconds // 100
    minutes, tenths = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    text = f"{minutes:02d}:{tenths // 10:02d}.{tenths % 10}"
    return f"{hours}:{text}" if hours else text


def _character_width(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf", "Cc"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def _prefix(name: str) -> str:
    return f"{name}: " if name else ""


def _span(start_ms: int | None, end_ms: int | None) -> str:
    if start_ms is None or end_ms is None:
        return ""
    return f"[{clock_time(start_ms)} – {clock_time(end_ms)}] "
