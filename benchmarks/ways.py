"""What a step costs in int8 in each way in which this processor multiplies bytes: python -m benchmarks ways

All ways give the same to the bit, so only the time differs. Every core steps at once, as it does while the engine has
work for all. Ways and batches take turns, step by step, so that what else the machine does falls on all alike. The last
line is one flat JSON object, with --json the only one: chunks a second of all cores, from medians.
"""

from __future__ import annotations

import os

# Threads that spin while they wait are slow where others share the cores. Read when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from stream_server.app import usable_cores
from stream_server.bench.report import json_line, table
from stream_server.bench.speech import SAMPLES, Speech
from stream_server.bench.steps import Measured, Streams
from stream_server.bench.subject import make_subject
from stream_server.config import ServeSettings
from stream_server.models.native.library import WAYS, use_way, way
from stream_server.models.quantised import check_int8


def main(argv: Sequence[str]) -> int:
    options = _options(argv)
    check_int8("cpu")
    fastest = way()
    ways = [name for name in WAYS if use_way(name)]
    use_way(fastest)
    largest = max(options.batches)
    subject = make_subject(ServeSettings(model=options.model, device="cpu", dtype="int8", threads=options.threads,
                                         slots=options.threads * largest))
    streams = Streams(subject.runner, Speech(options.audio), largest, subject.runner.workers)
    try:
        steps = _measure(streams, ways, options.batches, options.seconds)
    finally:
        use_way(fastest)
    rows = [{"way": name, "batch": batch, "steps": len(seconds), "best ms": round(1000 * min(seconds), 1),
             "p50 ms": round(1000 * median(seconds), 1),
             "chunks/s": round(subject.runner.workers * batch / median(seconds), 1)}
            for (name, batch), seconds in steps.items()]
    if not options.json:
        print(table(rows))
    print(json_line({f"{row['way']}_batch_{row['batch']}_chunks_per_s": row["chunks/s"] for row in rows}))
    return 0


def _measure(streams: Streams, ways: Sequence[str], batches: Sequence[int],
             seconds: float) -> dict[tuple[str, int], list[float]]:
    """Seconds of every step; those of a first round, which warms up, are left out."""
    steps: dict[tuple[str, int], list[float]] = {(name, batch): [] for name in ways for batch in batches}
    measured, end = Measured({}), time.monotonic() + seconds
    while time.monotonic() < end or len(next(iter(steps.values()))) < 2:
        for (name, batch), taken in steps.items():
            use_way(name)
            taken.append(streams.step(batch, measured))
    return {which: taken[1:] for which, taken in steps.items()}


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("benchmarks ways", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="random", help="as for stream-server serve")
    parser.add_argument("--threads", type=int, default=usable_cores(), help="cores that step at once")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--audio", type=Path, default=SAMPLES, help="a folder of recordings, or one")
    parser.add_argument("--json", action="store_true", help="nothing but the last line")
    return parser.parse_args(argv)
