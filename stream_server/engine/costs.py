"""What steps cost on this device: measured once at start, so that no batch size and no capacity is a guess."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from stream_server.audio.windows import Window
from stream_server.engine.runner import Row, Runner, SecondRunner, Segment, batch_sizes
from stream_server.errors import EngineError
from stream_server.units import SAMPLE_RATE

log = logging.getLogger(__name__)

WORTHWHILE = 0.93
"""A batch twice as large has to bring a row's cost down to this share, or its streams wait for nothing."""

LOAD = 0.8
"""Share of the device's time that admitted sessions may need while all of them speak. Beyond it queues grow."""

LONGEST_PIECE_S = 0.05
"""What a piece of a second pass should take at most: so late a chunk may be that finds all workers at it."""

SECOND_PASS_S = 8
"""Noise that the second pass is timed with."""

REPEATS = 3
LOUDNESS = 3000.0


@dataclass(frozen=True)
class Costs:
    """Seconds of a step of `window` by its number of rows, the middle of a few, while all `workers` step."""

    window: Window
    seconds: dict[int, float]
    workers: int = 1
    second: SecondCosts | None = None

    @property
    def best_batch(self) -> int:
        """Rows beyond which a larger step does not pay."""
        best, *larger = sorted(self.seconds)
        for rows in larger:
            if self.seconds[rows] / rows > WORTHWHILE * self.seconds[best] / best:
                break
            best = rows
        return best

    @property
    def row_seconds(self) -> float:
        """Of a row in such a step."""
        return self.seconds[self.best_batch] / self.best_batch

    @property
    def streams(self) -> int:
        """How many streams that speak without a pause this device carries in real time, at least 1, their second passes
        included."""
        hop = self.window.hop_samples / SAMPLE_RATE
        second_of_speech = self.row_seconds / hop
        if self.second is not None:
            second_of_speech += self.second.seconds_each / SECOND_PASS_S
        return max(1, int(LOAD * self.workers / second_of_speech))


@dataclass(frozen=True)
class SecondCosts:
    """Seconds of a second pass over SECOND_PASS_S of sound, alone, and in how many pieces; and `seconds_each` where as
    many are heard `together` as pays: under load they are."""

    seconds: float
    pieces: int
    seconds_each: float
    together: int = 1

    @property
    def most_samples(self) -> int:
        """Of a batch whose pieces are not too long for chunks that wait."""
        return int(SECOND_PASS_S * SAMPLE_RATE * LONGEST_PIECE_S * self.pieces / self.seconds)


def measure_second(second: SecondRunner, clock: Callable[[], float] = time.perf_counter) -> SecondCosts:
    """Times a pass, the middle of a few, and passes of 2, 4, 8 … segments until more do not pay or are more than the
    engine gives to one. The runner is to be warm. Raises EngineError where one segment alone fails."""
    try:
        passes = [_time_pass(second, 1, clock) for _ in range(REPEATS)]
    except Exception as error:
        raise EngineError(f"a second pass failed while it was timed: {error}") from error
    seconds, pieces = median(took for took, _ in passes), passes[0][1]
    costs = SecondCosts(seconds, pieces, seconds)
    most = min(second.max_batch, costs.most_samples // (SECOND_PASS_S * SAMPLE_RATE))
    count = 2
    while count <= most:
        try:
            each = _time_pass(second, count, clock)[0] / count
        except Exception as error:
            # As when a device is short of memory: fewer are heard together, then.
            log.warning("a second pass over %d segments failed while it was timed: %s", count, error)
            break
        if each > WORTHWHILE * costs.seconds_each:
            break
        costs, count = replace(costs, seconds_each=each, together=count), 2 * count
    return costs


def _time_pass(second: SecondRunner, count: int, clock: Callable[[], float]) -> tuple[float, int]:
    """Seconds of a pass over so many segments, and its pieces. Raises whatever fails it."""
    noise = np.random.default_rng(0).normal(0, LOUDNESS, SECOND_PASS_S * SAMPLE_RATE).astype(np.int16)
    began, work, pieces = clock(), second.hear([Segment(noise)] * count), 1
    try:
        while True:
            parts = next(work)
            for part in parts or ():
                part()
            pieces += parts is None
    except StopIteration as end:
        if error := next((heard.error for heard in end.value if heard.error), None):
            raise EngineError(error) from None
    return clock() - began, pieces


def measure(runner: Runner, window: Window, clock: Callable[[], float] = time.perf_counter,
            second: SecondCosts | None = None) -> Costs:
    """Times steps of 1, 2, 4 … rows until a larger one does not pay. The runner is to be warm and idle; what its
    slots held is lost. Raises EngineError where a row fails."""
    seconds: dict[int, float] = {}
    costs = Costs(window, seconds, runner.workers, second)
    for rows in batch_sizes(runner.max_batch):
        seconds[rows] = median(_time(runner, window, rows, clock) for _ in range(REPEATS))
        if costs.best_batch < rows:
            break
    return costs


def _time(runner: Runner, window: Window, count: int, clock: Callable[[], float]) -> float:
    """The slowest of all workers' steps, each of slots of its own, where there are slots for all."""
    with ThreadPoolExecutor(runner.workers) as workers:
        shares = range(0, min(runner.workers, runner.slots // count) * count, count)
        return max(workers.map(lambda first: _time_one(runner, window, range(first, first + count), clock), shares))


def _time_one(runner: Runner, window: Window, slots: Sequence[int], clock: Callable[[], float]) -> float:
    # Noise, as silence may fire nothing and so leave half of the work undone. A first step would pay for clean slots.
    noise = np.random.default_rng(0).normal(0, LOUDNESS, (2, len(slots), window.hop_samples)).astype(np.int16)
    for hop, first in zip(noise, (True, False), strict=True):
        rows = [Row(slot, samples, first=first, last=not first) for slot, samples in zip(slots, hop, strict=True)]
        began = clock()
        results = runner.run(window, rows)
        took = clock() - began
        if error := next((result.error for result in results if result.error), None):
            raise EngineError(f"a step of {len(slots)} rows failed while it was timed: {error}")
    return took
