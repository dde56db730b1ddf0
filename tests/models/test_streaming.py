"""The runner: slots, neighbours, faults of single rows, and cost that does not grow."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_server.audio.windows import Window
from stream_server.engine.runner import Row, RowResult
from stream_server.errors import EngineError
from stream_server.models.checkpoint import Model, random_model
from stream_server.models.streaming import ParaformerRunner
from tests.models.conftest import SMALL

DEFAULT, QUICK = Window(10, 5), Window(2, 2, 1, 1)


def sound(hops: float, window: Window = DEFAULT, seed: int = 0) -> np.ndarray:
    """Something with a beat, so that made-up weights have something to fire on."""
    random_ = np.random.default_rng(seed)
    length = int(hops * window.hop_samples)
    beat = np.repeat(random_.uniform(0, 6000, length // 1600 + 1), 1600)[:length]
    return (random_.normal(0, 1, length) * beat).clip(-32768, 32767).astype(np.int16)


def alone(runner: ParaformerRunner, samples: np.ndarray, window: Window = DEFAULT, slot: int = 0) -> list[RowResult]:
    hop = window.hop_samples
    count = -(-len(samples) // hop)
    return [runner.run(window, [Row(slot, samples[i * hop : (i + 1) * hop], i == 0, i == count - 1)])[0]
            for i in range(count)]


def pieces(results: list[RowResult]) -> list[tuple[list[str], list[int]]]:
    assert all(result.error is None for result in results), results
    return [(result.pieces, result.frames) for result in results]


@pytest.fixture
def runner(small: Model) -> ParaformerRunner:
    return ParaformerRunner(small, [DEFAULT, QUICK], 4)


def test_a_slot_used_before_is_as_a_fresh_one(small: Model, runner: ParaformerRunner):
    alone(runner, sound(6.3, seed=1), slot=2)
    alone(runner, sound(5, QUICK, seed=2)[: 3 * QUICK.hop_samples + 5], QUICK, slot=2)
    alone(runner, sound(3, seed=3)[: 2 * DEFAULT.hop_samples], slot=2)  # left without an end
    fresh = ParaformerRunner(small, [DEFAULT], 1)
    samples = sound(4.5, seed=4)
    said = pieces(alone(runner, samples, slot=2))
    assert said == pieces(alone(fresh, samples))
    assert sum(len(tokens) for tokens, _ in said) > 4


# What each of three streams does in a round: 0 waits, 1 goes on.
@settings(max_examples=15, deadline=None)
@given(rounds=st.lists(st.tuples(*[st.booleans()] * 3).filter(any), min_size=12, max_size=12), data=st.data())
def test_a_row_does_not_depend_on_its_neighbours(small: Model, rounds: list[tuple[bool, ...]], data: st.DataObject):
    lengths = [data.draw(st.integers(1, 5 * QUICK.hop_samples)) for _ in range(3)]
    streams = [sound(6, QUICK, seed)[:length] for seed, length in enumerate(lengths)]
    expected = [pieces(alone(ParaformerRunner(small, [QUICK], 1), samples, QUICK)) for samples in streams]
    runner = ParaformerRunner(small, [QUICK], 3)
    heard: list[list] = [[], [], []]
    hop = QUICK.hop_samples
    for going in rounds:
        rows = [
            Row(n, streams[n][len(heard[n]) * hop :][:hop], not heard[n], len(heard[n]) == len(expected[n]) - 1)
            for n in range(3) if going[n] and len(heard[n]) < len(expected[n])
        ]
        for row, said in zip(rows, pieces(runner.run(QUICK, rows)), strict=True):
            heard[row.slot].append(said)
    for said, wanted in zip(heard, expected, strict=True):
        assert said == wanted[: len(said)]


def test_a_row_that_overflows_harms_no_neighbour(small: Model, runner: ParaformerRunner):
    samples = sound(5)
    expected = pieces(alone(ParaformerRunner(small, [DEFAULT], 1), samples))
    hop = DEFAULT.hop_samples
    heard = []
    for number in range(5):
        piece = samples[number * hop : (number + 1) * hop]
        if number == 2:
            runner.caches.encoder.frames[:, 1] = torch.nan
        rows = [Row(slot, piece, number == 0, number == 4) for slot in (0, 1, 2)]
        results = runner.run(DEFAULT, rows)
        heard.append(results[0])
        assert pieces([results[0]]) == pieces([results[2]])
        assert (results[1].error is not None) == (number >= 2)
    assert pieces(heard) == expected
    assert pieces(alone(runner, samples, slot=1)) == expected, "its next tenant finds a clean slot"


@pytest.mark.parametrize(("row", "word"), [
    (Row(4, sound(1), first=True), "slot 4"),
    (Row(3, sound(1)), "no stream"),
    (Row(3, sound(0.5), first=True), "4800 samples"),
    (Row(3, sound(1.1), first=True, last=True), "10560 samples"),
    (Row(3, sound(1).astype(np.float32), first=True), "float32"),
])
def test_a_row_that_cannot_be_served_says_why(small: Model, runner: ParaformerRunner, row: Row, word: str):
    good = Row(0, sound(1), first=True)
    refused, served = runner.run(DEFAULT, [row, good])
    assert word in refused.error
    assert pieces([served]) == pieces(ParaformerRunner(small, [DEFAULT], 1).run(DEFAULT, [good]))


def test_a_stream_keeps_its_window(runner: ParaformerRunner):
    runner.run(DEFAULT, [Row(0, sound(1), first=True)])
    (result,) = runner.run(QUICK, [Row(0, sound(1, QUICK))])
    assert "no stream with window" in result.error


def test_an_unknown_window_is_refused(runner: ParaformerRunner):
    with pytest.raises(EngineError, match="not served"):
        runner.run(Window(3, 3), [Row(0, sound(1, Window(3, 3)), first=True)])


def test_no_rows_no_results(runner: ParaformerRunner):
    assert runner.run(DEFAULT, []) == []


def test_warming_up_leaves_no_trace(small: Model, runner: ParaformerRunner):
    runner.warm_up()
    samples = sound(3)
    assert pieces(alone(runner, samples)) == pieces(alone(ParaformerRunner(small, [DEFAULT], 1), samples))


def test_a_stream_of_3000_hops_costs_no_more_in_its_last_than_in_its_first():
    # What could grow is state, not weights: a narrow model shows it as well and sooner.
    narrow = dataclasses.replace(SMALL, size=64, encoder_hidden=64, decoder_hidden=64, vocabulary=100)
    runner = ParaformerRunner(random_model(narrow), [QUICK], 1)
    samples = sound(8, QUICK)
    hops = np.split(samples, 8)
    size, took = runner.caches.bytes_per_slot, []
    for number in range(3000):
        start = time.perf_counter()
        runner.run(QUICK, [Row(0, hops[number % 8], first=number == 0)])
        took.append(time.perf_counter() - start)
    # The quickest of many: what else the machine does must not fail this.
    assert min(took[-500:]) < 1.5 * min(took[:500])
    assert runner.caches.bytes_per_slot == size
    assert int(runner.caches.position[0]) == 6000


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_numbers_say_nearly_the_same(small: Model, dtype: torch.dtype):
    samples = sound(4, seed=5)
    exact = pieces(alone(ParaformerRunner(small, [DEFAULT], 1), samples))
    narrow = pieces(alone(ParaformerRunner(random_model(SMALL, dtype), [DEFAULT], 1), samples))
    fired, expected = (sum(len(tokens) for tokens, _ in said) for said in (narrow, exact))
    assert abs(fired - expected) <= 1
