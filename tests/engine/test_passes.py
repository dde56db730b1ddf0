"""A pass through the second model, which several workers may share."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_server.audio.windows import Window
from stream_server.engine import finals as finals_module
from stream_server.engine.engine import Engine
from stream_server.engine.finals import Finals, SecondOptions
from stream_server.engine.job import Job
from stream_server.engine.passes import Pass, Turn, TurnOutcome
from stream_server.engine.runner import Segment
from stream_server.engine.statistics import Statistics
from stream_server.engine.stream import Stream
from stream_server.engine.wire import Admit, Expect, HeardAgain, Recognised, Release, Step
from stream_server.engine.workers import Workers
from stream_server.speech.recognition import SecondPass, Span
from tests.support.scripted_runner import ScriptedRunner
from tests.support.scripted_second import ScriptedSecond, expected

WINDOW = Window(4, 4)
HOP = WINDOW.hop_samples
DOOR = b"door"
WITHIN_S = 20.0
PATIENCE_S = 9.0


def sound(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-9_000, 9_000, HOP, np.int16)


def pass_of(second: ScriptedSecond) -> Pass:
    return Pass(second, [Job((DOOR, "a"), 0, 0, 0, Segment(sound()), 0.0, 9.0)])


def test_nobody_goes_on_with_what_nobody_wants() -> None:
    work = pass_of(ScriptedSecond(pieces=9, work=lambda: setattr(work.jobs[0], "wanted", False)))
    assert Turn(work).run().heard is None and Turn(work).run().heard is None


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.integers(0, 6), max_size=12), workers=st.integers(1, 4), patient=st.booleans())
def test_however_many_share_it_every_part_runs_once_and_after_those_of_the_piece_before(
        sizes: list[int], workers: int, patient: bool) -> None:
    begun, done = [0] * len(sizes), [0] * len(sizes)
    lock, faults = threading.Lock(), []

    def part(piece: int) -> None:
        with lock:
            begun[piece] += 1
            if done[:piece] != sizes[:piece]:
                faults.append(piece)
        with lock:
            done[piece] += 1

    second = ScriptedSecond(pieces=len(sizes) + 1, parts=lambda piece: [lambda: part(piece)] * sizes[piece] or None)
    work = pass_of(second)
    ticks = itertools.count(step=0 if patient else 1)

    def share() -> list[TurnOutcome]:
        outcomes = []
        while not any(outcome.heard or outcome.failed for outcome in outcomes) and not over.is_set():
            outcomes.append(Turn(work).run(clock=lambda: float(next(ticks))))
        over.set()
        return outcomes

    over = threading.Event()
    with ThreadPoolExecutor(workers) as pool:
        outcomes = sum((each.result(WITHIN_S) for each in [pool.submit(share) for _ in range(workers)]), [])
    assert not faults and begun == done == sizes
    (heard,) = [outcome.heard for outcome in outcomes if outcome.heard is not None]
    assert heard[0].pieces == [expected(sound())] and not any(outcome.failed for outcome in outcomes)


class Gate:
    """Parts that wait to be let go on."""

    def __init__(self) -> None:
        self.passed = 0
        self.at_it, self._open = threading.Semaphore(0), threading.Semaphore(0)

    def part(self) -> None:
        self.at_it.release()
        assert self._open.acquire(timeout=WITHIN_S)
        self.passed += 1

    def open(self, parts: int) -> None:
        self._open.release(parts)


class Floor:
    """An engine with two workers, and what they said."""

    def __init__(self, second: ScriptedSecond, sessions: str = "a") -> None:
        runner = ScriptedRunner(8, [WINDOW], workers=2)
        self.engine = Engine(runner, second=SecondOptions(runner=second, patience_s=PATIENCE_S))
        self.workers = Workers(self.engine, runner)
        self.said: list[object] = []
        for session in sessions:
            self.engine.receive(DOOR, Admit(session), 0.0)

    def speak(self, session: str, *, closed: bool = True) -> None:
        span = Span(0, HOP) if closed else None
        step = Step(session, 0, 0, WINDOW, True, keep_from=0 if closed else None, closed=span)
        self.engine.receive(DOOR, step, 0.0, sound(ord(session)).tobytes())

    def until(self, enough: Callable[[], bool], *, now: float = 0.0, pause_s: float = 0.01) -> None:
        end = time.monotonic() + WITHIN_S
        while not enough():
            assert time.monotonic() < end, self.said
            moved = self.workers.turn(now)
            self.said += [message for _, message in self.engine.take_messages()]
            if not moved:
                self.workers.wait(pause_s)

    def until_both_are_at(self, gate: Gate) -> None:
        """Both workers are in parts of `gate`."""
        self.until(lambda: not self.workers.ready and gate.at_it.acquire(timeout=0.01))
        assert gate.at_it.acquire(timeout=WITHIN_S)

    def heard(self) -> list[SecondPass]:
        return [message.second_pass for message in self.said if isinstance(message, HeardAgain)]


def test_a_worker_that_is_free_takes_a_share() -> None:
    """Both parts of a piece wait for each other: one worker alone would never get through. Nothing but the workers
    wakes who deals out turns."""
    together = threading.Barrier(2)
    floor = Floor(ScriptedSecond(pieces=4, parts=lambda piece: [lambda: together.wait(WITHIN_S)] * 2))
    try:
        floor.speak("a")
        floor.until(lambda: len(floor.heard()) == 1, pause_s=2 * WITHIN_S)
        assert floor.heard()[0].pieces == [expected(sound(ord("a")))]
        assert not floor.engine.busy and floor.engine.statistics.second_passes == 1
    finally:
        together.abort()
        floor.workers.close()


def test_a_chunk_takes_a_worker_from_a_shared_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finals_module, "TURN_S", 1e9)
    gate = Gate()
    floor = Floor(ScriptedSecond(pieces=2, parts=lambda piece: [gate.part] * 5), "ab")
    try:
        floor.speak("a")
        floor.until_both_are_at(gate)
        floor.speak("b", closed=False)
        floor.workers.turn(0.0)
        gate.open(1)
        floor.until(lambda: any(isinstance(each, Recognised) and each.session == "b" for each in floor.said))
        assert not floor.heard()
        gate.open(9)
        floor.until(lambda: len(floor.heard()) == 1)
        assert floor.heard()[0].error is None
    finally:
        gate.open(9)
        floor.workers.close()


def test_a_part_that_fails_is_the_passs_failure_and_nobody_elses() -> None:
    together, fails = threading.Barrier(2), iter([True])

    def part() -> None:
        together.wait(WITHIN_S)
        if next(fails, False):
            raise RuntimeError("a part is at fault")

    floor = Floor(ScriptedSecond(pieces=3, parts=lambda piece: [part] * 2), "ab")
    try:
        floor.speak("a")
        floor.until(lambda: len(floor.heard()) == 1)
        assert floor.heard()[0].error == "the second pass failed on this segment"
        floor.speak("b")
        floor.until(lambda: len(floor.heard()) == 2)
        assert floor.heard()[1].pieces == [expected(sound(ord("b")))]
        floor.until(lambda: not floor.engine._finals._turns)
        assert floor.engine._finals._passes == []
    finally:
        together.abort()
        floor.workers.close()


@pytest.mark.parametrize("gone", [False, True], ids=["too late", "released"])
def test_a_shared_pass_that_nobody_waits_for_is_left_by_all(monkeypatch: pytest.MonkeyPatch, gone: bool) -> None:
    monkeypatch.setattr(finals_module, "TURN_S", 0.0)
    gate = Gate()
    floor = Floor(ScriptedSecond(pieces=3, parts=lambda piece: [gate.part] * 40))
    try:
        floor.speak("a")
        floor.until_both_are_at(gate)
        if gone:
            floor.engine.receive(DOOR, Release("a"), 0.0)
        gate.open(1)
        if not gone:
            floor.until(lambda: len(floor.heard()) == 1, now=PATIENCE_S + 1)
            assert "too late" in floor.heard()[0].error
        gate.open(99)
        floor.until(lambda: not floor.engine._finals._turns, now=PATIENCE_S + 1)
        floor.until(lambda: not floor.engine.busy, now=PATIENCE_S + 1)
        assert floor.engine._finals._passes == [] and gate.passed <= 4 and len(floor.heard()) == (not gone)
    finally:
        gate.open(99)
        floor.workers.close()


def test_a_segment_that_has_ended_takes_a_worker_from_a_shared_guess(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finals_module, "TURN_S", 1e9)
    gate = Gate()
    second = ScriptedSecond(pieces=2, parts=lambda piece: [gate.part] * 5 if len(second.batches) == 1 else None)
    floor = Floor(second, "ab")
    try:
        floor.engine.receive(DOOR, Step("a", 0, 0, WINDOW, False, keep_from=0), 0.0, sound(ord("a")).tobytes())
        floor.until(lambda: any(isinstance(each, Recognised) for each in floor.said))
        floor.engine.receive(DOOR, Expect("a", 0, Span(0, HOP)), 0.0)
        floor.until_both_are_at(gate)
        finals = floor.engine._finals
        stream = Stream((DOOR, "b"), 0, WINDOW)
        finals.keep(stream, sound(ord("b")), 0)
        finals.add(stream, 0, Span(0, HOP), 0.0)
        floor.workers.turn(0.0)
        gate.open(1)
        floor.until(lambda: len(floor.heard()) == 1)
        assert floor.heard()[0].pieces == [expected(sound(ord("b")))]
    finally:
        gate.open(99)
        floor.workers.close()


def test_a_guess_that_was_right_takes_the_workers_of_other_guesses() -> None:
    second = ScriptedSecond(pieces=5, parts=lambda piece: [lambda: None] * 3)
    finals = Finals(second, Statistics(), lambda key, said: None, patience_s=PATIENCE_S, most_waiting=9,
                    most_samples=1 << 20, most_running=2)
    turns = {}
    for name in "ab":
        stream = Stream((DOOR, name), 0, WINDOW)
        finals.keep(stream, sound(ord(name)), 0)
        finals.guess(stream, Span(0, HOP), sound()[:0], 0.0)
        turns[name] = finals.begin(0.0)
        turns[name].run()
    assert [turn.work.places for turn in turns.values()] == [3, 3]
    assert not any(finals.wants(turn) for turn in turns.values())
    finals.add(stream, 1, Span(0, HOP), 0.0)
    assert finals.wants(turns["a"]) and not finals.wants(turns["b"])
