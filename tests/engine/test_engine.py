from __future__ import annotations

import numpy as np
import pytest

from stream_server.audio.windows import DEFAULT_WINDOWS, Window
from stream_server.engine.engine import HOPELESS_BATCHES, Engine
from stream_server.engine.runner import Row, RowResult
from stream_server.engine.statistics import Statistics
from stream_server.engine.stream import Lane
from stream_server.engine.wire import Abort, Admit, Admitted, EngineMessage, Recognised, Refused, Release, Step
from stream_server.errors import EngineError
from stream_server.speech.hotwords import EMPTY, MOST_IN_FORCE, Hotword, HotwordList, from_native
from stream_server.speech.recognition import Hypothesis
from tests.support.scripted_runner import POISON, VENOM, ScriptedRunner, expected_pieces

SHORT, LONG = Window(4, 4), Window(10, 5)
DOOR = b"door"


def hop(value: int = 1, window: Window = SHORT) -> np.ndarray:
    return np.full(window.hop_samples, value, np.int16)


class Bench:
    """An engine on a bench: what a door would say, said by hand; time stands still unless moved."""

    def __init__(self, slots: int = 4, **options: object) -> None:
        self.runner = ScriptedRunner(slots)
        self.engine = Engine(self.runner, **options)
        self.now = 100.0

    @property
    def numbers(self) -> Statistics:
        return self.engine.statistics

    def admit(self, *sessions: str, door: bytes = DOOR) -> list[EngineMessage]:
        for session in sessions:
            self.engine.receive(door, Admit(session), self.now)
        return [message for _, message in self.engine.take_messages()]

    def chunk(self, session: str, samples: np.ndarray | bytes, generation: int = 0, sequence: int = 0, *,
              window: Window = SHORT, last: bool = False, lane: Lane = Lane.LIVE, door: bytes = DOOR,
              hotwords: HotwordList | None = None) -> None:
        audio = samples if isinstance(samples, bytes) else samples.tobytes()
        self.engine.receive(door, Step(session, generation, sequence, window, last, lane, hotwords), self.now, audio)

    def step(self) -> dict[str, Hypothesis]:
        self.engine.step(self.now)
        return self.answers()

    def answers(self) -> dict[str, Hypothesis]:
        messages = [message for _, message in self.engine.take_messages()]
        assert all(isinstance(message, Recognised) for message in messages)
        assert len({message.session for message in messages}) == len(messages)
        return {message.session: message.hypothesis for message in messages}


def test_a_stream_from_its_first_chunk_to_its_last() -> None:
    bench = Bench()
    assert bench.admit("a") == [Admitted("a")]
    chunks = [hop(1), hop(2), hop(3)[:7]]
    pieces: list[str] = []
    for sequence, samples in enumerate(chunks):
        last = sequence == 2
        bench.chunk("a", samples, sequence=sequence, last=last)
        assert bench.numbers.slots_in_use == 1
        answer = bench.step()["a"]
        assert (answer.generation, answer.sequence, answer.last, answer.error) == (0, sequence, last, None)
        assert answer.frames == [sequence * SHORT.hop]
        pieces += answer.pieces
    assert pieces == expected_pieces(chunks)
    assert bench.numbers.slots_in_use == 0
    assert bench.step() == {}


def test_all_that_is_ready_steps_together() -> None:
    bench = Bench(slots=4)
    bench.admit("a", "b", "c")
    for number, session in enumerate("abc"):
        bench.chunk(session, hop(number))
    assert {session: answer.pieces for session, answer in bench.step().items()} == {
        session: expected_pieces([hop(number)]) for number, session in enumerate("abc")}
    assert [len(rows) for _, rows in bench.runner.batches] == [3]


