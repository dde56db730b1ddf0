"""What is concluded from measured steps. Time is what the runner under test says it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Barrier

import pytest

from stream_server.audio.windows import Window
from stream_server.engine.costs import LOAD, Costs, measure, measure_second
from stream_server.engine.pieces import Pieces
from stream_server.engine.runner import Heard, Row, RowResult, Segment
from stream_server.errors import EngineError
from tests.support.scripted_runner import ScriptedRunner

WINDOW = Window(10, 5)


class TimedRunner(ScriptedRunner):
    """Takes as long as `seconds` says of so many rows, on a clock of its own."""

    def __init__(self, slots: int, seconds: Callable[[int], float]) -> None:
        super().__init__(slots)
        self.now = 0.0
        self._seconds = seconds

    def clock(self) -> float:
        return self.now

    def run(self, window: Window, rows: Sequence[Row]) -> list[RowResult]:
        self.now += self._seconds(len(rows))
        return super().run(window, rows)


def measured(slots: int, seconds: Callable[[int], float]) -> Costs:
    runner = TimedRunner(slots, seconds)
    return measure(runner, WINDOW, runner.clock)


def test_a_batch_grows_while_it_pays() -> None:
    costs = measured(64, lambda rows: 0.020 + 0.010 * rows)
    # A row costs 30, 20, 15, 12.5, 11.25 and then 10.6 ms, which is no longer worth it.
    assert costs.best_batch == 16
    assert sorted(costs.seconds) == [1, 2, 4, 8, 16, 32]
    assert costs.row_seconds == pytest.approx(0.01125)
    assert costs.streams == int(LOAD * 0.6 / 0.01125)


def test_a_device_that_gains_nothing_by_batches_steps_alone() -> None:
    costs = measured(64, lambda rows: 0.1 * rows)
    assert (costs.best_batch, costs.streams) == (1, int(LOAD * 6))


def test_the_largest_batch_is_the_last_tried_whatever_its_size() -> None:
    assert measured(12, lambda rows: 0.1).best_batch == 12
    assert measured(1, lambda rows: 0.1).best_batch == 1


def test_a_device_too_slow_for_one_stream_still_has_one() -> None:
    assert measured(4, lambda rows: 10.0 * rows).streams == 1


@pytest.mark.parametrize("odd", [9.0, 0.001], ids=["slow", "quick"])
def test_one_step_of_several_that_took_another_time_does_not_count(odd: float) -> None:
    # A step before each that is timed goes uncounted. The quickest says what a step alone takes, not one among others.
    times = iter([odd, odd, 0.1, 0.1, 0.1, 0.1] * 20)
    assert measured(1, lambda rows: next(times)).seconds == pytest.approx({1: 0.1})


def test_a_failure_is_not_taken_for_speed() -> None:
    class Failing(ScriptedRunner):
        def run(self, window: Window, rows: Sequence[Row]) -> list[RowResult]:
            return [RowResult(error="overflow") for _ in rows]

    with pytest.raises(EngineError, match="1 rows failed.*overflow"):
        measure(Failing(), WINDOW)


def test_all_workers_are_busy_while_a_step_is_timed() -> None:
    class Together(ScriptedRunner):
        """A step ends only when another is under way too."""

        meeting = Barrier(2, timeout=20)

        def run(self, window: Window, rows: Sequence[Row]) -> list[RowResult]:
            self.meeting.wait()
            return super().run(window, rows)

    runner = Together(slots=4, workers=2)
    runner.max_batch = 2
    costs = measure(runner, WINDOW)
    assert sorted(costs.seconds) == [1, 2] and costs.workers == 2
    assert {row.slot for _, rows in runner.batches for row in rows if len(rows) == 2} == {0, 1, 2, 3}


def test_streams_are_those_of_all_workers() -> None:
    assert Costs(WINDOW, {1: 0.1}, workers=3).streams == int(LOAD * 3 * 6)


def test_with_few_slots_fewer_workers_are_timed_together() -> None:
    runner = ScriptedRunner(slots=3, workers=2)
    runner.max_batch = 3
    assert set(measure(runner, WINDOW).seconds) <= {1, 2, 3}


class TimedPasses:
    """Passes that take as long as `seconds` says of so many segments, on a clock of their own, in so many pieces."""

    def __init__(self, seconds: Callable[[int], float], pieces: int = 400, most: int = 64) -> None:
        self.now = 0.0
        self.max_batch = 64
        self.heard: list[int] = []
        self._seconds, self._pieces, self._most = seconds, pieces, most

    def hear(self, segments: Sequence[Segment]) -> Pieces[list[Heard]]:
        self.heard.append(len(segments))
        if len(segments) > self._most:
            raise MemoryError("no room for so many")
        for _ in range(self._pieces - 1):
            yield
        self.now += self._seconds(len(segments))
        return [Heard()] * len(segments)


@pytest.mark.parametrize(("seconds", "largest", "each"), [
    (lambda count: 1.0 * count, 2, 1.0),
    (lambda count: 0.02 + 0.001 * count, 64, 0.02 / 64 + 0.001),
    (lambda count: max(0.02, 0.005 * count), 8, 0.005),
])
def test_second_passes_cost_what_they_cost_in_company(seconds: Callable[[int], float], largest: int,
                                                      each: float) -> None:
    passes = TimedPasses(seconds)
    costs = measure_second(passes, lambda: passes.now)
    assert (costs.seconds, costs.seconds_each) == pytest.approx((seconds(1), each))
    assert costs.pieces == 400 and max(passes.heard) == largest


def test_no_more_company_is_timed_than_the_engine_gives_a_second_pass() -> None:
    passes = TimedPasses(lambda count: 0.1 + 0.001 * count, pieces=10)
    costs = measure_second(passes, lambda: passes.now)
    # Ten pieces of 50 ms at most hold four segments, not five.
    assert max(passes.heard) == 4 and costs.most_samples // (8 * 16000) == 4
    assert costs.seconds_each == pytest.approx(0.026) and costs.together > 1


def test_a_device_that_has_no_room_for_company_has_second_passes_all_the_same() -> None:
    passes = TimedPasses(lambda count: 0.02 + 0.001 * count, most=4)
    assert measure_second(passes, lambda: passes.now).seconds_each == pytest.approx(0.006)
    with pytest.raises(EngineError, match="no room for so many"):
        measure_second(TimedPasses(lambda count: 0.1, most=0))
