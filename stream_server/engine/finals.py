"""The final lane: closed segments on their way through the second pass, in batches of like lengths, piece by piece."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stream_server.audio.ring import Ring
from stream_server.engine.guesses import Guesses
from stream_server.engine.job import Job
from stream_server.engine.passes import TURN_ALONE_S, TURN_S, Pass, Turn, TurnOutcome
from stream_server.engine.runner import Heard, SecondRunner, Segment
from stream_server.engine.statistics import Statistics
from stream_server.engine.stream import Stream, TenantKey
from stream_server.speech.hotwords import HotwordList
from stream_server.speech.recognition import SecondPass, Span
from stream_server.units import SAMPLE_RATE

log = logging.getLogger(__name__)

LONGEST_KEPT_S = 80
"""Audio of a stream that is kept: the longest segment (60 s), what comes before and behind it, and a hop."""

PADDING = 0.2
"""Part of a batch that may be padding behind its shorter segments."""

FINALS_PER_SESSION = 4
"""Closed segments that may wait for the second pass, for each admitted session; beyond that the first pass stands."""

MOST_PASSES = 4
"""Passes under way: a short segment may overtake a long one, but each that was begun holds memory."""

STRETCH = 0.1
"""Seconds of waiting that a second of audio bears: a pass is due sooner the shorter it is, and the longer it waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondOptions:
    """The second pass's model, and how it is used: `patience_s` is how long a session waits for it, `most_samples` of a
    batch are worth hearing together, and so many guesses."""

    runner: SecondRunner
    patience_s: float
    most_samples: int = 30 * SAMPLE_RATE
    most_guesses: int = 1


