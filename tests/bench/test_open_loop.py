"""Streams in real time, in a time of our own: a step takes what it is said to take, to the microsecond."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from stream_server.audio.windows import Window
from stream_server.bench.open_loop import PATIENCE_S, hold
from stream_server.bench.speech import Speech
from stream_server.engine.runner import Row, RowResult
from stream_server.errors import EngineError
from stream_server.units import SAMPLE_RATE
from tests.support.scripted_runner import ScriptedRunner, expected_pieces

WINDOW = Window(10, 5)
HOP_S = WINDOW.hop_samples / SAMPLE_RATE


class Timed(ScriptedRunner):
    """Its own clock; a step takes `step_s` and for each row `row_s`. Keeps what it heard, by slot and by stream."""

    def __init__(self, step_s: float, row_s: float = 0.0, slots: int = 16) -> None:
        super().__init__(slots, [WINDOW])
        self.now = 100.0
        self.heard: list[list[np.ndarray]] = []
        self.said: list[list[str]] = []
        self._step_s, self._row_s = step_s, row_s
        self._open: dict[int, int] = {}

    def run(self, window: Window, rows: Sequence[Row]) -> list[RowResult]:
        self.now += self._step_s + self._row_s * len(rows)
        results = super().run(window, rows)
        for row, result in zip(rows, results, strict=True):
            if row.first:
                self._open[row.slot] = len(self.heard)
                self.heard.append([])
                self.said.append([])
            self.heard[self._open[row.slot]].append(row.samples)
            self.said[self._open[row.slot]] += result.pieces
        return results

    def sleep(self, seconds: float) -> None:
        assert seconds < HOP_S + PATIENCE_S
        self.now += seconds

    def hold(self, streams: int, seconds: float):
        return hold(self, Speech(), streams, seconds, clock=lambda: self.now, sleep=self.sleep)


def test_every_chunk_is_answered_and_every_segment_heard_whole() -> None:
    runner = Timed(step_s=0.05)
    held = runner.hold(streams=8, seconds=60)
    assert held.unanswered == 0
    assert held.segments > 8 * 60 / 12 - 8
    assert runner.said == [expected_pieces(chunks) for chunks in runner.heard]
    # Each speaks all the time: what was heard is what was spoken, but for the hop that each was in at the end.
    seconds = sum(len(chunk) for chunks in runner.heard for chunk in chunks) / SAMPLE_RATE
    assert 8 * 60 - 2 * 8 * HOP_S < seconds <= 8 * 60
    assert len(held.delays) == sum(map(len, runner.heard)) == held.rows


def test_alone_a_chunk_waits_for_its_own_step_and_no_more() -> None:
    held = Timed(step_s=0.05, row_s=0.01).hold(streams=1, seconds=30)
    assert held.delay_ms(50) == pytest.approx(60)
    assert held.delay_ms(100) == pytest.approx(60)


def test_a_delay_counts_the_wait_behind_others() -> None:
    held = Timed(step_s=0.2).hold(streams=8, seconds=30)
    assert 200 < held.delay_ms(50) < 400
    # A segment's short last chunk may wait for the step of the one before, too.
    assert 350 < held.delay_ms(95) <= held.delay_ms(100) < 600
    assert held.within(600) and not held.within(350)


def test_what_is_too_much_is_seen_however_long_it_lasts() -> None:
    runner = Timed(step_s=0.0, row_s=0.1)
    held = runner.hold(streams=12, seconds=30)
    # Twice what can be done: half is done in 30 s, some more in the patience afterwards, and the rest counts with its
    # age.
    assert held.unanswered > 12 * 30 / HOP_S / 2 - PATIENCE_S / 0.1 - 12
    assert held.delay_ms(100) > 1000 * 15
    assert not held.within(1e9)


def test_a_failed_chunk_ends_the_measurement() -> None:
    runner = Timed(step_s=0.01)
    runner.broken = True
    with pytest.raises(EngineError, match="a chunk failed"):
        runner.hold(streams=2, seconds=5)
