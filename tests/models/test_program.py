"""Steps of fixed shapes, as a GPU runs them, and steps that fail: the same tokens as ever."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
import torch

from stream_server.audio.windows import Window
from stream_server.engine.runner import Row, RowResult
from stream_server.models import program
from stream_server.models.checkpoint import Model, random_model
from stream_server.models.paraformer import Heard, Paraformer
from stream_server.models.streaming import ParaformerRunner
from tests.models.conftest import SMALL
from tests.models.test_streaming import DEFAULT, QUICK, alone, pieces, sound

NARROW = dataclasses.replace(SMALL, size=64, encoder_hidden=96, decoder_hidden=96, encoder_layers=2, vocabulary=300)
"""Small enough for thousands of steps."""

SLOTS = 9

WITHOUT = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here: graphs were not captured")
CUDA = pytest.param("cuda", marks=[pytest.mark.gpu, WITHOUT])


def narrow(dtype: torch.dtype = torch.float32, device: str = "cpu") -> Model:
    """So small a model says next to nothing unless it is told to speak up."""
    model = random_model(NARROW, dtype, device)
    model.network.predictor.cif_output.bias.data.fill_(-0.5)
    return model


class Crowd:
    """Streams that join, pause, end, break off and reuse slots at random; each knows what it says alone."""

    def __init__(self, model: Model, windows: Sequence[Window], seed: int) -> None:
        self.random = random.Random(seed)
        self.windows = windows
        self.lives: dict[int, tuple[Window, np.ndarray, list, int]] = {}
        runner = ParaformerRunner(model, windows, 1)
        self.says = cache(lambda hops, cut, seed, window: self._life(runner, hops, cut, seed, window))
        self.free = list(range(SLOTS))
        self.checked = 0

    def rows(self, window: Window) -> list[Row]:
        while self.free and self.random.random() < 0.5:
            self._join(self.free.pop(self.random.randrange(len(self.free))))
        going = [slot for slot, life in self.lives.items() if life[0] == window and self.random.random() < 0.7]
        return [self._row(slot) for slot in going]

    def _join(self, slot: int) -> None:
        window = self.random.choice(self.windows)
        # Ends within a hop, at its end, and with nothing left for the last chunk.
        cut = self.random.choice((0, 1, window.hop_samples // 3, window.hop_samples - 1))
        self.lives[slot] = self.says(self.random.randint(1, 6), cut, self.random.randrange(3), window)

    @staticmethod
    def _life(runner: ParaformerRunner, hops: int, cut: int, seed: int, window: Window) -> tuple:
        samples = sound(hops, window, seed)[: -cut or None]
        return window, samples, pieces(alone(runner, samples, window)), 0

    def _row(self, slot: int) -> Row:
        window, samples, expected, done = self.lives[slot]
        hop = samples[done * window.hop_samples : (done + 1) * window.hop_samples]
        return Row(slot, hop, first=done == 0, last=done == len(expected) - 1)

    def hear(self, rows: Sequence[Row], results: Sequence[RowResult]) -> None:
        for row, said in zip(rows, pieces(list(results)), strict=True):
            window, samples, expected, done = self.lives[row.slot]
            assert said == expected[done]
            self.checked += len(said[0])
            self.lives[row.slot] = (window, samples, expected, done + 1)
            if row.last or self.random.random() < 0.02:
                del self.lives[row.slot]
                self.free.append(row.slot)


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize("fixed_shapes", [False, True])
def test_streams_that_join_and_leave_over_thousands_of_steps_say_what_they_say_alone(
        fixed_shapes: bool, device: str):
    windows = (DEFAULT, QUICK)
    crowd = Crowd(narrow(), windows, seed=5)
    runner = ParaformerRunner(narrow(device=device), windows, SLOTS, fixed_shapes=fixed_shapes)
    runner.warm_up()
    sizes = set()
    for step in range(1200):
        window = windows[step % 2]
        rows = crowd.rows(window)
        if rows:
            crowd.hear(rows, runner.run(window, rows))
            sizes.add(len(rows))
    assert crowd.checked > 2000 and sizes >= {1, 2, 3, 4, 5}


@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_rows_with_more_tokens_than_a_program_has_room_for(device: str, monkeypatch: pytest.MonkeyPatch):
    asked: list[int] = []
    say_rest = program.Program.say_rest

    def counted(self: program.Program, rows: Sequence[int], tokens: int) -> np.ndarray:
        asked.append(len(rows))
        return say_rest(self, rows, tokens)

    monkeypatch.setattr(program, "TOKENS_PER_FRAME", 0.2)
    monkeypatch.setattr(program.Program, "say_rest", counted)
    crowd = Crowd(narrow(), (DEFAULT,), seed=6)
    runner = ParaformerRunner(narrow(device=device), (DEFAULT,), SLOTS, fixed_shapes=True)
    runner.warm_up()
    for _ in range(200):
        rows = crowd.rows(DEFAULT)
        if rows:
            crowd.hear(rows, runner.run(DEFAULT, rows))
    assert len(asked) > 20 and max(asked) > 1 and crowd.checked > 500


class Failing:
    """The network, which raises at the end of the half that it is told, as a device short of memory would."""

    def __init__(self, network: Paraformer) -> None:
        self._network = network
        self.fails_in: str | None = None

    def hear(self, *arguments: object) -> Heard:
        return self._unless_failing("hear", self._network.hear(*arguments))

    def say(self, *arguments: object) -> torch.Tensor:
        return self._unless_failing("say", self._network.say(*arguments))

    def _unless_failing(self, half: str, result: Heard | torch.Tensor) -> Heard | torch.Tensor:
        if half == self.fails_in:
            raise RuntimeError("out of memory")
        return result


@pytest.mark.parametrize("half", ["hear", "say"])
@pytest.mark.parametrize("fixed_shapes", [False, True])
def test_a_step_that_raises_has_changed_nothing(small: Model, fixed_shapes: bool, half: str):
    samples = sound(6, seed=1)
    expected = pieces(alone(ParaformerRunner(small, [DEFAULT], 1), samples))
    runner = ParaformerRunner(small, [DEFAULT], 3, fixed_shapes=fixed_shapes)
    runner.network = network = Failing(small.network)
    hop, heard, failures = DEFAULT.hop_samples, [], 0
    for number, (tokens, _) in enumerate(expected):
        rows = [Row(slot, samples[number * hop : (number + 1) * hop], number == 0, number == 5) for slot in (0, 2)]
        if half == "hear" or tokens:  # where nothing fires there is nothing to say
            network.fails_in, failures = half, failures + 1
            with pytest.raises(RuntimeError):
                runner.run(DEFAULT, rows)
            network.fails_in = None
        heard.append(pieces(runner.run(DEFAULT, rows)))
    assert heard == [[said, said] for said in expected] and failures > 3


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("fixed_shapes", [False, True])
def test_in_16_bit_a_row_is_bitwise_independent_of_its_neighbours(dtype: torch.dtype, fixed_shapes: bool):
    model = narrow(dtype)
    samples = sound(5, seed=3)
    hop, kept = DEFAULT.hop_samples, []
    for neighbours in ("quiet", "loud", "not a number"):
        runner = ParaformerRunner(model, [DEFAULT], 4, fixed_shapes=fixed_shapes)
        noise = np.full(hop, 32767 if neighbours == "loud" else 0, np.int16)
        for number in range(5):
            if neighbours == "not a number" and number == 2:
                runner.caches.encoder.frames[:, 1:4] = torch.nan
                runner.caches.decoder.frames[:, 1:4] = torch.nan
            rows = [Row(0, samples[number * hop : (number + 1) * hop], number == 0),
                    *(Row(slot, noise, number == 0) for slot in (1, 2, 3))]
            runner.run(DEFAULT, rows)
        state = runner.caches
        kept.append([state.encoder.frames[:, 0], state.decoder.frames[:, 0], state.history[:, 0], state.carry[0],
                     state.carried[0]])
    for other in kept[1:]:
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(kept[0], other, strict=True))


def test_programs_are_the_powers_of_two_and_the_largest_batch():
    runner = ParaformerRunner(narrow(), [DEFAULT], SLOTS, fixed_shapes=True)
    runner.warm_up()
    assert sorted(size for _, size in runner._programs) == [1, 2, 4, 8, 9]
