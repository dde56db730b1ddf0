"""A batch's way through the runner, in halves where it raises. Touches nothing of the engine: it may have a thread."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stream_server.audio.windows import Window
from stream_server.engine.runner import Row, RowResult, Runner
from stream_server.engine.stream import Stream
from stream_server.errors import EngineError

log = logging.getLogger(__name__)

FAILED = RowResult(error="the engine failed on this segment")
"""What a stream is told whose step raised; the log has the cause."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The rows' results, what the step took, and whether it raised at first."""

    results: list[RowResult]
    seconds: float
    failed: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Begun:
    """A batch whose step has begun: its streams, and the same as rows for the runner."""

    window: Window
    streams: list[Stream]
    rows: list[Row]

    def run(self, runner: Runner, clock: Callable[[], float] = time.monotonic) -> Outcome:
        """The step itself; belongs to the thread that runs it."""
        return advance(runner, self.window, self.rows, clock)

    def abandoned(self) -> Outcome:
        """The outcome of a step that ended abnormally."""
        return Outcome([FAILED] * len(self.rows), 0.0, failed=True)


def advance(runner: Runner, window: Window, rows: Sequence[Row],
            clock: Callable[[], float] = time.monotonic) -> Outcome:
    """One step of `rows`. Raises nothing: a row that cannot be served gets FAILED."""
    began, failed = clock(), False
    try:
        results = _run(runner, window, rows)
    except Exception:
        log.exception("a step of %d rows failed, window %s", len(rows), window)
        results, failed = _salvage(runner, window, rows), True
    return Outcome(results, clock() - began, failed)


def _salvage(runner: Runner, window: Window, rows: Sequence[Row]) -> list[RowResult]:
    """What the halves of a batch that raised give: a device short of memory has enough for fewer rows, and a row at
    fault ends up alone."""
    if len(rows) == 1:
        return [FAILED]
    middle = len(rows) // 2
    return [result for half in (rows[:middle], rows[middle:]) for result in _run_half(runner, window, half)]


def _run_half(runner: Runner, window: Window, rows: Sequence[Row]) -> list[RowResult]:
    try:
        return _run(runner, window, rows)
    except Exception as error:
        log.warning("%d rows failed again: %s", len(rows), error)
        return _salvage(runner, window, rows)


def _run(runner: Runner, window: Window, rows: Sequence[Row]) -> list[RowResult]:
    results = runner.run(window, rows)
    if len(results) != len(rows):
        raise EngineError(f"the runner gave {len(results)} results for {len(rows)} rows")
    return results
