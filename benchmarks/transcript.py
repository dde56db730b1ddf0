"""A recording as a client sees it become text: every partial and final, when it came, and the hotwords in them.

`python -m benchmarks transcript` starts a server of its own with all four of the demonstration's models, sends it
recordings at the pace of speech and prints a page of Markdown; with `--out` it writes one.
"""

from __future__ import annotations

import argparse
import asyncio
import html
import re
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from stream_client import Event, Final, Partial, Ready, Wishes, transcribe_file
from stream_server.bench.server import running_server
from stream_server.config import ServeSettings

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
RECORDINGS = ("meeting", "name")
HOTWORDS = ("会议室", "预算", "章玮", "达摩院")
SETTINGS = {"model": "demo", "second_model": "demo", "punctuation_model": "demo", "itn": True}

HEAD = """\
# A transcript

What a client is sent while it speaks, with the demonstration's models: partials of the first pass, then the final of
the second pass with marks and written numbers. **Bold** are hotwords, *slanting* is what is not yet stable.
The hotwords given: {hotwords}. "at" counts from the first sound sent, at the pace of speech.

Written by `python -m benchmarks transcript --out docs/transcript.md`, on two cores of an AMD EPYC with other work
beside; the text is the same everywhere, the times are not. The recordings are in `samples/`.
"""


@dataclass(frozen=True)
class Heard:
    """An event with text, and when it came: seconds since the first sound was sent."""

    at: float
    event: Partial | Final


def main(argv: Sequence[str]) -> int:
    options = _options(argv)
    with running_server(ServeSettings(**SETTINGS)) as server:
        page = asyncio.run(_page(options.recordings, server.address, options.hotwords, options.fast))
    if options.out is None:
        sys.stdout.write(page)
    else:
        options.out.write_text(page, encoding="utf-8")
    return 0


async def _page(recordings: Sequence[Path], url: str, hotwords: Sequence[str], fast: bool) -> str:
    parts = [HEAD.format(hotwords=", ".join(hotwords) or "none")]
    for path in recordings:
        heard = await _heard(path, url, hotwords, fast)
        parts.append(f"## {path.name}\n\n{table(heard, hotwords)}")
    return "\n".join(parts)


async def _heard(path: Path, url: str, hotwords: Sequence[str], fast: bool) -> list[Heard]:
    heard: list[Heard] = []
    began = time.monotonic()
    wishes = Wishes(hotwords=tuple(hotwords), punctuation=True, itn=True, second_pass=True)
    async with aclosing(transcribe_file(path, url=url, fast=fast, wishes=wishes)) as events:
        async for event in events:
            if isinstance(event, Ready):
                began = time.monotonic()
            elif isinstance(event, Partial | Final):
                heard.append(Heard(time.monotonic() - began, event))
    return heard


def table(heard: Iterable[Heard], hotwords: Sequence[str]) -> str:
    """Partials and finals side by side, in the order in which they came."""
    lines = ["| at | partial | final | of the speech |", "| --- | --- | --- | --- |"]
    for one in heard:
        event = one.event
        partial = _partial(event, hotwords) if isinstance(event, Partial) else ""
        final = _marked(event.text, event.hotwords) if isinstance(event, Final) else ""
        spoken = f"{event.start_ms / 1000:.1f} to {event.end_ms / 1000:.1f} s"
        lines.append(f"| {one.at:.2f} s | {partial} | {final} | {spoken} |")
    return "\n".join(lines) + "\n"


def _partial(event: Event, hotwords: Sequence[str]) -> str:
    marked = _marked(event.text[: event.stable], hotwords)
    unstable = _marked(event.text[event.stable :], hotwords)
    return f"{marked}<i>{unstable}</i>" if unstable else marked


def _marked(text: str, hotwords: Sequence[str]) -> str:
    """As HTML in a cell of a table, the hotwords bold."""
    if not hotwords:
        return _escaped(text)
    listed = "|".join(re.escape(word) for word in sorted(hotwords, key=len, reverse=True))
    return "".join(f"<b>{_escaped(part)}</b>" if place % 2 else _escaped(part)
                   for place, part in enumerate(re.split(f"({listed})", text)))


def _escaped(text: str) -> str:
    return html.escape(text, quote=False).replace("|", "&#124;")


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks transcript", description=__doc__.partition("\n")[0])
    parser.add_argument("recordings", nargs="*", type=Path, default=[SAMPLES / f"{name}.wav" for name in RECORDINGS],
                        metavar="PATH", help=f"recordings (default: {', '.join(RECORDINGS)} in samples/)")
    parser.add_argument("--hotwords", nargs="*", default=HOTWORDS, metavar="WORD",
                        help=f"default: {' '.join(HOTWORDS)}")
    parser.add_argument("--fast", action="store_true", help="as fast as the server takes it; times mean nothing then")
    parser.add_argument("--out", type=Path, help="a file to write the page to")
    return parser.parse_args(argv)
