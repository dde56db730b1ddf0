"""A server under load for an hour: whether its memory grows, and whether its text comes later with time.

A server of its own is started. Runs of the load tool follow each other: first at 20 % of the machine's capacity for a
tenth of the time, then at 80 % for the rest. Every run opens its sessions anew, so that sessions, streams and slots
come and go all the time. Beside it the memory of every process of the server is read every few seconds, on CUDA the
device's too. `memory_growth` compares the medians of the last minutes and of the minutes after the fifth, under the
same load. The last line is one flat JSON object.
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

CALM_SHARE = 0.1
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
            share = LOW if elapsed < 60 * CALM_SHARE * options.minutes else HIGH
            point = crowd.measure(max(1, round(share * capacity)), seed=len(runs))
            runs.append((elapsed, share, point))
            say(f"{elapsed / 60:5.1f} min, {point}")
        watch.stop()
    _write(options.out, watch.samples, runs)
    _draw(options.out / "soak.svg", watch.samples, runs, settings.model)
    print(json_line(_summary(watch.samples, runs, capacity)))
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


Run = tuple[float, float, Point]
"""When it began (seconds), at which share of the capacity, and what it found."""


def growth(samples: Sequence[Memory], loaded_from: float) -> float:
    """By how much the memory of all processes is greater in the end than once it had settled, as a share of it.

    Settled is from `loaded_from` (seconds) on, or from the fifth minute if that is later; in soaks shorter than
    twenty minutes the first and the last quarter of what follows are compared.
    """
    end = samples[-1].at
    settled = loaded_from if end - loaded_from < 4 * 60 * COMPARED_MINUTES else max(loaded_from, 60 * SETTLED_MINUTES)
    span = min(60 * COMPARED_MINUTES, (end - settled) / 4)
    early = [sample.total for sample in samples if settled <= sample.at <= settled + span]
    late = [sample.total for sample in samples if sample.at >= end - span]
    return median(late) / median(early) - 1


def _summary(samples: Sequence[Memory], runs: Sequence[Run], capacity: int) -> dict[str, object]:
    found = {share: [lag for _, at, point in runs if at == share for lag in point.figures.partial_lag.raw]
             for share in (LOW, HIGH)}
    p99 = {share: percentile(found[share], 99) if found[share] else None for share in found}
    loaded_from = next((began for began, share, _ in runs if share == HIGH), 0.0)
    return {"minutes": samples[-1].at / 60, "memory_growth": growth(samples, loaded_from),
            "lag_p99_ms_20": p99[LOW], "lag_p99_ms_80": p99[HIGH], "sockets": capacity,
            "runs_with_faults": sum(bool(point.faults) for _, _, point in runs)}


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
        for began, share, point in runs:
            lag = point.figures.partial_lag
            writer.writerow([f"{began:.1f}", share, point.sockets, lag.p50, lag.p95, lag.p99, lag.max, point.faults])


def _draw(file: Path, samples: Sequence[Memory], runs: Sequence[Run], model: str) -> None:
    minutes = [sample.at / 60 for sample in samples]
    names = sorted({name for sample in samples for name in sample.megabytes})
    memory = [Curve(name, minutes, [sample.megabytes.get(name, 0.0) for sample in samples]) for name in names]
    heard = [(began / 60, point.figures.partial_lag) for began, _, point in runs if point.figures.partial_lag.raw]
    lag = [Curve(f"p{percent}", [began for began, _ in heard], [getattr(lag, f"p{percent}") for _, lag in heard])
           for percent in (50, 95, 99)]
    draw(file, f"{model}, {samples[-1].at / 60:.0f} minutes under load", [
        Panel("Memory", "minutes", "MB", memory, markers=False),
        Panel(f"How late text is: {LOW:.0%}, then {HIGH:.0%} of capacity", "minutes", "ms", lag, markers=False)])
