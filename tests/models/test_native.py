"""The compiled layers compute what the layers in PyTorch do, were their matrices rounded alike."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from stream_server.audio.windows import Window
from stream_server.engine.runner import Row, RowResult
from stream_server.errors import SettingsError
from stream_server.models.caches import Caches
from stream_server.models.checkpoint import Model, random_model
from stream_server.models.native import library
from stream_server.models.paraformer import Heard, Paraformer
from stream_server.models.quantised import INPUT_MOST, Int8Linear, Int8Norm, check_int8, round_weights
from stream_server.models.streaming import ParaformerRunner
from tests.models.conftest import SMALL
from tests.models.test_streaming import sound
from tests.support.int8 import NEEDS_INT8

pytestmark = NEEDS_INT8

WINDOWS = [Window(10, 5), Window(4, 4), Window(4, 4, 1, 0), Window(4, 0), Window(2, 2, 0, 0)]


class Rounded(nn.Module):
    """A linear layer whose weights and inputs are rounded as int8 rounds them, summed in fp64."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight, steps = round_weights(linear.weight.detach())
        self.weight = (weight.double() * steps[:, None].double()).T
        self.bias = 0.0 if linear.bias is None else linear.bias.double()

    def forward(self, x: Tensor) -> Tensor:
        least = x.amin(-1, keepdim=True)
        step = (x.amax(-1, keepdim=True) - least).clamp(min=1e-30) / INPUT_MOST
        return ((((x - least) / step).round().double() * step.double() + least) @ self.weight + self.bias).float()


def round_matrices(network: nn.Module) -> None:
    for name, child in network.named_children():
        if isinstance(child, nn.Linear):
            setattr(network, name, Rounded(child))
        else:
            round_matrices(child)


@pytest.fixture(scope="module")
def rounded() -> Model:
    model = random_model(SMALL)
    round_matrices(model.network.encoder)
    round_matrices(model.network.decoder)
    return model


@pytest.fixture(scope="module")
def int8() -> Model:
    return random_model(SMALL, torch.int8)


# What each of three streams does in a round: it waits, goes on, or ends with so much of a hop.
ROUND = st.tuples(*[st.one_of(st.none(), st.just(1.0), st.just(1.0), st.floats(0, 1))] * 3).filter(
    lambda going: any(share is not None for share in going))


class Keeper:
    """Stands in for the network and keeps what the last step heard, and the scores of what it said."""

    def __init__(self, network: Paraformer) -> None:
        self._network = network
        self.heard: Heard | None = None
        self.scores: Tensor | None = None

    def hear(self, *arguments: object) -> Heard:
        self.heard, self.scores = self._network.hear(*arguments), None
        return self.heard

    def say(self, *arguments: object) -> Tensor:
        self.scores = self._network.say(*arguments)
        return self.scores


