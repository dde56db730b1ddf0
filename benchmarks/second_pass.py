"""How long a client waits for a final once it has said its last sample, with and without a second pass.

`python -m benchmarks second_pass` starts a server of its own and measures what it carries. Then so many sessions as
`--load` of that say recording after recording at the pace of speech, push-to-talk: a flush follows the last sample, and
what is measured is the time from there to the final, which with voice detection comes on top of the silence that ends a
segment. First without second passes, then with, and at last with one session beside them that says `--long` seconds at
a time. A session that wants no second pass is there all the time: what it waits says whether others' second passes keep
it waiting. The last line is one flat JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from stream_client import Final, Flushed, Wishes, connect
from stream_server.audio.pcm import SAMPLE_BYTES
from stream_server.bench.report import json_line, percentile, progress, table
from stream_server.bench.server import Server, running_server
from stream_server.bench.speech import SAMPLES, Speech
from stream_server.config import ServeSettings
from stream_server.models.devices import DTYPES
from stream_server.units import SAMPLE_RATE

BLOCK = SAMPLE_RATE * 60 // 1000


@dataclass
class Waits:
    """Seconds from each last sample to its final, and how many of the finals were a second pass's."""

    seconds: list[float] = field(default_factory=list)
    second_passes: int = 0

    def row(self, name: str) -> dict[str, object]:
        return {"of": name, "finals": len(self.seconds), "second passes": self.second_passes,
                **{f"p{percent} ms": 1000 * percentile(self.seconds, percent) for percent in (50, 95, 99, 100)}}


def main(argv: Sequence[str]) -> int:
    options = _options(argv)
    say = progress(options.json)
    settings = ServeSettings(model=options.model, second_model=options.second_model, device=options.device,
                             dtype=options.dtype, threads=options.threads, windows=("0,10,5",))
    utterances = _utterances(options.audio)
    with running_server(settings) as server:
        capacity = server.engine.capacity
        sessions = options.sessions or max(1, round(options.load * capacity))
        median = float(np.median([len(each) for each in utterances])) / SAMPLE_RATE
        say(f"the server carries {capacity} sessions; {sessions} say recordings of {median:.1f} s")
        rows = asyncio.run(_measure(server, utterances, sessions, options))
    say(table(rows))
    first, second, beside, long = rows
    print(json_line({
        "capacity": capacity, "sessions": sessions, "median_s": median, "long_s": options.long,
        **_said("first_pass", first), **_said("second_pass", second), **_said("beside", beside), **_said("long", long),
        "second_pass_share": second["second passes"] / max(1, second["finals"]),
        "long_second_pass_share": long["second passes"] / max(1, long["finals"]),
    }))
    return 0


def _said(name: str, row: dict[str, object]) -> dict[str, object]:
    return {f"{name}_{key.replace(' ', '_')}": row[key] for key in ("finals", "p50 ms", "p95 ms", "p99 ms")}


async def _measure(server: Server, utterances: Sequence[np.ndarray], sessions: int,
                   options: argparse.Namespace) -> list[dict[str, object]]:
    """Rows of the first pass, the second, the session beside that has none, and long segments."""
    first, second, beside, long = Waits(), Waits(), Waits(), Waits()
    crowd = max(1, sessions - 1)
    speech = Speech(options.audio)
    pieces = [speech.take(number * 7 * SAMPLE_RATE, round(options.long * SAMPLE_RATE)) for number in range(4)]
    for waits, wants in ((first, False), (second, True)):
        async with asyncio.TaskGroup() as group:
            for number in range(crowd):
                group.create_task(_speak(server, waits, _turned(utterances, number), wants, options.seconds, number))
            group.create_task(_speak(server, beside if wants else first, _turned(utterances, crowd), False,
                                     options.seconds, crowd))
    async with asyncio.TaskGroup() as group:
        lasts = max(options.seconds, 2.2 * options.long)
        for number in range(max(1, crowd - 1)):
            group.create_task(_speak(server, Waits(), _turned(utterances, number), True, lasts, number))
        group.create_task(_speak(server, long, pieces, True, lasts, 0))
    return [waits.row(name) for name, waits in (("first pass", first), ("second pass", second),
                                                ("first pass beside", beside), ("long segments", long))]


async def _speak(server: Server, waits: Waits, utterances: Sequence[np.ndarray], second_pass: bool, seconds: float,
                 number: int) -> None:
    """One session that says one utterance after the other until its time is over."""
    # Not all at once: sessions that begin together would end their utterances together too.
    await asyncio.sleep(0.37 * number % 3.0)
    wishes = Wishes(vad="none", second_pass=second_pass, max_segment_ms=60_000)
    end = time.monotonic() + seconds
    async with connect(server.address, wishes=wishes) as stream:
        place = 0
        while time.monotonic() < end:
            await _say(stream, utterances[place % len(utterances)])
            place += 1
            await stream.flush()
            said = time.monotonic()
            async for event in stream:
                if isinstance(event, Final):
                    waits.seconds.append(time.monotonic() - said)
                    waits.second_passes += event.second_pass
                if isinstance(event, Flushed):
                    break
        await stream.stop()
        async for _ in stream:
            pass


async def _say(stream: object, samples: np.ndarray) -> None:
    """Sends samples at the pace of speech; what the server says meanwhile waits, and is little."""
    began = time.monotonic()
    audio = samples.astype("<i2").tobytes()
    for start in range(0, len(audio), BLOCK * SAMPLE_BYTES["pcm_s16le"]):
        block = audio[start : start + BLOCK * SAMPLE_BYTES["pcm_s16le"]]
        due = began + (start + len(block)) / SAMPLE_BYTES["pcm_s16le"] / SAMPLE_RATE
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        await stream.send(block)


def _turned(utterances: Sequence[np.ndarray], by: int) -> list[np.ndarray]:
    by = 3 * by % len(utterances)
    return [*utterances[by:], *utterances[:by]]


def _utterances(path: Path) -> list[np.ndarray]:
    files = sorted(path.glob("*.wav")) if path.is_dir() else [path]
    return [Speech(file).samples for file in files] or [Speech(path).samples]


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks second_pass", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="random", help="of the first pass (default: %(default)s)")
    parser.add_argument("--second-model", default="random", help="default: %(default)s")
    parser.add_argument("--audio", type=Path, default=SAMPLES, help="recordings, WAV at 16 kHz (default: %(default)s)")
    parser.add_argument("--load", type=float, default=0.5, help="part of what the server carries (default: 0.5)")
    parser.add_argument("--sessions", type=int, default=0, help="so many instead")
    parser.add_argument("--seconds", type=float, default=40.0, help="of each of the first two phases")
    parser.add_argument("--long", type=float, default=28.0, help="seconds of a long segment (default: %(default)s)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto", choices=("auto", *DTYPES))
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="only the line at the end on standard output")
    return parser.parse_args(argv)
