"""Records a command in a terminal of its own as an animated SVG.

    python docs/images/record_terminal.py docs/images/terminal.svg stream-client file samples/meeting.wav --timings

What the picture shows is what the command printed, when it printed it.
"""

from __future__ import annotations

import os
import pty
import re
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from stream_client.terminal import width

COLUMNS = 84
COLUMN_PX, LINE_PX, MARGIN_PX = 9.0, 24, 16
REST_S = 3.0
"""How long the last screen stays before the recording begins again."""
PIECES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\s\S]")
BACKGROUND, FIRM, FAINT, PROMPT = "#16181d", "#e8e8e8", "#8a919e", "#7fbf7f"


@dataclass(frozen=True)
class Screen:
    """What stood on the terminal from `start_s` on: lines of (character, colour)."""

    start_s: float
    lines: tuple[tuple[tuple[str, str], ...], ...]


class Emulator:
    """As much of a terminal as the client uses."""

    def __init__(self, command: str) -> None:
        self._lines: list[list[tuple[str, str]]] = [[(c, PROMPT) for c in f"$ {command}"], []]
        self._colour = FIRM

    def feed(self, text: str) -> None:
        for piece in PIECES.findall(text):
            if piece == "\n":
                self._lines.append([])
            elif piece == "\x1b[2K":
                self._lines[-1].clear()
            elif piece in ("\x1b[2m", "\x1b[0m"):
                self._colour = FAINT if piece == "\x1b[2m" else FIRM
            elif piece.isprintable():
                self._put(piece)

    def _put(self, character: str) -> None:
        if width("".join(c for c, _ in self._lines[-1])) + width(character) > COLUMNS:
            self._lines.append([])
        self._lines[-1].append((character, self._colour))

    def screen(self, now_s: float) -> Screen:
        return Screen(now_s, tuple(tuple(line) for line in self._lines))


def record(command: list[str]) -> list[Screen]:
    """Every screen of the command, and one for its end."""
    controller, terminal = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(COLUMNS)}
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=terminal, stderr=terminal, stdin=terminal, env=environment)
    os.close(terminal)
    emulator = Emulator(shlex.join(command))
    screens = [emulator.screen(0.0)]
    while data := _read(controller):
        emulator.feed(data)
        screens.append(emulator.screen(time.monotonic() - start))
    if process.wait() != 0:
        raise SystemExit(f"{shlex.join(command)} ended with {process.returncode}")
    return screens


def draw(screens: list[Screen]) -> str:
    """The screens one after another, for ever; a viewer without animation sees the last."""
    total = screens[-1].start_s + REST_S
    lines = max(len(screen.lines) for screen in screens)
    size = (round(COLUMNS * COLUMN_PX + 2 * MARGIN_PX), lines * LINE_PX + 2 * MARGIN_PX)
    ends = [*(screen.start_s for screen in screens[1:]), total]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size[0]} {size[1]}" width="{size[0]}" '
        f'font-family="ui-monospace, Menlo, Consolas, \'Noto Sans Mono CJK SC\', monospace" font-size="15">',
        f'<rect width="100%" height="100%" rx="8" fill="{BACKGROUND}"/>',
    ]
    for screen, end in zip(screens, ends, strict=True):
        at = [screen.start_s / total, end / total]
        values, times = ["hidden", "visible", "hidden"], [0.0, *at]
        shown = "visible" if screen is screens[-1] else "hidden"
        parts.append(
            f'<g visibility="{shown}"><animate attributeName="visibility" calcMode="discrete" dur="{total:.2f}s" '
            f'repeatCount="indefinite" values="{";".join(values)}" keyTimes="{";".join(f"{t:.4f}" for t in times)}"/>'
        )
        parts.extend(_draw_line(line, index) for index, line in enumerate(screen.lines) if line)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


def _draw_line(line: tuple[tuple[str, str], ...], index: int) -> str:
    y = MARGIN_PX + (index + 0.75) * LINE_PX
    spans, column = [], 0
    for character, colour in line:
        if not spans or spans[-1][0] != colour:
            spans.append((colour, [], []))
        spans[-1][1].append(f"{MARGIN_PX + column * COLUMN_PX:g}")
        spans[-1][2].append(character)
        column += width(character)
    return "".join(
        f'<text y="{y:g}" fill="{colour}" xml:space="preserve" x="{" ".join(places)}">{escape("".join(text))}</text>'
        for colour, places, text in spans
    )


def _read(controller: int) -> str:
    try:
        return os.read(controller, 1 << 16).decode()
    except OSError:  # Linux: the last program at the terminal has ended
        return ""


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(draw(record(sys.argv[2:])), encoding="utf-8")