def test_a_batch_has_one_window_one_lane_and_at_most_max_batch_rows() -> None:
    bench = Bench(slots=8, max_batch=2)
    bench.admit(*"abcde")
    bench.chunk("a", hop(1), lane=Lane.FILE)
    bench.chunk("b", hop(1, LONG), window=LONG)
    bench.now += 0.01
    for session in "cde":
        bench.chunk(session, hop(1))
    served = [sorted(bench.step()) for _ in range(4)]
    assert served == [["c", "d"], ["e"], ["b"], ["a"]]


def test_sessions_beyond_the_slots_are_refused_before_any_work() -> None:
    bench = Bench(slots=2)
    assert bench.admit("a", "b") == [Admitted("a"), Admitted("b")]
    (refused,) = bench.admit("c")
    assert isinstance(refused, Refused)
    assert refused.session == "c" and refused.retry_after_s > 0 and "places 2" in refused.message
    assert (bench.numbers.refused, bench.numbers.sessions) == (1, 2)
    assert bench.admit("a") == [Admitted("a")]
    bench.engine.receive(DOOR, Release("a"), bench.now)
    assert bench.admit("c") == [Admitted("c")]


def test_sessions_of_one_name_at_two_doors_are_two() -> None:
    bench = Bench()
    for door in (b"x", b"y"):
        bench.admit("a", door=door)
        bench.chunk("a", hop(door[0]), door=door)
    bench.engine.step(bench.now)
    answers = {door: message.hypothesis.pieces for door, message in bench.engine.take_messages()}
    assert answers == {door: expected_pieces([hop(door[0])]) for door in (b"x", b"y")}


def test_where_overbooked_a_stream_waits_for_a_slot() -> None:
    bench = Bench(slots=1, capacity=3)
    bench.admit("a", "b", "c")
    for session in "abc":
        bench.chunk(session, hop(), last=session != "a")
    assert list(bench.step()) == ["a"]
    assert bench.step() == {} and bench.numbers.chunks_waiting == 2
    bench.engine.receive(DOOR, Release("b"), bench.now)
    bench.chunk("a", hop(), sequence=1, last=True)
    assert list(bench.step()) == ["a"]
    assert list(bench.step()) == ["c"]


@pytest.mark.parametrize("leave", [Release("a"), Abort("a", 0), None], ids=["release", "abort", "door"])
@pytest.mark.parametrize("pending", [True, False])
def test_whoever_leaves_gives_back_the_slot_and_hears_no_more(leave: Release | Abort | None, pending: bool) -> None:
    bench = Bench()
    bench.admit("a")
    bench.chunk("a", hop())
    if not pending:
        bench.step()
    if leave is None:
        bench.engine.forget_door(DOOR)
    else:
        bench.engine.receive(DOOR, leave, bench.now)
    assert bench.numbers.slots_in_use == 0 and not bench.engine.busy
    assert bench.step() == {}


def test_a_new_stream_ends_the_one_before() -> None:
    bench = Bench(slots=1)
    bench.admit("a")
    bench.chunk("a", hop(1))
    bench.chunk("a", hop(2), generation=1)
    assert bench.step()["a"].pieces == expected_pieces([hop(2)])
    assert bench.numbers.slots_in_use == 1


def test_abort_of_another_generation_does_nothing() -> None:
    bench = Bench()
    bench.admit("a")
    bench.chunk("a", hop(), generation=3)
    bench.engine.receive(DOOR, Abort("a", 2), bench.now)
    bench.engine.receive(DOOR, Abort("nobody", 3), bench.now)
    assert bench.step()["a"].error is None


WRONG = {
    "unknown session": ("b", hop(), {}, "not admitted"),
    "short": ("a", hop()[:-1], {}, "where a hop is 3840 samples"),
    "long": ("a", hop(1, LONG), {"last": True}, "where a hop is 3840 samples"),
    "odd bytes": ("a", b"\0" * 7, {"last": True}, "7 bytes"),
    "window": ("a", hop(), {"window": Window(4, 3)}, "not served"),
    "begins late": ("a", hop(), {"sequence": 1}, "begins with chunk 1"),
}