# A smaller counterexample says no more than the first, and takes minutes to find.
@settings(max_examples=12, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(window=st.sampled_from(WINDOWS), rounds=st.lists(ROUND, min_size=8, max_size=8))
def test_streams_hear_and_say_the_same(rounded: Model, int8: Model, window: Window, rounds: list):
    fired_alike: list[bool] = []
    ours, theirs = ParaformerRunner(int8, [window], 3), ParaformerRunner(rounded, [window], 3)
    ours.network, theirs.network = Keeper(int8.network), Keeper(rounded.network)
    streams, first = [sound(10, window, seed) for seed in range(3)], [True] * 3
    for number, going in enumerate(rounds):
        rows = []
        for slot, share in enumerate(going):
            if share is None:
                continue
            heard = streams[slot][number * window.hop_samples :][: int(share * window.hop_samples)]
            rows.append(Row(slot, heard, first[slot], last=share < 1))
            first[slot] = share < 1
        assert all(result.error is None for runner in (ours, theirs) for result in runner.run(window, rows))
        alike = compare(ours.network, theirs.network)
        fired_alike += alike
        for row, agreed in zip(rows, alike, strict=True):
            if not row.last:
                compare_states(ours.caches, theirs.caches, row.slot, agreed)
        give(ours.caches, theirs.caches)
    assert sum(fired_alike) >= 0.8 * len(fired_alike)


def compare(ours: Keeper, theirs: Keeper) -> list[bool]:
    """For each row, whether as many tokens fired."""
    near(ours.heard.encoded, theirs.heard.encoded, "encoded")
    near(ours.heard.alphas, theirs.heard.alphas, "alphas")
    ours_fired, theirs_fired = ours.heard.tokens.count, theirs.heard.tokens.count
    # A sum of weights that is next to a whole number may fall on either side of it.
    assert (ours_fired - theirs_fired).abs().max() <= 1
    alike = ours_fired == theirs_fired
    if ours.scores is not None and theirs.scores is not None:
        tokens = min(ours.scores.shape[1], theirs.scores.shape[1])
        meant = (torch.arange(tokens) < ours_fired[:, None]) & alike[:, None]
        near(ours.scores[:, :tokens][meant], theirs.scores[:, :tokens][meant], "scores")
    return alike.tolist()


def compare_states(ours: Caches, theirs: Caches, slot: int, fired_alike: bool) -> None:
    near(ours.encoder.frames[:, slot], theirs.encoder.frames[:, slot], "encoder")
    for name in ("look_ahead", "position", "heard"):
        near(getattr(ours, name)[slot], getattr(theirs, name)[slot], name)
    if fired_alike:
        near(ours.decoder.frames[:, slot], theirs.decoder.frames[:, slot], "decoder")
        near(ours.history[:, slot], theirs.history[:, slot], "history")
        # The carry is what is left of a sum; its mean frame, where it is next to nothing, is anything.
        assert abs(ours.carry[slot] - theirs.carry[slot]) < 5e-2


def give(ours: Caches, theirs: Caches) -> None:
    """What either rounded elsewhere is not to grow from step to step."""
    for name in ("position", "look_ahead", "carry", "carried", "heard", "history"):
        getattr(theirs, name).copy_(getattr(ours, name))
    theirs.encoder.frames.copy_(ours.encoder.frames)
    theirs.decoder.frames.copy_(ours.decoder.frames)


def near(found: Tensor, wanted: Tensor, name: str, most: float = 5e-2) -> None:
    # A sum that differs by a hair may put an input on the next of its 256 steps, and what follows from it elsewhere.
    assert found.shape == wanted.shape
    apart, size = float((found - wanted).double().norm()), float(wanted.double().norm())
    assert apart <= most * size + 1e-6, f"{name}: {apart} apart, of {size}"


@torch.inference_mode()
@pytest.mark.parametrize(("inputs", "outputs"), [(560, 1536), (512, 512), (512, 2048), (2048, 512), (512, 8404)])
def test_a_matrix_is_rounded_as_said(inputs: int, outputs: int):
    """What PyTorch makes of numbers rounded alike, to a hair: rounding itself is ten times as much and more."""
    torch.manual_seed(inputs)
    linear, norm = nn.Linear(inputs, outputs), nn.LayerNorm(inputs, eps=1e-12)
    nn.init.normal_(norm.weight)
    for x in (torch.randn(40, inputs), torch.randn(7, inputs).relu() + 3, 1e4 * torch.randn(1, inputs).exp()):
        ours, wanted = Int8Linear(linear), Rounded(linear)
        near(ours(x), wanted(x), "product", 5e-4)
        near(ours(x, Int8Norm(norm)), wanted(norm(x)), "product of what was normalised", 5e-4)
        assert (wanted(x) - linear(x)).norm() > 2e-3 * linear(x).norm()


@torch.inference_mode()
def test_a_layer_is_rounded_as_said(rounded: Model, int8: Model):
    """One layer of the encoder: what differs by a hair has hardly grown."""
    window = WINDOWS[0]
    heard = []
    for model in (int8, rounded):
        runner = ParaformerRunner(model, [window], 1)
        runner.run(window, [Row(0, sound(1, window, 4), True)])
        heard.append(runner.caches.encoder.frames[:2, 0, : window.hop])
    near(heard[0][0], heard[1][0], "the first layer's keys and values", 5e-4)
    near(heard[0][1], heard[1][1], "the second's", 5e-3)


def test_threads_that_step_at_once_do_not_meet(int8: Model):
    window, steps = WINDOWS[0], 5
    hops = [np.split(sound(steps, window, slot), steps) for slot in range(3)]

    def speak(runner: ParaformerRunner, slot: int) -> list[RowResult]:
        return [runner.run(window, [Row(slot, hop, number == 0)])[0] for number, hop in enumerate(hops[slot])]

    alone, together = ParaformerRunner(int8, [window], 3), ParaformerRunner(int8, [window], 3, workers=3)
    wanted = [speak(alone, slot) for slot in range(3)]
    with ThreadPoolExecutor(3) as threads:
        for _ in range(5):
            assert list(threads.map(lambda slot: speak(together, slot), range(3))) == wanted
    assert sum(len(result.pieces) for said in wanted for result in said) > 8
    assert torch.equal(together.caches.encoder.frames[:, :3], alone.caches.encoder.frames[:, :3])
    assert torch.equal(together.caches.carry[:3], alone.caches.carry[:3])


def test_speech_is_said_at_all(int8: Model):
    runner, window = ParaformerRunner(int8, [WINDOWS[0]], 1), WINDOWS[0]
    pieces = np.split(sound(5, window), 5)
    said = [runner.run(window, [Row(0, piece, number == 0)])[0] for number, piece in enumerate(pieces)]
    assert sum(len(result.pieces) for result in said) > 4


@pytest.fixture
def anew() -> Iterator[None]:
    """The library is looked for in the test, and again after it."""
    library.kernels.cache_clear()
    yield
    library.kernels.cache_clear()


@pytest.mark.usefixtures("anew")
def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(library, "EXTENSION_SUFFIXES", [])
    with pytest.raises(SettingsError, match=r"kernels are not built.*g\+\+.*allowed are auto, fp32"):
        check_int8("cpu")


@pytest.mark.usefixtures("anew")
@pytest.mark.parametrize(("name", "other"), [
    ("_VERSION", 0), ("_SIGNATURES", {"stream_of_another_time": ()}), ("_STRUCTURES", {"Norm": library.Linear}),
])
def test_kernels_of_another_time_are_not_called(monkeypatch: pytest.MonkeyPatch, name: str, other: object):
    monkeypatch.setattr(library, name, {**library._SIGNATURES, **other} if name == "_SIGNATURES" else other)
    with pytest.raises(SettingsError, match="not those of this version"):
        check_int8("cpu")
