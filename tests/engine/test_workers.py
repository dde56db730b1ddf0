"""Steps that run at once: the shell around an engine, with real threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Barrier, Event

import numpy as np
import pytest

from stream_server.audio.windows import Window
from stream_server.engine import workers as workers_module
from stream_server.engine.engine import HOPELESS_BATCHES, Engine
from stream_server.engine.runner import Row, RowResult
from stream_server.engine.wire import Abort, Admit, EngineMessage, Recognised, Step
from stream_server.engine.workers import Workers
from stream_server.errors import EngineError
from tests.support.scripted_runner import ScriptedRunner, expected_pieces

WINDOW = Window(1, 1)
DOOR = b"door"
LONG_S = 20.0
"""Longer than anything here takes."""


class Gated(ScriptedRunner):
    """Waits in each step for what it is told to wait for, and keeps the threads that it ran in."""

    def __init__(self, workers: int, wait: Callable[[], object] = lambda: None) -> None:
        super().__init__(slots=4, windows=[WINDOW], workers=workers)
        self.wait = wait
        self.threads: set[str] = set()

    def run(self, window: Window, rows: Sequence[Row]) -> list[RowResult]:
        self.threads.add(threading.current_thread().name)
        self.wait()
        return super().run(window, rows)


@contextmanager
def at_work(runner: Gated, sessions: str) -> Iterator[tuple[Engine, Workers]]:
    engine = Engine(runner, max_batch=2)
    workers = Workers(engine, runner)
    for session in sessions:
        engine.receive(DOOR, Admit(session), 0.0)
    engine.take_messages()
    try:
        yield engine, workers
    finally:
        workers.close()


def hop(value: int) -> np.ndarray:
    return np.full(WINDOW.hop_samples, value, np.int16)


def speak(engine: Engine, session: str, value: int = 1, sequence: int = 0, generation: int = 0) -> None:
    engine.receive(DOOR, Step(session, generation, sequence, WINDOW, False), 0.0, hop(value).tobytes())


def answers(engine: Engine, workers: Workers, count: int) -> dict[str, list[str]]:
    """Pieces of each session, once there are so many answers."""
    said: list[EngineMessage] = []
    while len(said) < count:
        workers.wait(LONG_S)
        assert workers.turn(0.0), "a step takes too long"
        said += [message for _, message in engine.take_messages()]
    assert all(isinstance(message, Recognised) and not message.hypothesis.error for message in said)
    return {message.session: message.hypothesis.pieces for message in said}


def test_streams_that_are_ready_are_shared_out_and_step_at_once() -> None:
    runner = Gated(2, Barrier(2, timeout=LONG_S).wait)
    with at_work(runner, "ab") as (engine, workers):
        speak(engine, "a", 1), speak(engine, "b", 2)
        assert workers.turn(0.0) and not workers.ready
        assert answers(engine, workers, 2) == {"a": expected_pieces([hop(1)]), "b": expected_pieces([hop(2)])}
        assert [len(rows) for _, rows in runner.batches] == [1, 1]


def test_a_chunk_that_comes_during_a_step_waits_for_the_next_worker_that_is_free() -> None:
    gate = Event()
    runner = Gated(2, lambda: gate.wait(LONG_S))
    with at_work(runner, "abc") as (engine, workers):
        speak(engine, "a"), workers.turn(0.0)
        speak(engine, "b"), workers.turn(0.0)
        speak(engine, "c")
        assert engine.busy and not workers.ready
        assert not workers.turn(0.0)
        gate.set()
        assert sorted(answers(engine, workers, 3)) == ["a", "b", "c"]


def test_a_slot_is_nobodys_while_a_step_still_writes_to_it() -> None:
    gate = Event()
    runner = Gated(2, lambda: gate.wait(LONG_S))
    with at_work(runner, "abcd") as (engine, workers):
        for session in "abcd":
            speak(engine, session)
        workers.turn(0.0)
        engine.receive(DOOR, Abort("a", 0), 0.0)
        speak(engine, "a", 7, generation=1)
        assert engine.statistics.slots_in_use == 4 and engine.statistics.chunks_waiting == 1
        gate.set()
        said = answers(engine, workers, 4)
        assert said["a"] == expected_pieces([hop(7)])
        assert engine.statistics.stale_results == 1 and engine.statistics.slots_in_use == 4


def test_one_worker_is_the_caller() -> None:
    runner = Gated(1)
    with at_work(runner, "a") as (engine, workers):
        speak(engine, "a")
        assert workers.turn(0.0) and len(engine.take_messages()) == 1
        assert not workers.turn(0.0)
    assert runner.threads == {threading.current_thread().name}


def test_a_step_that_does_not_end_is_noticed_and_a_machine_that_slept_is_not_blamed() -> None:
    gate = Event()
    runner = Gated(2, lambda: gate.wait(LONG_S))
    with at_work(runner, "a") as (engine, workers):
        speak(engine, "a")
        workers.turn(0.0)
        for now in (0.5, 1.0, 5000.0, 5000.5):
            assert not workers.turn(now)
        with pytest.raises(EngineError, match="has not ended within 60 s"):
            for now in range(100):
                workers.turn(5001.0 + now)
        gate.set()


def test_a_worker_whose_step_ends_abnormally_steps_again() -> None:
    class Leaving(Gated):
        def run(self, window: Window, rows: Sequence[Row]) -> list[RowResult]:
            if rows[0].first:
                raise SystemExit
            return super().run(window, rows)

    with at_work(Leaving(2), "a") as (engine, workers):
        for generation in range(3):
            speak(engine, "a", generation=generation)
            workers.turn(0.0)
            workers.wait(LONG_S)
            workers.turn(0.0)
            ((_, message),) = engine.take_messages()
            assert message.hypothesis.error


def test_closing_does_not_wait_for_a_step_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "CLOSE_S", 0.1)
    gate = Event()
    runner = Gated(2, lambda: gate.wait(LONG_S))
    engine = Engine(runner)
    workers = Workers(engine, runner)
    engine.receive(DOOR, Admit("a"), 0.0)
    speak(engine, "a")
    workers.turn(0.0)
    assert not workers.close()
    gate.set()
    for thread in workers._threads:
        thread.join(LONG_S)
    assert workers.close()


@pytest.mark.parametrize("count", [1, 2])
def test_a_device_that_fails_on_everything_is_given_up(count: int) -> None:
    runner = Gated(count)
    runner.broken = True
    with at_work(runner, "a") as (engine, workers), pytest.raises(EngineError, match="broken"):
        for generation in range(HOPELESS_BATCHES + 1):
            speak(engine, "a", generation=generation)
            workers.turn(0.0)
            if count > 1:
                workers.wait(LONG_S)
                workers.turn(0.0)
