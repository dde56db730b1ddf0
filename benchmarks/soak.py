"""A server under load for an hour: whether its memory grows, and whether its text comes later with time.

A server of its own is started. Runs of the load tool follow each other to the end: of every five four are busy, at 80 %
of the machine's capacity, and the one in their middle is calm, at 20 %. So both loads meet the machine of the same
minutes, whose speed is not the same all hour where other work shares its host. Every run opens its sessions anew, so
that sessions, streams and slots come and go all the time.

A lag is one token's: from the moment when the message that completed its hop was to be sent to the text that has it.
Tokens that come only after the end of a session's audio have none, and missing ones make a run one with faults.
`lag_p99_ms_20` and `lag_p99_ms_80` are the lags that 99 of 100 tokens of all calm and of all busy runs do not exceed:
not a mean of runs, so that a bad minute is in it with every token that it made late. `lag_ratio` is the second over the
first. The lists `…_by_quarter` hold the same for the runs that began in each quarter of an hour: there a machine that
becomes slower is seen, whose capacity is then no longer the one that was measured before.

Beside it the memory of every process of the server is read every few seconds, on CUDA the device's too. `memory_growth`
compares the medians of the last five minutes and of the five after the fifth, which stand for 80 %: a fifth of both is
calm. `calm_share` is the share of the time that the calm runs took. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil

from stream_server.bench.capacity import HIGH, LOW, MOST_SOCKETS, carries
from stream_server.bench.plot import Curve, Panel, check_plotting, draw
from stream_server.bench.report import json_line, percentile, progress
from stream_server.bench.server import Server, running_server
from stream_server.bench.sockets import Crowd, Point
from stream_server.bench.speech import SAMPLES
from stream_server.config import ServeSettings
from stream_server.models.devices import DTYPES

CALM_EVERY = 5
QUARTER_S = 15 * 60
SETTLED_MINUTES = 5.0
COMPARED_MINUTES = 5.0
SAMPLE_EVERY_S = 5.0
MEGABYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory of the server's processes by name, and the device's that is taken, in MB; seconds since the
    soak began."""

    at: float
    megabytes: dict[str, float]

    @property
    def total(self) -> float:
        return sum(self.megabytes.values())


@dataclass(frozen=True, slots=True)
class Run:
    """A run of the load tool: when it began and ended (seconds since the soak began), at which share of the capacity,
    and what it found."""

    began: float
    ended: float
    share: float
    point: Point


class Watch:
    """Reads the server's memory on a thread of its own until `stop` is called."""

    def __init__(self, server: Server) -> None:
        self.samples: list[Memory] = []
        self._server = server
        self._began = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory-watch", daemon=True)
        self._thread.start()

    def elapsed(self) -> float:
        return time.monotonic() - self._began

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(SAMPLE_EVERY_S):
            self.samples.append(Memory(self.elapsed(), self._read()))

    def _read(self) -> dict[str, float]:
        found = {}
        for name, process in self._server.processes().items():
            with suppress(psutil.NoSuchProcess):
                found[name] = process.memory_info().rss / MEGABYTE
        if self._server.engine.device.startswith("cuda"):
            found["device"] = _device_megabytes(self._server.engine.device)
        return found


def main(argv: Sequence[str]) -> int:
    options = _options(argv)
    check_plotting()
    say = progress(options.json)
    options.out.mkdir(parents=True, exist_ok=True)
    settings = ServeSettings(model=options.model, device=options.device, dtype=options.dtype, threads=options.threads,
                             doors=options.doors, windows=("0,10,5",), sessions=MOST_SOCKETS)
    with running_server(settings) as server, tempfile.TemporaryDirectory() as folder:
        crowd = Crowd(server, options.audio, options.run_seconds, Path(folder))
        crowd.prepare(say)
        capacity = options.sockets or carries(crowd.measure, server, options.lag_ms, say)
        say(f"the machine carries {capacity} sockets; {options.minutes:g} minutes follow")
        watch, runs = Watch(server), []
        while (elapsed := watch.elapsed()) < 60 * options.minutes:
            share = share_of(len(runs))
            point = crowd.measure(max(1, round(share * capacity)), seed=len(runs))
            runs.append(Run(elapsed, watch.elapsed(), share, point))
            say(f"{elapsed / 60:5.1f} min, {point}")
        watch.stop()
    _write(options.out, watch.samples, runs)
    draw_soak(options.out / "soak.svg", watch.samples, runs, settings.model)
    print(json_line(summary(watch.samples, runs, capacity)))
    return 0


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--sockets", type=int, default=0, help="the machine's capacity; measured first by default")
    parser.add_argument("--run-seconds", type=float, default=30.0, help="speech of each session")
    parser.add_argument("--lag-ms", type=float, default=300.0, help="p99 that counts as carried")
    parser.add_argument("--model", default="random")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto", choices=("auto", *DTYPES))
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--doors", type=int, default=1)
    parser.add_argument("--audio", type=Path, default=SAMPLES)
    parser.add_argument("--out", type=Path, default=Path("soak"), help="folder for memory.csv, lags.csv and soak.svg")
    parser.add_argument("--json", action="store_true", help="nothing but the object on standard output")
    return parser.parse_args(argv)


