"""How long a client waits for a final once it has said its last sample, with and without a second pass.

`python -m benchmarks second_pass` starts a server of its own and measures what it carries. Then so many sessions as
`--load` of that say recording after recording at the pace of speech, each followed by silence until its final comes;
what is measured is the time from the last sample of speech to the final, less the silence that is set to end a segment.
With `--flush` a flush follows the last sample instead, push-to-talk. First without second passes, then with, and at
last with one session beside them that says `--long` seconds at a time. A session that wants no second pass is there all
the time: what it waits says whether others' second passes keep it waiting.

Then the second pass beside FunASR's SeacoParaformer, in turns (`--turns`), and how right the demonstration models are
(`--utterances`); either is left out with 0, and the waits with `--seconds 0`. The last line is one flat JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil

from benchmarks.second_pass.crowd import Crowd, turned
from benchmarks.second_pass.waits import Manner, Waits, speak, trimmed
from stream_server.bench.report import json_line, progress, table
from stream_server.bench.server import Server, running_server
from stream_server.bench.speech import SAMPLES, Speech
from stream_server.config import ServeSettings
from stream_server.models.devices import DTYPES, choose_dtype
from stream_server.units import SAMPLE_RATE

MEDIAN_S = 4.0
"""Seconds of the recordings that are said."""

PAUSE = SAMPLE_RATE * 3 // 20
"""Between the recordings of a long segment."""


def main(argv: Sequence[str]) -> int:
    options = _options(argv)
    say = progress(options.json)
    utterances = _long_enough([trimmed(each) for each in _recordings(options.audio)])
    report: dict[str, object] = {}
    if options.seconds:
        report |= _waits(utterances, options, say)
    if options.turns:
        from benchmarks.second_pass import beside_funasr

        report |= beside_funasr.compare(utterances[: options.segments], choose_dtype(options.dtype, "cpu"),
                                        options.threads or 2, options.turns, say)
    if options.utterances:
        from benchmarks.second_pass import accuracy

        report |= accuracy.measure(options.utterances)
    print(json_line(report))
    return 0


def _waits(utterances: Sequence[np.ndarray], options: argparse.Namespace, say: Callable[[str], None]
           ) -> dict[str, object]:
    settings = ServeSettings(model=options.model, second_model=options.second_model, device=options.device,
                             dtype=options.dtype, threads=options.threads, doors=options.doors,
                             sessions=options.admit, windows=("0,10,5",))
    with running_server(settings) as server:
        capacity = server.engine.capacity
        sessions = options.sessions or max(1, round(options.load * capacity))
        median = float(np.median([len(each) for each in utterances])) / SAMPLE_RATE
        say(f"the server carries {capacity} sessions; {sessions} say recordings of {median:.1f} s")
        rows = asyncio.run(_measure(server, utterances, sessions, options))
    say(table(rows))
    first, second, beside, long = rows
    return {
        "capacity": capacity, "sessions": sessions, "median_s": median, "long_s": options.long,
        "end_silence_ms": 0 if options.flush else options.end_silence_ms, "final_p99_ms": second["p99 ms"],
        **_said("first_pass", first), **_said("second_pass", second), **_said("beside", beside), **_said("long", long),
        "second_pass_share": second["second passes"] / max(1, second["finals"]),
        "long_second_pass_share": long["second passes"] / max(1, long["finals"]),
        "early": sum(row["early"] for row in rows), "missed": sum(row["missed"] for row in rows),
        "stable_taken_back": sum(row["taken back"] for row in rows),
    }


def _said(name: str, row: dict[str, object]) -> dict[str, object]:
    return {f"{name}_{key.replace(' ', '_').replace('%', 'percent')}": row[key]
            for key in ("finals", "p50 ms", "p95 ms", "p99 ms", "stolen %")}


async def _measure(server: Server, utterances: Sequence[np.ndarray], sessions: int,
                   options: argparse.Namespace) -> list[dict[str, object]]:
    """Rows of the first pass, the second, the session beside that has none, and long segments."""
    count, manner = max(1, sessions - 1), Manner(options.flush, options.end_silence_ms, options.message_ms)
    crowd = Crowd(server.address, utterances, manner, count, options.processes)

    async def alone(sounds: Sequence[np.ndarray], wants: bool, seconds: float, number: int) -> Waits:
        waits = Waits()
        await speak(server.address, waits, sounds, manner, wants, seconds, number)
        return waits

    async def both(wants: bool) -> tuple[Waits, Waits]:
        return tuple(await asyncio.gather(crowd.speak(wants, options.seconds), alone(
            turned(utterances, count), False, options.seconds, count)))

    times = [psutil.cpu_times()]
    first, one_more = await both(False)
    first.add(one_more)
    times.append(psutil.cpu_times())
    second, beside = await both(True)
    times.append(psutil.cpu_times())
    lasts = max(options.seconds, 2.2 * options.long)
    fewer = replace(crowd, count=max(1, count - 1))
    _, long = await asyncio.gather(fewer.speak(True, lasts), alone(_long(utterances, options.long), True, lasts, 0))
    times.append(psutil.cpu_times())
    alone_stolen, crowd_stolen, long_stolen = map(_stolen, times, times[1:])
    return [{**waits.row(name), "stolen %": stolen} for name, waits, stolen in (
        ("first pass", first, alone_stolen), ("second pass", second, crowd_stolen),
        ("first pass beside", beside, crowd_stolen), ("long segments", long, long_stolen))]


def _stolen(before: object, after: object) -> float:
    """Percent of all cores' time that the machine's host gave to others, which lengthens every wait; 0 where the host
    does not tell."""
    return 100 * (getattr(after, "steal", 0.0) - getattr(before, "steal", 0.0)) / max(1e-9, sum(after) - sum(before))


def _long(utterances: Sequence[np.ndarray], seconds: float) -> list[np.ndarray]:
    """Four pieces of so many seconds, of recordings one soon after the other."""
    pause = np.zeros(PAUSE, np.int16)
    speech = np.concatenate([part for each in utterances for part in (each, pause)])
    length = round(seconds * SAMPLE_RATE)
    return [trimmed(speech.take(np.arange(start, start + length), mode="wrap"))
            for start in range(0, 4 * 7 * SAMPLE_RATE, 7 * SAMPLE_RATE)]


def _long_enough(utterances: list[np.ndarray]) -> list[np.ndarray]:
    """Without the shortest, so that the median is MEDIAN_S at least, where there are longer ones."""
    shortest_last = sorted(utterances, key=len, reverse=True)
    median = next((count for count in range(len(utterances), 0, -1)
                   if len(shortest_last[count // 2]) >= MEDIAN_S * SAMPLE_RATE), len(utterances))
    least = len(shortest_last[median - 1])
    return [each for each in utterances if len(each) >= least]


def _recordings(path: Path) -> list[np.ndarray]:
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
    parser.add_argument("--admit", type=int, default=0, help="what the server admits (default: what it measures)")
    parser.add_argument("--doors", type=int, default=1, help="of the server (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=1, help="that speak for the sessions (default: %(default)s)")
    parser.add_argument("--flush", action="store_true", help="behind each last sample, in place of silence")
    parser.add_argument("--end-silence-ms", type=int, default=800, help="that ends a segment (default: %(default)s)")
    parser.add_argument("--message-ms", type=int, default=60, choices=range(10, 1001), metavar="MS",
                        help="of audio in a message (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=40.0, help="of each of the first two phases; 0: no waits")
    parser.add_argument("--long", type=float, default=28.0, help="seconds of a long segment (default: %(default)s)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto", choices=("auto", *DTYPES))
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--turns", type=int, default=3, help="beside FunASR; 0: none (default: %(default)s)")
    parser.add_argument("--segments", type=int, default=16, help="in a turn (default: %(default)s)")
    parser.add_argument("--utterances", type=int, default=0, help="held out, for the demonstration models' errors")
    parser.add_argument("--json", action="store_true", help="only the line at the end on standard output")
    return parser.parse_args(argv)