class Finals:
    """Jobs in, SecondPasses out by `say`; every job is answered once, save those that are forgotten.

    The engine's thread calls all of this; only `Turn.run` is any worker's. Among what waits, the earliest due goes
    first: a batch that is under way, or a new one of that job and others of like length. Where all that waits is some
    worker's, others share it; where nothing waits, guesses are heard: segments that may be about to end.
    """

    def __init__(self, second: SecondRunner, statistics: Statistics, say: Callable[[TenantKey, SecondPass], None], *,
                 patience_s: float, most_waiting: int, most_samples: int, most_running: int = 1,
                 most_guesses: int = 1) -> None:
        """`patience_s`: how long a session waits; `most_samples`: of a batch, padding included, unless it is one
        segment; `most_running`: turns that may run at once; `most_guesses`: guesses that are heard together, as one
        that proves right has to wait for all."""
        self._second = second
        self._statistics = statistics
        self._say = say
        self._patience_s = patience_s
        self._most_waiting = most_waiting
        self._most_samples = self._worth = most_samples
        self._most_running = most_running
        self._turns = 0
        self._waiting: dict[Job, None] = {}
        self._passes: list[Pass] = []
        self._most_guesses = most_guesses
        self._guesses = Guesses(statistics)

    @property
    def ready(self) -> bool:
        """Whether `begin` may have work."""
        some = bool(self._waiting) or bool(self._guesses.waiting) or any(each.free for each in self._passes)
        return some and self._turns < self._most_running

    def wants(self, turn: Turn) -> bool:
        """Whether the worker of a turn is to leave it: segments that have ended go before guesses."""
        return turn.work.guess and (bool(self._waiting) or any(each.free and not each.guess for each in self._passes))

    @property
    def waiting(self) -> int:
        """Segments that have not been answered."""
        return len(self._waiting) + sum(not job.guess for each in self._passes for job in each.jobs)

    def keep(self, stream: Stream, samples: np.ndarray, keep_from: int | None) -> None:
        """A stream's next samples, as long as somebody may want them."""
        if not stream.next_sequence:
            self._guesses.drop(stream.tenant)
        if keep_from is None or (stream.audio is None and stream.next_sequence):
            stream.audio = None
            return
        if stream.audio is None:
            stream.audio = Ring(LONGEST_KEPT_S * SAMPLE_RATE)
        stream.audio.forget(keep_from)
        if len(samples) > stream.audio.room:
            log.warning("stream %d of session %s keeps too much audio: no second pass", stream.generation,
                        stream.tenant[1])
            stream.audio = None
            return
        stream.audio.append(samples)
        stream.audio.forget(keep_from)

    def guess(self, stream: Stream, span: Span, rest: np.ndarray, now: float) -> None:
        """The stream's segment may be about to end; `rest` is what of its span is still to come."""
        audio = stream.audio
        if audio is None or not audio.start <= span.begin < span.end or span.end > audio.end + len(rest):
            return
        if len(rest) and span.end != audio.end + len(rest):
            return
        samples = np.concatenate([audio.read(span.begin, min(span.end, audio.end)), rest])
        self._guesses.add(Job(stream.tenant, stream.generation, -1, span.begin, Segment(samples, stream.hotwords),
                              now + STRETCH * len(samples) / SAMPLE_RATE, float("inf"), guess=True))

    def drop(self, tenant: TenantKey) -> None:
        """A session's guess was wrong."""
        self._guesses.drop(tenant)

    def add(self, stream: Stream, sequence: int, closed: Span, arrived: float,
            hotwords: HotwordList | None = None) -> None:
        """A segment was closed by the chunk `sequence` of the stream, which arrived at `arrived`."""
        problem = self._problem(stream, closed)
        if problem is not None:
            self._statistics.second_passes_refused += 1
            self._say(stream.tenant, SecondPass(stream.generation, sequence, error=problem))
            return
        samples = stream.audio.read(*closed)
        due = arrived + STRETCH * len(samples) / SAMPLE_RATE
        job = Job(stream.tenant, stream.generation, sequence, closed.begin, Segment(samples, hotwords), due,
                  arrived + self._patience_s)
        guessed = self._guesses.adopt(job)
        if guessed is None:
            self._waiting[job] = None
        elif guessed.heard is not None:
            self._answer(guessed, guessed.heard)

    def forget(self, tenant: TenantKey) -> None:
        """Nobody wants anything of a session any more."""
        self._guesses.drop(tenant)
        for job in [job for job in self._waiting if job.tenant == tenant]:
            del self._waiting[job]
        for each in self._passes:
            for job in each.jobs:
                job.wanted = job.wanted and job.tenant != tenant

    def begin(self, now: float, *, guesses: bool = True) -> Turn | None:
        """A worker's turn at the pass that is to go on now, which may be a guess; None where there is none."""
        self._drop_late(now)
        if not self.ready:
            return None
        passes = [each for each in self._passes if each.free]
        chosen = self._for_segments([each for each in passes if not each.guess])
        if chosen is None and guesses:
            chosen = self._for_guesses([each for each in passes if each.guess])
        if chosen is None:
            # What could be shared has ended meanwhile.
            return None
        chosen.turns += 1
        self._turns += 1
        return Turn(chosen, TURN_ALONE_S if self._most_running == 1 else TURN_S)

    def _for_segments(self, passes: list[Pass]) -> Pass | None:
        """What a closed segment waits for; what is some worker's already goes last."""
        begun = sum(not each.guess for each in self._passes)
        first = min(self._waiting, key=lambda job: job.due, default=None)
        chosen = _earliest([each for each in passes if not each.turns])
        if first is not None and (chosen is None or (first.due < chosen.due and begun < MOST_PASSES)):
            return self._add_pass(self._batch(first, self._waiting, self._second.max_batch))
        return chosen or _earliest(passes)

    def _for_guesses(self, passes: list[Pass]) -> Pass | None:
        """One that is under way holds memory: it is finished before another is begun."""
        chosen = _earliest([each for each in passes if not each.turns])
        if chosen is None and self._guesses.waiting:
            return self._add_pass(self._guesses.begin(self._batch, self._most_guesses))
        return chosen or _earliest(passes)

    def _add_pass(self, jobs: list[Job]) -> Pass:
        self._passes.append(Pass(self._second, jobs))
        return self._passes[-1]

    def finish(self, turn: Turn, outcome: TurnOutcome) -> None:
        """What a turn came to. A batch that failed is heard again in halves, down to the segment at fault."""
        done = turn.work
        done.turns -= 1
        self._turns -= 1
        self._statistics.second_pass_seconds += outcome.seconds
        # Another worker's part of it may have failed meanwhile.
        if done in self._passes and (outcome.failed or outcome.heard is not None):
            self._passes.remove(done)
            self._end(done, outcome)
        if done not in self._passes and not done.turns:
            done.close()

    def _end(self, done: Pass, outcome: TurnOutcome) -> None:
        if outcome.failed:
            self._salvage(done.jobs)
        else:
            self._most_samples = min(self._worth, self._most_samples + self._most_samples // 64)
            for job, heard in zip(done.jobs, outcome.heard, strict=True):
                if job.guess:
                    job.heard = heard
                else:
                    self._answer(job, heard)

    def _problem(self, stream: Stream, closed: Span) -> str | None:
        if stream.audio is None or not stream.audio.start <= closed.begin < closed.end <= stream.audio.end:
            return "the audio of the segment was not kept"
        if len(self._waiting) >= self._most_waiting:
            return "too many segments wait for the second pass"
        return None

    def _batch(self, first: Job, waiting: dict[Job, None], most: int) -> list[Job]:
        """The job and others of like length, `most` at most, the earliest due first; they leave the queue. Whoever
        could hear some too is left a share."""
        batch, longest, total = [], 0, 0
        free = self._most_running - self._turns
        most = min(most, -(-len(waiting) // free))
        for job in sorted(waiting, key=lambda job: job.due):
            length = max(longest, job.length)
            padded = length * (len(batch) + 1)
            fits = padded <= self._most_samples and total + job.length >= (1 - PADDING) * padded
            if job is first or fits:
                batch.append(job)
                longest, total = length, total + job.length
            if len(batch) >= most:
                break
        for job in batch:
            del waiting[job]
        return batch

    def _drop_late(self, now: float) -> None:
        late = [job for job in self._waiting if job.too_late <= now]
        for job in late:
            del self._waiting[job]
        for each in [each for each in self._passes if each.hopeless(now)]:
            late += [job for job in each.jobs if job.wanted]
            for job in each.jobs:
                job.wanted = False
            if not each.turns:
                self._passes.remove(each)
                each.close()
        for job in late:
            self._statistics.second_passes_late += 1
            self._say(job.tenant, SecondPass(job.generation, job.sequence, error="the second pass came too late"))

    def _salvage(self, jobs: list[Job]) -> None:
        for job in jobs:
            if job.guess:
                self._guesses.fail(job)
        closed = [job for job in jobs if not job.guess]
        if len(jobs) == 1 and closed:
            self._answer(closed[0], Heard(error="the second pass failed on this segment"))
        if len(jobs) == 1:
            return
        # A device short of memory has enough for fewer; whether it has more again the passes to come will tell.
        longest = max(job.length for job in jobs)
        self._most_samples = min(self._most_samples, max(longest * len(jobs) // 2, SAMPLE_RATE))
        middle = -(-len(closed) // 2)
        self._passes += [Pass(self._second, half) for half in (closed[:middle], closed[middle:]) if half]

    def _answer(self, job: Job, heard: Heard) -> None:
        if not job.wanted:
            self._statistics.stale_results += 1
            return
        if heard.error is None:
            self._statistics.second_passes += 1
        else:
            self._statistics.second_passes_failed += 1
        spans = [Span(job.begin + begin, job.begin + end) for begin, end in heard.spans]
        self._say(job.tenant, SecondPass(job.generation, job.sequence, heard.pieces, spans, heard.confidences,
                                         heard.error))


def _earliest(passes: list[Pass]) -> Pass | None:
    return min(passes, key=lambda each: each.due, default=None)
