"""The final lane: closed segments are heard again whole, between live steps, in batches of like lengths."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_server.audio.windows import Window
from stream_server.engine import finals as finals_module
from stream_server.engine.engine import Engine
from stream_server.engine.finals import FINALS_PER_SESSION, MOST_PASSES, PADDING, Finals, SecondOptions
from stream_server.engine.passes import Turn
from stream_server.engine.statistics import Statistics
from stream_server.engine.stepping import Begun
from stream_server.engine.stream import Stream
from stream_server.engine.wire import Abort, Admit, EngineMessage, HeardAgain, Recognised, Release, Step
from stream_server.engine.workers import Workers
from stream_server.speech.hotwords import HotwordList
from stream_server.speech.recognition import SecondPass, Span
from tests.support.scripted_runner import POISON, VENOM, ScriptedRunner
from tests.support.scripted_second import ScriptedSecond, expected

WINDOW = Window(4, 4)
HOP = WINDOW.hop_samples
DOOR = b"door"
PATIENCE_S = 3.0


class Clock:
    """Each look at it takes `step` seconds."""

    def __init__(self, step: float = 0.0) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


class Bench:
    """An engine with a second model, and what a door would say, said by hand."""

    def __init__(self, second: ScriptedSecond | None = None, *, sessions: str = "a", has_second: bool = True,
                 most_samples: int = 1 << 20, workers: int = 1, slots: int = 8, **others: object) -> None:
        self.second = second or ScriptedSecond()
        options = SecondOptions(runner=self.second, patience_s=PATIENCE_S, most_samples=most_samples)
        # Every look at the clock takes longer than a worker stays with a pass: a piece is one step of the generator.
        self.engine = Engine(ScriptedRunner(slots, [WINDOW], workers=workers), clock=Clock(0.1),
                             second=options if has_second else None, **others)
        self.now = 100.0
        for session in sessions:
            self.engine.receive(DOOR, Admit(session), self.now)
        self.engine.take_messages()

    @property
    def numbers(self) -> Statistics:
        return self.engine.statistics

    def chunk(self, session: str, samples: np.ndarray, sequence: int = 0, generation: int = 0, *,
              closed: Span | None = None, keep_from: int | None = 0, last: bool | None = None) -> None:
        last = closed is not None if last is None else last
        step = Step(session, generation, sequence, WINDOW, last, keep_from=keep_from, closed=closed)
        self.engine.receive(DOOR, step, self.now, samples.tobytes())

    def speak(self, session: str, samples: np.ndarray, generation: int = 0) -> None:
        """A whole stream of several hops, which closes over all of it."""
        for sequence, begin in enumerate(range(0, len(samples), HOP)):
            closed = Span(0, len(samples)) if begin + HOP >= len(samples) else None
            self.chunk(session, samples[begin : begin + HOP], sequence, generation, closed=closed)
            while self.numbers.chunks_waiting:
                self.engine.step(self.now)

    def answers(self) -> dict[str, SecondPass]:
        """Second passes that are there by now."""
        messages = [message for _, message in self.engine.take_messages() if isinstance(message, HeardAgain)]
        return {message.session: message.second_pass for message in messages}

    def heard(self) -> dict[str, SecondPass]:
        """All second passes, once nothing is left to do."""
        while self.engine.step(self.now):
            pass
        return self.answers()


def sound(length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([length, seed]).integers(-9_000, 9_000, length, np.int16)


def test_a_closed_segment_is_heard_again_whole() -> None:
    bench, samples = Bench(), sound(3 * HOP + 77)
    bench.speak("a", samples)
    second = bench.heard()["a"]
    assert (second.generation, second.sequence, second.error) == (0, 3, None)
    assert second.pieces == [expected(samples)] and second.confidences == [50]
    assert second.spans == [Span(len(samples) // 2, len(samples))]
    assert bench.numbers.second_passes == 1 and bench.numbers.slots_in_use == 0


def test_a_streams_hotwords_are_those_of_its_second_pass() -> None:
    bench, samples = Bench(), sound(2 * HOP)
    names = HotwordList.of([("张三", 20.0)])
    for sequence, hotwords in enumerate((names, None)):
        closed = Span(0, 2 * HOP) if sequence else None
        step = Step("a", 0, sequence, WINDOW, bool(sequence), hotwords=hotwords, keep_from=0, closed=closed)
        bench.engine.receive(DOOR, step, bench.now, samples[sequence * HOP : (sequence + 1) * HOP].tobytes())
        bench.engine.step(bench.now)
    assert bench.heard()["a"].pieces == [expected(samples, names)]


def test_the_span_is_that_of_the_chunk_and_times_are_the_streams() -> None:
    bench, samples = Bench(), sound(3 * HOP)
    bench.chunk("a", samples[:HOP]), bench.engine.step(0)
    bench.chunk("a", samples[HOP : 2 * HOP], 1, closed=Span(100, HOP + 300), last=False, keep_from=100)
    bench.engine.step(0)
    bench.chunk("a", samples[2 * HOP :], 2, closed=Span(HOP - 50, 3 * HOP), keep_from=HOP - 50)
    seconds = []
    while bench.engine.step(0):
        seconds += [message.second_pass for _, message in bench.engine.take_messages()
                    if isinstance(message, HeardAgain)]
    assert [each.pieces for each in seconds] == [[expected(samples[100 : HOP + 300])], [expected(samples[HOP - 50 :])]]
    assert seconds[0].spans[0].begin == 100 + (HOP + 200) // 2 and seconds[1].spans[0].end == 3 * HOP


@pytest.mark.parametrize("closed", [Span(0, HOP + 1), Span(-1, 5), Span(7, 7), Span(9, 5), Span(0, 10)])
def test_what_was_not_kept_is_told(closed: Span) -> None:
    bench = Bench()
    bench.chunk("a", sound(HOP), keep_from=1, closed=closed)
    assert "was not kept" in bench.heard()["a"].error
    assert bench.numbers.second_passes_refused == 1


def test_who_wants_no_second_pass_keeps_nothing() -> None:
    bench = Bench()
    bench.chunk("a", sound(HOP), keep_from=None)
    bench.engine.step(0)
    assert bench.engine._tenants[DOOR, "a"].stream.audio is None
    bench.chunk("a", sound(HOP), 1, closed=Span(0, HOP))
    assert "was not kept" in bench.heard()["a"].error


def test_without_a_second_model_that_is_the_answer() -> None:
    bench = Bench(has_second=False)
    bench.speak("a", sound(HOP))
    assert "no second model" in bench.heard()["a"].error


def test_a_chunk_that_fails_has_no_second_pass() -> None:
    bench = Bench()
    bench.chunk("a", np.full(HOP, VENOM, np.int16), closed=Span(0, HOP))
    assert bench.heard() == {} and bench.numbers.second_passes_waiting == 0


def test_a_live_chunk_goes_before_the_next_piece() -> None:
    bench = Bench(ScriptedSecond(pieces=3), sessions="ab")
    bench.speak("a", sound(HOP))
    bench.engine.step(0)
    bench.chunk("b", sound(HOP), keep_from=None)
    begun = bench.engine.begin(0)
    assert isinstance(begun, Begun) and [stream.tenant[1] for stream in begun.streams] == ["b"]
    assert isinstance(bench.engine.begin(0), Turn)


def test_like_lengths_are_heard_together_and_unlike_ones_apart() -> None:
    bench = Bench(sessions="abcde")
    lengths = dict(zip("abcde", (3_000, 3_800, 1_000, 3_600, 1_100), strict=True))
    for session, length in lengths.items():
        bench.chunk(session, sound(length), closed=Span(0, length))
    heard = bench.heard()
    assert {session: second.pieces for session, second in heard.items()} == {
        session: [expected(sound(length))] for session, length in lengths.items()}
    assert bench.second.batches == [[1_000, 1_100], [3_000, 3_600, 3_800]]


def test_a_short_segment_overtakes_a_long_one_that_is_under_way() -> None:
    bench = Bench(ScriptedSecond(pieces=5), sessions="ab")
    bench.speak("a", sound(20 * HOP))
    bench.engine.step(bench.now)
    bench.speak("b", sound(HOP))
    heard: list[str] = []
    while bench.engine.step(bench.now):
        heard += bench.answers()
    assert heard == ["b", "a"]


def test_an_old_long_segment_is_not_overtaken_for_ever() -> None:
    bench = Bench(ScriptedSecond(pieces=2), sessions="ab")
    bench.speak("a", sound(20 * HOP))
    generation = 0
    while "a" not in bench.answers():
        bench.speak("b", sound(HOP), generation)
        bench.now += 0.3
        generation += 1
        bench.engine.step(bench.now)
        assert generation < 10


def test_a_segment_at_fault_is_found_in_halves_and_its_neighbours_are_heard() -> None:
    bench = Bench(sessions="abcde")
    for session in "abcde":
        bench.chunk(session, np.zeros(HOP, np.int16))
    while bench.engine.step(bench.now):
        pass
    for session in "abcde":
        samples = sound(HOP, ord(session))
        samples[0], samples[1] = 1, {"b": POISON, "d": VENOM}.get(session, 0)
        bench.chunk(session, samples, 1, closed=Span(HOP + 1, 2 * HOP))
    heard = bench.heard()
    assert heard["b"].error == "the second pass failed on this segment" and heard["d"].error == "venom"
    for session in "ace":
        samples = sound(HOP, ord(session))
        samples[1] = 0
        assert heard[session].pieces == [expected(samples[1:])]
    assert bench.numbers.second_passes_failed == 2 and bench.numbers.second_passes == 3


def test_a_device_short_of_memory_serves_halves_and_is_asked_for_no_more_again() -> None:
    bench = Bench(sessions="abcdefgh")
    bench.second.memory = 3
    for generation in range(2):
        for session in "abcdefgh":
            bench.chunk(session, sound(HOP), generation=generation, closed=Span(0, HOP))
        assert all(second.error is None for second in bench.heard().values())
    sizes = [len(batch) for batch in bench.second.batches]
    assert sizes[0] == 8 and sizes.count(8) == 1 and max(sizes[sizes.index(2):]) <= 4


def test_what_comes_too_late_is_not_begun_and_not_gone_on_with() -> None:
    bench = Bench(ScriptedSecond(pieces=9), sessions="ab")
    bench.speak("a", sound(HOP))
    bench.engine.step(bench.now)
    bench.now += PATIENCE_S + 0.1
    bench.speak("b", sound(HOP))
    heard = bench.heard()
    assert "too late" in heard["a"].error and heard["b"].error is None
    assert bench.numbers.second_passes_late == 1


@pytest.mark.parametrize("leave", [
    lambda engine: engine.receive(DOOR, Release("a"), 0.0), lambda engine: engine.forget_door(DOOR),
], ids=["released", "door lost"])
@pytest.mark.parametrize("under_way", [False, True])
def test_nobody_is_told_who_is_gone(leave: Callable[[Engine], None], under_way: bool) -> None:
    bench = Bench(ScriptedSecond(pieces=3))
    bench.speak("a", sound(HOP))
    if under_way:
        bench.engine.step(bench.now)
    bench.engine.take_messages()
    leave(bench.engine)
    assert bench.heard() == {} and bench.numbers.second_passes_waiting == 0


def test_an_aborted_stream_does_not_take_the_finals_before_it_along() -> None:
    bench = Bench()
    bench.speak("a", sound(HOP))
    bench.chunk("a", sound(HOP), generation=1)
    bench.engine.receive(DOOR, Abort("a", 1), 0.0)
    assert bench.heard()["a"].generation == 0


def test_what_waits_is_bounded() -> None:
    bench = Bench(sessions="a")
    most = FINALS_PER_SESSION * bench.engine.capacity
    for generation in range(most + 1):
        bench.chunk("a", sound(10), generation=generation, closed=Span(0, 10))
        batch = bench.engine._scheduler.schedule()
        assert batch is not None
        bench.engine._complete(batch.streams[0], bench.engine._runner.run(WINDOW, [batch.streams[0].row()])[0])
    (answer,) = bench.answers().values()
    assert "too many" in answer.error and bench.numbers.second_passes_refused == 1


def test_each_segment_is_heard_with_its_own_hotwords() -> None:
    answers: dict[str, SecondPass] = {}
    finals = Finals(ScriptedSecond(), Statistics(), lambda key, second: answers.__setitem__(key[1], second),
                    patience_s=3.0, most_waiting=9, most_samples=1 << 20)
    lists = {"a": None, "b": HotwordList.of([("张三", 20)]), "c": HotwordList.of([("李四", 20)])}
    for session, hotwords in lists.items():
        stream = Stream((DOOR, session), 0, WINDOW)
        finals.keep(stream, sound(500), 0)
        finals.add(stream, 0, Span(0, 500), 0.0, hotwords)
    while (work := finals.begin(0.0)) is not None:
        finals.finish(work, work.run())
    assert {name: each.pieces for name, each in answers.items()} == {
        name: [expected(sound(500), hotwords)] for name, hotwords in lists.items()}


@settings(max_examples=60, deadline=None)
@given(jobs=st.lists(st.tuples(st.integers(1, 60_000), st.floats(0, 0.5), st.booleans()), min_size=1, max_size=25),
       running=st.integers(1, 3), most_samples=st.sampled_from([1_000, 50_000, 1 << 20]), seed=st.randoms())
def test_every_segment_is_answered_once_whatever_runs_at_once(jobs, running: int, most_samples: int, seed) -> None:
    answers: list[tuple[str, SecondPass]] = []
    statistics = Statistics()
    second = ScriptedSecond(pieces=2)
    finals = Finals(second, statistics, lambda key, each: answers.append((key[1], each)), patience_s=1.0,
                    most_waiting=20, most_samples=most_samples, most_running=running)
    now, under_way = 0.0, []
    wanted = set()
    for number, (length, pause, leaves) in enumerate(jobs):
        now += pause
        stream = Stream((DOOR, str(number)), 0, WINDOW)
        finals.keep(stream, sound(length), 0)
        finals.add(stream, 0, Span(0, length), now)
        wanted.add(str(number))
        if leaves and str(number) not in {name for name, _ in answers}:
            finals.forget((DOOR, str(number)))
            wanted.discard(str(number))
        work = finals.begin(now)
        under_way += [work] if work is not None else []
        assert len(under_way) <= running and len(finals._passes) <= MOST_PASSES
        if under_way and seed.random() < 0.6:
            done = under_way.pop(seed.randrange(len(under_way)))
            finals.finish(done, done.run(clock=Clock(0.1)))
    while under_way or finals.ready:
        work = finals.begin(now) if finals.ready else None
        under_way += [work] if work is not None else []
        if under_way:
            done = under_way.pop()
            finals.finish(done, done.run(clock=Clock(0.1)))
    names = [name for name, _ in answers]
    assert len(names) == len(set(names)) and set(names) == wanted and finals.waiting == 0
    for name, each in answers:
        assert each.error is not None or each.pieces == [expected(sound(jobs[int(name)][0]))]
    for batch in second.batches:
        assert len(batch) == 1 or len(batch) * max(batch) <= most_samples
        assert len(batch) * max(batch) * (1 - PADDING) <= sum(batch)


def test_with_threads_a_chunk_goes_before_the_next_piece_of_any_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Semaphore(0)
    second = ScriptedSecond(pieces=2, work=lambda: gate.acquire(timeout=20))
    monkeypatch.setattr(finals_module, "TURN_S", 0.0)
    engine = Engine(ScriptedRunner(8, [WINDOW], workers=2),
                    second=SecondOptions(runner=second, patience_s=PATIENCE_S))
    workers = Workers(engine, engine._runner)
    said: list[EngineMessage] = []

    def until(count: int) -> None:
        while len(said) < count:
            workers.turn(0.0)
            workers.wait(0.2)
            workers.turn(0.0)
            said.extend(message for _, message in engine.take_messages())

    try:
        for session in "abc":
            engine.receive(DOOR, Admit(session), 0.0)
        engine.take_messages()
        for session, length in (("a", 500), ("b", 3_000)):
            step = Step(session, 0, 0, WINDOW, True, keep_from=0, closed=Span(0, length))
            engine.receive(DOOR, step, 0.0, sound(length).tobytes())
        until(2)
        workers.turn(0.0)
        assert not workers.ready, "both workers are at passes"
        engine.receive(DOOR, Step("c", 0, 0, WINDOW, True), 0.0, sound(HOP).tobytes())
        # A piece ends, and no other begins before the chunk's step.
        gate.release()
        until(3)
        assert isinstance(said[-1], Recognised) and said[-1].session == "c"
        for _ in range(9):
            gate.release()
        until(5)
        assert {message.session for message in said[3:]} == {"a", "b"}
    finally:
        gate.release(9)
        workers.close()
