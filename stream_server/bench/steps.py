"""Steps of full batches, one size after the other in turn, with the device's ceilings measured in between."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, repeat

import numpy as np

from stream_server.bench.ceilings import Copy, Product
from stream_server.bench.floors import Spoken, least_seconds
from stream_server.bench.report import percentile
from stream_server.bench.speech import Speech
from stream_server.bench.subject import Subject
from stream_server.engine.runner import Row, Runner
from stream_server.errors import EngineError
from stream_server.units import SAMPLE_RATE


@dataclass(slots=True)
class Measured:
    """Everything that was timed, in seconds, and how much was said in it."""

    steps: dict[int, list[float]]
    products: list[float] = field(default_factory=list)
    copies: list[float] = field(default_factory=list)
    chunks: int = 0
    speaking: int = 0
    tokens: int = 0

    @property
    def spoken(self) -> Spoken:
        return Spoken(self.tokens / self.chunks, self.speaking / self.chunks)


class Streams:
    """Streams that never end: `count` for each of `workers` who step at once, the first so many of them together."""

    def __init__(self, runner: Runner, speech: Speech, count: int, workers: int = 1) -> None:
        self._runner = runner
        self._workers = ThreadPoolExecutor(workers, "step")
        self._firsts = range(0, workers * count, count)
        self._window = runner.windows[0]
        self._speech = speech
        self._taken = [0] * (workers * count)
        # Each hears another part, so that they do not all say the same at once.
        self._starts = [len(speech.samples) * index // len(self._taken) for index in range(len(self._taken))]

    def step(self, rows: int, measured: Measured) -> float:
        """Seconds until all workers have stepped so many rows each. Raises EngineError where a row failed."""
        batches = [[self._row(slot) for slot in range(first, first + rows)] for first in self._firsts]
        began = time.perf_counter()
        if len(batches) == 1:
            stepped = [self._runner.run(self._window, batches[0])]
        else:
            stepped = list(self._workers.map(self._runner.run, repeat(self._window), batches))
        seconds = time.perf_counter() - began
        for result in chain(*stepped):
            if result.error is not None:
                raise EngineError(f"a row of a step of {rows} failed: {result.error}")
            measured.chunks += 1
            measured.speaking += bool(result.pieces)
            measured.tokens += len(result.pieces)
        return seconds

    def _row(self, slot: int) -> Row:
        hop, hops = self._window.hop_samples, self._taken[slot]
        self._taken[slot] += 1
        return Row(slot, self._speech.take(self._starts[slot] + hops * hop, hop), first=hops == 0)


def measure(subject: Subject, speech: Speech, buckets: Sequence[int], seconds: float,
            product: Product, copy: Copy) -> Measured:
    """Rounds for so many seconds, three at least: a step of every bucket, a product, a copy.

    What else the machine does then falls on all alike. A first round warms up and is not counted.
    """
    streams = Streams(subject.runner, speech, max(buckets), subject.runner.workers)
    unmeasured = Measured({})
    for rows in buckets:
        streams.step(rows, unmeasured)
    measured = Measured({rows: [] for rows in buckets})
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(measured.products) < 3:
        for rows in buckets:
            measured.steps[rows].append(streams.step(rows, measured))
        measured.products.append(product.seconds())
        measured.copies.append(copy.seconds())
    return measured


@dataclass(frozen=True, slots=True)
class Bucket:
    """What a step of `rows` chunks costs while all workers step; rates are all workers', from medians.

    `ceiling_share` is its useful operations over those of the product in the same time, `floor_share` the least time
    that operations and memory allow over its own; both of what was measured in the same rounds.
    """

    rows: int
    steps: int
    step_best_ms: float
    step_p50_ms: float
    step_p99_ms: float
    chunk_ms: float
    chunks_per_s: float
    realtime_streams: float
    gflop_per_s: float
    ceiling_share: float
    floor_share: float

    def row(self) -> dict[str, object]:
        return {"batch": self.rows, "steps": self.steps, "step best ms": self.step_best_ms,
                "p50 ms": self.step_p50_ms, "p99 ms": self.step_p99_ms, "ms a chunk": self.chunk_ms,
                "chunks/s": self.chunks_per_s, "streams": self.realtime_streams, "GFLOP/s": self.gflop_per_s,
                "of ceiling": f"{self.ceiling_share:.1%}", "floor/time": f"{self.floor_share:.1%}"}


def judge(subject: Subject, measured: Measured, product: Product, copy: Copy) -> list[Bucket]:
    """One Bucket for each batch size."""
    spoken = measured.spoken
    operations = subject.work(spoken).operations
    traffic = subject.traffic(spoken)
    best_operations = product.operations / float(np.median(measured.products))
    best_bytes = copy.bytes / float(np.median(measured.copies))
    hop_s = subject.window.hop_samples / SAMPLE_RATE
    workers = subject.runner.workers
    buckets = []
    for rows, times in measured.steps.items():
        median = percentile(times, 50)
        chunks = workers * rows
        least = least_seconds(chunks * operations, workers * traffic.of_step(rows), best_operations, best_bytes)
        buckets.append(Bucket(
            rows=rows, steps=len(times), step_best_ms=1000 * min(times), step_p50_ms=1000 * median,
            step_p99_ms=1000 * percentile(times, 99), chunk_ms=1000 * median / chunks,
            chunks_per_s=chunks / median, realtime_streams=chunks / median * hop_s,
            gflop_per_s=chunks * operations / median / 1e9,
            ceiling_share=chunks * operations / median / best_operations,
            floor_share=least / median))
    return buckets
