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
class TurnOutcome:
    """What a turn at a pass came to: `heard` where it was the last one, neither where it was not. `seconds` are those
    of work."""

    seconds: float
    heard: list[Heard] | None = None
    failed: bool = False


class Pass:
    """A batch on its way; begun in the turn that first goes on with it.

    Any number of workers may be at it: the model goes on in one of them, and gives parts of a layer for all. `take` and
    `done` are theirs, all else is the engine's thread's.
    """

    def __init__(self, second: SecondRunner, jobs: list[Job]) -> None:
        self.jobs = jobs
        self.turns = 0
        """Workers that are at it."""
        self.change = threading.Condition()
        self.heard: list[Heard] | None = None
        """The results, once there are any."""
        self._work: Pieces[list[Heard]] = second.hear([job.segment for job in jobs])
        self._parts: deque[Callable[[], object]] = deque()
        self._sizes = (0, 0)
        self._under_way = 0
        self._over = False

    @property
    def due(self) -> float:
        return min(job.due for job in self.jobs)

    @property
    def guess(self) -> bool:
        """Nobody waits for any of it yet."""
        return all(job.guess for job in self.jobs)

    @property
    def wanted(self) -> bool:
        """Whether anybody waits for any of it, or may."""
        return any(job.wanted for job in self.jobs)

    @property
    def places(self) -> int:
        """Workers that find something to do: as many as the latest pieces had parts."""
        return max(1, *self._sizes)

    @property
    def free(self) -> bool:
        """Whether one more worker finds something to do that anybody wants."""
        return not self.turns or (self.turns < self.places and self.wanted)

    def hopeless(self, now: float) -> bool:
        """Nobody waits for any of it any more."""
        return all(not job.wanted or job.too_late <= now for job in self.jobs)

    def take(self, patience: Callable[[], float]) -> Callable[[], object] | None:
        """A part, or what gives the next ones once those before are done: whoever runs it says so by `done`. None where
        there is none within `patience()` seconds, none for others, or no more."""
        with self.change:
            while not self._parts and self._under_way and not self._over:
                left = patience()
                if self.places == 1 or left <= 0 or not self.change.wait(left):
                    return None
            if self._over:
                return None
            self._under_way += 1
            return self._parts.popleft() if self._parts else self._go_on

    def done(self, *, failed: bool = False) -> None:
        """What was taken has been run; where it failed nothing more of the pass is."""
        with self.change:
            self._under_way -= 1
            self._over |= failed or self.heard is not None
            self.change.notify_all()

    def close(self) -> None:
        """Lets go of what the pass holds; nobody is at it."""
        self._work.close()
        self._parts.clear()

    def _go_on(self) -> None:
        try:
            parts = next(self._work) or ()
        except StopIteration as end:
            if len(end.value) != len(self.jobs):
                raise ValueError(f"{len(end.value)} results for {len(self.jobs)} segments") from None
            self.heard = end.value
            return
        with self.change:
            self._parts.extend(parts)
            # Between two layers there is a piece without parts.
            self._sizes = (len(parts), self._sizes[0])


class Turn:
    """A worker's at a pass, for `most_s` seconds or a part more."""

    def __init__(self, work: Pass, most_s: float = TURN_S) -> None:
        self.work = work
        self.asked = False
        self._most_s = most_s

    def leave(self) -> None:
        """There is something else for the worker to do; any thread may say so."""
        with self.work.change:
            self.asked = True
            self.work.change.notify_all()

    def run(self, _: object = None, clock: Callable[[], float] = time.monotonic) -> TurnOutcome:
        """The next parts. Raises nothing; belongs to the thread that runs it."""
        work, end, seconds, places = self.work, clock() + self._most_s, 0.0, self.work.places
        while (part := work.take(lambda: 0.0 if self.asked else end - clock())) is not None:
            began = clock()
            try:
                part()
            except Exception:
                log.exception("a second pass of %d segments failed", len(work.jobs))
                work.done(failed=True)
                return TurnOutcome(seconds + clock() - began, failed=True)
            heard = work.heard
            work.done()
            seconds += clock() - began
            if heard is not None:
                return TurnOutcome(seconds, heard)
            # Where there are parts for more than before, the engine's thread is to hear of it and send them.
            if self.asked or not work.wanted or clock() >= end or work.places > places:
                break
        return TurnOutcome(seconds)

    def abandoned(self) -> TurnOutcome:
        """The outcome of a turn that ended abnormally."""
        return TurnOutcome(0.0, failed=True)