def _device_megabytes(device: str) -> float:
    number = device.partition(":")[2] or "0"
    said = subprocess.run(["nvidia-smi", f"--id={number}", "--query-gpu=memory.used",
                           "--format=csv,noheader,nounits"], capture_output=True, text=True, check=True)
    return float(said.stdout)


def share_of(number: int) -> float:
    """Which share of the capacity a run is at, by its number from 0: the third of every five is calm."""
    return LOW if number % CALM_EVERY == CALM_EVERY // 2 else HIGH


def growth(samples: Sequence[Memory]) -> float:
    """By how much the memory of all processes is greater in the end than once it had settled, as a share of it.

    Settled is from the fifth minute on; in soaks shorter than twenty minutes the first and the last quarter are
    compared.
    """
    end = samples[-1].at
    settled = 0.0 if end < 4 * 60 * COMPARED_MINUTES else 60 * SETTLED_MINUTES
    span = min(60 * COMPARED_MINUTES, (end - settled) / 4)
    early = [sample.total for sample in samples if settled <= sample.at <= settled + span]
    late = [sample.total for sample in samples if sample.at >= end - span]
    return median(late) / median(early) - 1


def summary(samples: Sequence[Memory], runs: Sequence[Run], capacity: int) -> dict[str, object]:
    """What the soak found, under the names that the module's text explains; None where no token had a lag."""
    low, high = p99(runs, LOW), p99(runs, HIGH)
    quarters = [[run for run in runs if run.began // QUARTER_S == quarter]
                for quarter in range(int(runs[-1].began // QUARTER_S) + 1)]
    calm = sum(run.ended - run.began for run in runs if run.share == LOW)
    return {"minutes": samples[-1].at / 60, "memory_growth": growth(samples), "lag_p99_ms_20": low,
            "lag_p99_ms_80": high, "lag_ratio": high / low if low and high else None,
            "lag_p99_ms_20_by_quarter": [p99(quarter, LOW) for quarter in quarters],
            "lag_p99_ms_80_by_quarter": [p99(quarter, HIGH) for quarter in quarters],
            "calm_share": calm / runs[-1].ended, "sockets": capacity,
            "runs_with_faults": sum(bool(run.point.faults) for run in runs)}


def p99(runs: Sequence[Run], share: float) -> float | None:
    """Milliseconds that 99 of 100 tokens of the runs at that share do not exceed, each token counted once."""
    lags = [lag for run in runs if run.share == share for lag in run.point.figures.partial_lag.raw]
    return percentile(lags, 99) if lags else None


def _write(folder: Path, samples: Sequence[Memory], runs: Sequence[Run]) -> None:
    names = sorted({name for sample in samples for name in sample.megabytes})
    with (folder / "memory.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["seconds", *(f"{name}_mb" for name in names)])
        for sample in samples:
            writer.writerow([f"{sample.at:.1f}", *(f"{sample.megabytes.get(name, 0):.1f}" for name in names)])
    with (folder / "lags.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["seconds", "share", "sockets", "p50_ms", "p95_ms", "p99_ms", "max_ms", "faults"])
        for run in runs:
            point, lag = run.point, run.point.figures.partial_lag
            writer.writerow([f"{run.began:.1f}", run.share, point.sockets, lag.p50, lag.p95, lag.p99, lag.max,
                             point.faults])


def draw_soak(file: Path, samples: Sequence[Memory], runs: Sequence[Run], model: str) -> None:
    """Writes the picture: memory by process, and lags of both kinds of runs."""
    minutes = [sample.at / 60 for sample in samples]
    names = sorted({name for sample in samples for name in sample.megabytes})
    memory = [Curve(name, minutes, [sample.megabytes.get(name, 0.0) for sample in samples]) for name in names]
    panels = [Panel("Memory", "minutes", "MB", memory, markers=False)]
    if lags := _lag_curves(runs):
        panels.append(Panel(f"How late text is, at {LOW:.0%} and at {HIGH:.0%} of capacity", "minutes", "ms", lags,
                            markers=False))
    draw(file, f"{model}, {samples[-1].at / 60:.0f} minutes under load", panels)


def _lag_curves(runs: Sequence[Run]) -> list[Curve]:
    """Of each share the median and the p99 of its runs, at the minutes at which they began."""
    curves = []
    for share in (HIGH, LOW):
        heard = [run for run in runs if run.share == share and run.point.figures.partial_lag.raw]
        if not heard:
            continue
        minutes = [run.began / 60 for run in heard]
        lags = [run.point.figures.partial_lag for run in heard]
        curves += [Curve(f"p99 at {share:.0%}", minutes, [lag.p99 for lag in lags]),
                   Curve(f"p50 at {share:.0%}", minutes, [lag.p50 for lag in lags])]
    return curves