@pytest.mark.parametrize(("session", "samples", "fields", "problem"), WRONG.values(), ids=WRONG)
def test_a_wrong_first_chunk_is_answered_with_an_error(session: str, samples: np.ndarray, fields: dict,
                                                       problem: str) -> None:
    bench = Bench()
    bench.admit("a")
    bench.chunk(session, samples, **fields)
    answer = bench.answers()[session]
    assert problem in answer.error and answer.sequence == fields.get("sequence", 0)
    assert (bench.numbers.rejected_chunks, bench.numbers.slots_in_use, bench.engine.busy) == (1, 0, False)


@pytest.mark.parametrize(("sequence", "fields", "problem"), [
    (0, {}, "came where 1 was due"),
    (2, {}, "came where 1 was due"),
    (1, {"window": LONG}, "keeps its window"),
    (1, {"lane": Lane.FILE}, "its lane"),
])
def test_a_wrong_later_chunk_ends_its_stream(sequence: int, fields: dict, problem: str) -> None:
    bench = Bench()
    bench.admit("a")
    bench.chunk("a", hop())
    bench.step()
    bench.chunk("a", hop(1, fields.get("window", SHORT)), sequence=sequence, **fields)
    assert problem in bench.answers()["a"].error
    assert bench.numbers.slots_in_use == 0
    bench.chunk("a", hop(), sequence=1)
    assert "is over" in bench.answers()["a"].error
    bench.chunk("a", hop(), generation=1)
    assert bench.step()["a"].error is None


def test_a_chunk_before_the_result_of_the_one_before_ends_the_stream() -> None:
    bench = Bench()
    bench.admit("a")
    bench.chunk("a", hop())
    bench.chunk("a", hop(), sequence=1)
    assert "before the result" in bench.answers()["a"].error
    assert bench.step() == {}


def test_a_row_that_fails_leaves_its_neighbours_alone() -> None:
    bench = Bench()
    bench.admit("a", "b")
    bench.chunk("a", hop(VENOM))
    bench.chunk("b", hop(5))
    answers = bench.step()
    assert answers["a"].error == "venom"
    assert answers["b"].pieces == expected_pieces([hop(5)])
    assert (bench.numbers.row_errors, bench.numbers.slots_in_use) == (1, 1)


def test_a_batch_that_raises_fails_the_row_at_fault_and_no_other() -> None:
    bench = Bench()
    bench.admit("old", "new", "bad", "apart")
    bench.chunk("old", hop(1))
    bench.chunk("apart", hop(1, LONG), window=LONG)
    bench.step(), bench.step()
    bench.chunk("old", hop(2), sequence=1)
    bench.chunk("new", hop(3))
    bench.chunk("bad", hop(POISON))
    answers = bench.step()
    assert answers["bad"].error
    assert answers["old"].pieces == expected_pieces([hop(1), hop(2)])[1:]
    assert answers["new"].pieces == expected_pieces([hop(3)])
    assert (bench.numbers.failed_batches, bench.numbers.row_errors, bench.numbers.slots_in_use) == (1, 1, 3)
    bench.chunk("new", hop(4), sequence=1)
    assert bench.step()["new"].pieces == expected_pieces([hop(3), hop(4)])[1:]
    bench.chunk("apart", hop(2, LONG), sequence=1, window=LONG)
    assert bench.step()["apart"].pieces == expected_pieces([hop(1, LONG), hop(2, LONG)])[1:]


@pytest.mark.parametrize("memory", [1, 2, 3, 7])
def test_a_device_short_of_memory_serves_all_rows_in_pieces(memory: int) -> None:
    bench = Bench(slots=8)
    names = [f"s{number}" for number in range(8)]
    bench.admit(*names)
    for number, name in enumerate(names):
        bench.chunk(name, hop(number))
    bench.runner.memory = memory
    answers = bench.step()
    assert all(answers[name].pieces == expected_pieces([hop(number)]) for number, name in enumerate(names))


