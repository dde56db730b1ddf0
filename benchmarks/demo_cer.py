"""Character error rate of the demonstration model, on held-out speech through a running server.

`python -m benchmarks demo_cer` makes the speech again from its seed (espeak-ng is needed), starts a server of its own,
streams every utterance through it and compares the finals with the texts. `cer` takes names that sound alike as one,
as no recogniser can tell them apart by ear; `cer_strict` does not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from stream_client import Final, Wishes, transcribe
from stream_client.wishes import parse_chunk_size

SEED = 1
BLOCK_BYTES = 1920
START_TIMEOUT_S = 300
WORST_SHOWN = 10


@dataclass(frozen=True)
class Spoken:
    """An utterance to recognise."""

    audio: bytes
    text: str
    voice: str


@dataclass(frozen=True)
class Heard:
    """An utterance, what was recognised, and the edits between them: names alike taken as one, and strictly."""

    spoken: Spoken
    text: str
    edits: int
    edits_strict: int


def main(argv: Sequence[str]) -> int:
    """Measure and print; returns the exit code."""
    options = _options(argv)
    speech = list(_held_out(options.utterances, options.seed))
    heard = asyncio.run(_measure(speech, options))
    report = summary(heard)
    if not options.json:
        for one in sorted(heard, key=lambda h: h.edits / len(h.spoken.text), reverse=True)[:WORST_SHOWN]:
            if one.edits:
                print(f"{one.edits:3d} of {len(one.spoken.text):3d}  {one.spoken.text} → {one.text or '(nothing)'}"
                      f"  [{one.spoken.voice}]")
    print(json.dumps(report))
    return 0


def summary(heard: Sequence[Heard]) -> dict[str, float]:
    """The line at the end: rates over all characters, not means of utterances."""
    characters = sum(len(one.spoken.text) for one in heard)
    return {
        "utterances": len(heard),
        "characters": characters,
        "cer": round(sum(one.edits for one in heard) / characters, 5),
        "cer_strict": round(sum(one.edits_strict for one in heard) / characters, 5),
    }


def edit_distance(wanted: str, given: str) -> int:
    """Fewest insertions, deletions and replacements of characters that make one of the other."""
    row = list(range(len(given) + 1))
    for index, character in enumerate(wanted, 1):
        diagonal, row[0] = row[0], index
        for place, other in enumerate(given, 1):
            best = min(row[place] + 1, row[place - 1] + 1, diagonal + (character != other))
            diagonal, row[place] = row[place], best
    return row[-1]


def compare(spoken: Spoken, text: str) -> Heard:
    """Counts the edits; punctuation and spaces do not count."""
    from recipes.demo.texts import canonical_names

    wanted, given = _bare(spoken.text), _bare(text)
    edits = edit_distance(canonical_names(wanted), canonical_names(given))
    return Heard(spoken, text, edits, edit_distance(wanted, given))


async def _measure(speech: Sequence[Spoken], options: argparse.Namespace) -> list[Heard]:
    wishes = Wishes(chunk_size=parse_chunk_size(options.window), vad=options.vad)
    places = asyncio.Semaphore(options.together)

    async def recognise(spoken: Spoken, url: str) -> Heard:
        async with places:
            events = transcribe(_blocks(spoken.audio), url=url, wishes=wishes)
            return compare(spoken, "".join([event.text async for event in events if isinstance(event, Final)]))

    async with server(options.model, "0,10,5", options.window, second_model=options.second_model) as url:
        return await asyncio.gather(*(recognise(spoken, url) for spoken in speech))


@asynccontextmanager
async def server(model: str, *windows: str, second_model: str = "none") -> AsyncIterator[str]:
    """A server on a free port, stopped at the end; gives its address."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "stream_server", "serve", "--port", "0", "--model", model, "--second-model", second_model,
        "--log-level", "warning", "--windows", *dict.fromkeys(windows), stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            address = await _address(process.stdout)
        yield address
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _address(lines: asyncio.StreamReader) -> str:
    async for line in lines:
        if found := re.search(r"Ready at (\S+)", line.decode()):
            return found.group(1)
    raise RuntimeError("the server ended before it was ready; its own words are above")


def _held_out(count: int, seed: int) -> Iterator[Spoken]:
    from recipes.demo.speech import synthesise_held_out

    for samples, text, voice in synthesise_held_out(count, seed):
        yield Spoken(samples.astype("<i2").tobytes(), text, voice.variant)


async def _blocks(audio: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(audio), BLOCK_BYTES):
        yield audio[start : start + BLOCK_BYTES]


def _bare(text: str) -> str:
    return re.sub(r"[\s，。？、！,.?!]", "", text)


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks demo_cer", description=__doc__.partition("\n")[0])
    parser.add_argument("--utterances", type=int, default=500, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=SEED, help="of texts and voices (default: %(default)s)")
    parser.add_argument("--together", type=int, default=8, help="sessions at once (default: %(default)s)")
    parser.add_argument("--window", default="0,10,5", help="frames of 60 ms (default: %(default)s)")
    parser.add_argument("--vad", choices=("webrtc", "none"), default="webrtc", help="default: %(default)s")
    parser.add_argument("--model", default="demo", help="demo, or a directory (default: %(default)s)")
    parser.add_argument("--second-model", default="none", help="of a second pass (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="only the line at the end")
    return parser.parse_args(argv)
