"""Batches of segments on their way through the second model, a piece at a time, by as many workers as are free."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from stream_server.engine.job import Job
from stream_server.engine.pieces import Pieces
from stream_server.engine.runner import Heard, SecondRunner

log = logging.getLogger(__name__)

TURN_S = 0.05
"""A worker leaves a pass after so long, at the next place where it can be left, or when it is asked to."""

TURN_ALONE_S = 0.02
"""The same where there is one worker only, whom nobody can ask."""


@dataclass(frozen=True, slots=True)
class PieceOutcome:
    """What a turn at a pass came to: `heard` where it was the last one, neither where it was not."""

    seconds: float
    heard: list[Heard] | None = None
    failed: bool = False


class Pass:
    """A batch on its way; begun in the turn that first runs it.

    The engine's thread calls all but `run`, which workers call, any number at once: the model goes on in one of them,
    and gives parts of a layer for all.
    """

    def __init__(self, second: SecondRunner, jobs: list[Job]) -> None:
        self.jobs = jobs
        self.turns = 0
        """Workers that are at it."""
        self._work: Pieces[list[Heard]] = second.hear([job.segment for job in jobs])
        self._parts: deque[Callable[[], object]] = deque()
        self._under_way = 0
        self._shared = self._over = False
        self._change = threading.Condition()

    @property
    def due(self) -> float:
        return min(job.due for job in self.jobs)

    @property
    def guess(self) -> bool:
        """Nobody waits for any of it yet."""
        return all(job.guess for job in self.jobs)

    @property
    def free(self) -> bool:
        """Whether another worker finds something to do: it is nobody's, or gives parts for several."""
        return not self.turns or self._shared

    @property
    def wanted(self) -> bool:
        """Whether anybody waits for any of it, or may."""
        return any(job.wanted for job in self.jobs)

    def hopeless(self, now: float) -> bool:
        """Nobody waits for any of it any more."""
        return all(not job.wanted or job.too_late <= now for job in self.jobs)

    def run(self, turn: Turn, clock: Callable[[], float] = time.monotonic) -> PieceOutcome:
        """The next pieces. Raises nothing; belongs to the thread that runs it."""
        began = clock()
        try:
            while (part := self._take(turn.most_s - clock() + began)) is not None:
                try:
                    part()
                finally:
                    self._done()
                if turn.asked or not self.wanted or clock() - began >= turn.most_s:
                    break
        except StopIteration as end:
            self._end()
            if len(end.value) == len(self.jobs):
                return PieceOutcome(clock() - began, end.value)
            log.error("the second pass gave %d results for %d segments", len(end.value), len(self.jobs))
            return PieceOutcome(clock() - began, failed=True)
        except Exception:
            self._end()
            log.exception("a second pass of %d segments failed", len(self.jobs))
            return PieceOutcome(clock() - began, failed=True)
        return PieceOutcome(clock() - began)

    def close(self) -> None:
        """Lets go of what the pass holds; nobody is at it."""
        self._work.close()

    def _take(self, patience_s: float) -> Callable[[], object] | None:
        """A part, or what gives the next ones once those before are done; None where that takes too long, or is the
        others' to see to."""
        with self._change:
            while not self._parts and self._under_way and not self._over:
                if not self._shared or not self._change.wait(max(0.0, patience_s)):
                    return None
            if self._over:
                return None
            self._under_way += 1
            return self._parts.popleft() if self._parts else self._go_on

    def _go_on(self) -> None:
        parts = next(self._work)
        with self._change:
            self._parts.extend(parts or ())
            self._shared = len(self._parts) > 1

    def _done(self) -> None:
        with self._change:
            self._under_way -= 1
            self._change.notify_all()

    def _end(self) -> None:
        with self._change:
            self._over = True
            self._change.notify_all()


class Turn:
    """A worker's at a pass, for `most_s` seconds or a part more."""

    def __init__(self, work: Pass, most_s: float = TURN_S) -> None:
        self.work = work
        self.most_s = most_s
        self.asked = False

    def leave(self) -> None:
        """There is something else for the worker to do; any thread may say so."""
        self.asked = True

    def run(self, _: object = None, clock: Callable[[], float] = time.monotonic) -> PieceOutcome:
        """See `Pass.run`."""
        return self.work.run(self, clock)

    def abandoned(self) -> PieceOutcome:
        """The outcome of a turn that ended abnormally."""
        return PieceOutcome(0.0, failed=True)