def test_a_device_that_fails_on_everything_is_given_up() -> None:
    bench = Bench()
    bench.admit("a")
    bench.runner.broken = True
    for generation in range(HOPELESS_BATCHES - 1):
        bench.chunk("a", hop(), generation=generation)
        assert bench.step()["a"].error
    bench.chunk("a", hop(), generation=99)
    with pytest.raises(EngineError, match="taken for broken"):
        bench.step()


def test_a_runner_that_miscounts_its_results_fails_the_batch() -> None:
    class Miscounting(ScriptedRunner):
        def run(self, window: Window, rows: list[Row]) -> list[RowResult]:
            return super().run(window, rows)[1:]

    engine = Engine(Miscounting())
    engine.receive(DOOR, Admit("a"), 0.0)
    engine.receive(DOOR, Step("a", 0, 0, SHORT), 0.0, hop().tobytes())
    engine.step(0.0)
    assert engine.take_messages()[-1][1].hypothesis.error


def test_what_a_dead_door_would_have_been_told_is_not_sent() -> None:
    bench = Bench()
    bench.engine.receive(DOOR, Admit("a"), bench.now)
    bench.engine.forget_door(DOOR)
    assert bench.engine.take_messages() == []


def test_the_hooks_see_each_step_and_each_wait() -> None:
    steps, waits, ticks = [], [], iter([10.0, 10.25])
    statistics = Statistics(observe_step=lambda *step: steps.append(step), observe_wait=waits.append)
    bench = Bench(statistics=statistics, clock=lambda: next(ticks))
    bench.admit("a", "b")
    bench.chunk("a", hop())
    bench.now += 0.5
    bench.chunk("b", hop())
    bench.step()
    assert steps == [(SHORT, 2, 0.25)] and waits == [0.5, 0.0]
    numbers = bench.numbers.numbers()
    assert (numbers["steps"], numbers["rows"], numbers["streams"], numbers["slots"]) == (1, 2, 2, 4)
    assert numbers["step_seconds"] == 0.25 and numbers["wait_seconds"] == 0.5
    assert all(isinstance(value, (int, float)) for value in numbers.values())


def test_the_default_windows_are_served() -> None:
    bench = Bench()
    bench.admit("a")
    for generation, window in enumerate(DEFAULT_WINDOWS):
        bench.chunk("a", hop(1, window), generation, window=window, last=True)
        assert bench.step()["a"].error is None


def test_a_list_holds_from_its_chunk_until_the_next_and_ends_with_its_stream() -> None:
    bench, rows = Bench(), []
    bench.admit("a", "b")
    lists = {0: from_native(["你好", "C++"]), 2: from_native(["好"]), 4: EMPTY}
    for sequence in range(6):
        for session in "ab":
            bench.chunk(session, hop(), sequence=sequence, hotwords=lists.get(sequence))
        assert bench.step()["a"].unspelt == {0: ["C++"], 2: [], 4: []}.get(sequence)
        rows.append(bench.runner.batches[-1][1])
    words = [row.graph and row.graph.words for row, _ in rows]
    assert words == [("你好",), ("你好",), ("好",), ("好",), None, None]
    assert all(one.graph is other.graph for one, other in rows), "equal lists share a graph"
    assert [row.progress and row.progress.graph.words for row, _ in rows] == [None, *words[:-1]]
    bench.chunk("a", hop(), generation=1)
    bench.step()
    (row,) = bench.runner.batches[-1][1]
    assert row.graph is None and row.progress is None


@pytest.mark.parametrize("words", [
    [Hotword(str(number), 20.0) for number in range(MOST_IN_FORCE + 1)], [Hotword("词", float("nan"))],
    [Hotword("词", 101.0)], [Hotword("", 20.0)], [Hotword("词" * 65, 20.0)],
])
def test_a_list_beyond_the_limits_is_refused(words: list[Hotword]) -> None:
    bench = Bench()
    bench.admit("a")
    bench.chunk("a", hop(), hotwords=HotwordList(tuple(words)))
    assert "beyond the limits" in bench.answers()["a"].error
