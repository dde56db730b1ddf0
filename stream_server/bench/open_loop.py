"""Streams in real time through the engine's core, without sockets.

An open loop: a chunk becomes complete when its stream's clock says so, whether or not the engine has kept up, and its
delay counts from that moment. So an engine that falls behind cannot slow down what is asked of it.
"""

from __future__ import annotations

import heapq
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from stream_server.audio.windows import Window
from stream_server.bench.report import percentile
from stream_server.bench.speech import Speech
from stream_server.engine.engine import Engine
from stream_server.engine.runner import Runner
from stream_server.engine.statistics import Statistics
from stream_server.engine.wire import Admit, EngineMessage, Recognised, Refused, Step
from stream_server.engine.workers import Workers
from stream_server.errors import EngineError
from stream_server.units import SAMPLE_RATE

DOOR = b"bench"
SHORTEST_SEGMENT_S, LONGEST_SEGMENT_S = 1.5, 12.0
"""Segments last as long as sentences do, evenly spread."""

PATIENCE_S = 2.0
"""How long after the end late answers are waited for; those still missing count with their age."""


@dataclass(slots=True)
class Held:
    """What became of so many streams. Times in seconds; `delays` are from a chunk's last sample to its tokens."""

    streams: int
    seconds: float
    workers: int = 1
    delays: list[float] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)
    rows: int = 0
    segments: int = 0
    tokens: int = 0
    unanswered: int = 0

    def stepped(self, _: Window, rows: int, seconds: float) -> None:
        """The hook of the engine's statistics."""
        self.steps.append(seconds)
        self.rows += rows

    def delay_ms(self, percent: float) -> float:
        return 1000 * percentile(self.delays, percent)

    def within(self, lag_ms: float) -> bool:
        """Whether 99 of 100 chunks were answered in time, and all in the end."""
        return not self.unanswered and self.delay_ms(99) <= lag_ms

    def row(self) -> dict[str, object]:
        delays = {f"p{percent} ms": self.delay_ms(percent) for percent in (50, 95, 99)}
        return {"streams": self.streams, "seconds": self.seconds, "chunks": len(self.delays), **delays,
                "max ms": 1000 * max(self.delays), "step p99 ms": 1000 * percentile(self.steps, 99),
                "rows a step": self.rows / len(self.steps),
                "busy": f"{sum(self.steps) / self.seconds / self.workers:.0%}"}


class Due(NamedTuple):
    """A chunk that is complete, and since when."""

    at: float
    step: Step
    audio: memoryview


class Speaker:
    """Speech without a pause, in segments of random length that follow each other at once; begins at `start`."""

    def __init__(self, session: str, window: Window, speech: Speech, start: float, chance: random.Random) -> None:
        self.waiting: deque[Due] = deque()
        self.in_flight: Due | None = None
        self.session = session
        self._window = window
        self._speech = speech
        self._chance = chance
        self._start = start
        self._offset = chance.randrange(len(speech.samples))
        self._spoken = 0
        self._generation = -1
        self._left = 0
        self.next = self._complete()

    def advance(self) -> None:
        """The next chunk is complete."""
        self.waiting.append(self.next)
        self.next = self._complete()

    def _complete(self) -> Due:
        if not self._left:
            self._generation += 1
            self._sequence = 0
            self._left = round(SAMPLE_RATE * self._chance.uniform(SHORTEST_SEGMENT_S, LONGEST_SEGMENT_S))
        count = min(self._left, self._window.hop_samples)
        self._left -= count
        step = Step(self.session, self._generation, self._sequence, self._window, last=not self._left)
        self._sequence += 1
        # What the load costs falls on what it measures, on one thread: no copy, as pack_chunk makes none.
        audio = self._speech.take(self._offset + self._spoken, count).view(np.uint8).data
        self._spoken += count
        return Due(self._start + self._spoken / SAMPLE_RATE, step, audio)


def hold(runner: Runner, speech: Speech, streams: int, seconds: float, *, max_batch: int | None = None,
         seed: int = 1, clock: Callable[[], float] = time.monotonic,
         sleep: Callable[[float], None] | None = None) -> Held:
    """`streams` speakers at random phases for `seconds`. Raises EngineError where a chunk fails.

    `max_batch` is the engine's; `clock` and `sleep` are its time in seconds, and with another time than the world's the
    runner has one worker.
    """
    held = Held(streams, seconds, runner.workers)
    statistics = Statistics(observe_step=held.stepped)
    engine = Engine(runner, capacity=streams, max_batch=max_batch, statistics=statistics, clock=clock)
    workers = Workers(engine, runner, clock)
    try:
        return _Loop(engine, workers, runner.windows[0], speech, held, random.Random(seed), clock,
                     sleep or workers.wait).run()
    finally:
        workers.close()


class _Loop:
    """What engine/process.py does in turn, with speakers in place of its socket."""

    def __init__(self, engine: Engine, workers: Workers, window: Window, speech: Speech, held: Held,
                 chance: random.Random, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._workers = workers
        self._clock = clock
        self._sleep = sleep
        self._held = held
        self._engine = engine
        self._begin = clock()
        hop_s = window.hop_samples / SAMPLE_RATE
        self._speakers = {
            str(number): Speaker(str(number), window, speech, self._begin + chance.uniform(0, hop_s), chance)
            for number in range(held.streams)
        }
        for session in self._speakers:
            self._engine.receive(DOOR, Admit(session), self._begin)
        self._agenda = [(speaker.next.at, session) for session, speaker in self._speakers.items()]
        heapq.heapify(self._agenda)

    def run(self) -> Held:
        end = self._begin + self._held.seconds
        while (now := self._clock()) < end:
            self._complete(now)
            self._turn(min(self._agenda[0][0], end))
        self._agenda.clear()
        while self._clock() < end + PATIENCE_S and self._open():
            self._turn(end + PATIENCE_S)
        for due in self._open():
            self._held.unanswered += 1
            self._held.delays.append(self._clock() - due.at)
        return self._held

    def _turn(self, wake_at: float) -> None:
        """A step where there is work and somebody free, else sleep."""
        if not self._workers.turn(self._clock()):
            self._sleep(max(0.0, wake_at - self._clock()))
        now = self._clock()
        for _, message in self._engine.take_messages():
            self._answered(message, now)

    def _complete(self, now: float) -> None:
        while self._agenda[0][0] <= now:
            _, session = self._agenda[0]
            speaker = self._speakers[session]
            speaker.advance()
            heapq.heapreplace(self._agenda, (speaker.next.at, session))
            self._submit(speaker, now)

    def _submit(self, speaker: Speaker, now: float) -> None:
        # As a session does: one chunk in flight, the rest wait.
        if speaker.in_flight is None and speaker.waiting:
            due = speaker.in_flight = speaker.waiting.popleft()
            self._engine.receive(DOOR, due.step, now, due.audio)

    def _answered(self, message: EngineMessage, now: float) -> None:
        if isinstance(message, Refused):
            raise EngineError(f"a stream was refused: {message.message}")
        if not isinstance(message, Recognised):
            return
        if message.hypothesis.error is not None:
            raise EngineError(f"a chunk failed: {message.hypothesis.error}")
        speaker = self._speakers[message.session]
        due, speaker.in_flight = speaker.in_flight, None
        self._held.delays.append(now - due.at)
        self._held.tokens += len(message.hypothesis.pieces)
        self._held.segments += message.hypothesis.last
        self._submit(speaker, now)

    def _open(self) -> list[Due]:
        """Chunks that are complete and not answered."""
        return [due for speaker in self._speakers.values() for due in (speaker.in_flight, *speaker.waiting) if due]
