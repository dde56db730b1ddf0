"""int8: the product is exact on any processor, a row is its own, and the text is nearly that of fp32."""

from __future__ import annotations

import dataclasses
import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from benchmarks.demo_cer import edit_distance
from stream_server.audio.windows import Window
from stream_server.engine.runner import Row
from stream_server.errors import ModelError, SettingsError
from stream_server.models.checkpoint import Model, load, random_model
from stream_server.models.devices import choose_dtype
from stream_server.models.quantised import FOUR_MOST, INPUT_MOST, WEIGHT_MOST, Int8Linear, round_weights
from stream_server.models.streaming import ParaformerRunner
from tests.models.conftest import SMALL
from tests.support.int8 import NEEDS_INT8
from tests.support.reference import pieces_of

SAMPLES = Path(__file__).parents[2] / "samples"
WINDOW = Window(4, 4)


pytestmark = NEEDS_INT8


@pytest.fixture(scope="module")
def int8() -> Model:
    return random_model(SMALL, torch.int8)


def inputs(rows: int, columns: int, least: int, seed: int) -> Tensor:
    """Whole numbers of which every row has the least and the most that it can: so its scale is one."""
    values = torch.from_numpy(np.random.default_rng(seed).integers(0, INPUT_MOST + 1, (rows, columns))).float()
    values[:, 0], values[:, -1] = INPUT_MOST, 0
    return values + least


def weights(rows: int, columns: int, seed: int, most: int = FOUR_MOST // 4) -> Tensor:
    """Whole numbers up to `most` on either side, and one as large as there can be: so each row's step is one."""
    values = torch.from_numpy(np.random.default_rng(seed).integers(-most, most + 1, (rows, columns))).float()
    values[:, 0], values[:, [1, 4, 5]] = WEIGHT_MOST, 0
    return values


def linear(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None)
    layer.weight.data = weight
    if bias is not None:
        layer.bias.data = bias
    return layer


def exact(x: Tensor, weight: Tensor) -> Tensor:
    return (x.to(torch.int64) @ weight.to(torch.int64).T).float()


@torch.inference_mode()
@pytest.mark.parametrize("rows", [0, 1, 2, 3, 4, 5, 6, 7, 15, 33, 240])
@pytest.mark.parametrize(("inner", "outer"), [(512, 1536), (560, 1536), (2048, 512), (512, 8404), (32, 7)])
def test_the_sum_of_products_is_exact(rows: int, inner: int, outer: int):
    x, weight = inputs(rows, inner, 0, 1), weights(outer, inner, 2)
    assert torch.equal(Int8Linear(linear(weight))(x), exact(x, weight))


@torch.inference_mode()
@pytest.mark.parametrize("least", [-INPUT_MOST, -100, 3])
def test_rows_begin_anywhere(least: int):
    x, weight = inputs(15, 512, least, 1), weights(48, 512, 2)
    assert torch.equal(Int8Linear(linear(weight))(x), exact(x, weight))


@torch.inference_mode()
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("four", [[32, 32, 32, 32], [127, 1, 0, 0], [0, 0, 64, 64], [127, -127, 1, -1]])
def test_the_largest_products_are_not_cut(four: list[int], sign: int):
    x = torch.full((15, 2048), float(INPUT_MOST))
    x[:, -1] = 0
    weight = weights(512, 2048, 1, 0)
    weight[:, 8:] = float(sign) * torch.tensor(four)[[0, 1, 0, 1, 2, 3, 2, 3]].repeat(255)
    assert torch.equal(Int8Linear(linear(weight))(x), exact(x, weight))


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), shape=st.sampled_from([1.0, 0.3, 4.0]), large=st.integers(0, 40))
def test_no_four_weights_sum_up_to_more_than_fits(seed: int, shape: float, large: int):
    random_ = torch.Generator().manual_seed(seed)
    weight = torch.randn(16, 64, generator=random_).abs().pow(shape) * torch.randn(16, 64, generator=random_).sign()
    weight[:, :large] = weight.abs().max()
    rounded, steps = round_weights(weight)
    assert rounded.abs().max() <= WEIGHT_MOST
    assert ((rounded * steps[:, None] - weight).abs() <= steps[:, None] * 0.501).all()
    # Of the inputs of four weights the worst are all of one sign's at their most, and the others at none.
    for sign in (1, -1):
        worst = INPUT_MOST * (sign * rounded).clamp(min=0).view(16, 8, 2, 2, 2).sum((2, 4))
        assert worst.max() < 2 ** 15


@torch.inference_mode()
def test_it_is_near_the_layer_it_stands_for():
    torch.manual_seed(0)
    layer = nn.Linear(512, 1536)
    # Rows of very different sizes: each has a scale of its own.
    x = torch.randn(3, 15, 512) * torch.logspace(-6, 6, 45).view(3, 15, 1)
    wanted, found = layer(x) - layer.bias, Int8Linear(layer)(x) - layer.bias
    assert found.shape == wanted.shape
    seen = wanted.norm(dim=-1) > 1e-3  # below, the bias has swallowed the product in either
    assert ((found - wanted).norm(dim=-1) / wanted.norm(dim=-1))[seen].max() < 0.015
    assert torch.equal(Int8Linear(layer)(torch.zeros(2, 512)), layer.bias.expand(2, -1))


@torch.inference_mode()
@settings(max_examples=30, deadline=None)
@given(rows=st.integers(2, 40), place=st.integers(0, 39), seed=st.integers(0, 99),
       other=st.sampled_from([0.0, 1e-38, 1e6, 1e30, float("inf"), float("nan")]))
def test_a_row_is_the_same_to_the_bit_beside_any_neighbours(rows: int, place: int, seed: int, other: float):
    random_ = torch.Generator().manual_seed(seed)
    layer = Int8Linear(linear(torch.randn(96, 560, generator=random_), torch.randn(96, generator=random_)))
    x = torch.randn(rows, 560, generator=random_)
    place %= rows
    wild = torch.full_like(x, other)
    wild[place] = x[place]
    assert torch.equal(layer(wild)[place], layer(x)[place])
    assert torch.equal(layer(wild)[place], layer(x[place : place + 1])[0])
    others = torch.cat((wild[:place], wild[place + 1 :]))
    assert layer(others).isfinite().all() == torch.tensor(other).isfinite(), "what is no number is not hidden"


def sound(hops: int, seed: int) -> list[np.ndarray]:
    """Something with a beat, hop by hop, so that made-up weights have something to fire on."""
    random_ = np.random.default_rng(seed)
    beat = np.repeat(random_.uniform(0, 6000, hops * WINDOW.hop), 960)
    return np.split((random_.normal(0, 1, len(beat)) * beat).clip(-32768, 32767).astype(np.int16), hops)


NEIGHBOURS = {
    "goes on": sound(1, 1)[0], "joins": sound(1, 2)[0], "loud": np.full(WINDOW.hop_samples, -32768, np.int16),
    "silent": np.zeros(WINDOW.hop_samples, np.int16), "overflown": sound(1, 3)[0],
}
HOPS, MINE = 6, 1

Beside = tuple[list[tuple], list[Tensor]]


def beside(model: Model, steps: list[list[str]]) -> Beside:
    """What the stream in slot 1 of 4 says beside such neighbours, step by step, and the state that it leaves."""
    runner = ParaformerRunner(model, [WINDOW], 4)
    said = []
    for number, (neighbours, samples) in enumerate(zip(steps, sound(HOPS, 0), strict=True)):
        rows = []
        for slot, kind in enumerate([neighbours[0], "mine", *neighbours[1:]]):
            if kind == "overflown":
                runner.caches.encoder.frames[:, slot] = torch.nan
            heard = samples if slot == MINE else NEIGHBOURS[kind]
            last = slot == MINE and number == HOPS - 1
            rows.append(Row(slot, heard, first=number == 0 or kind == "joins", last=last))
        result = runner.run(WINDOW, rows)[MINE]
        said.append((result.pieces, result.frames, result.error))
    caches = runner.caches
    state = (caches.encoder.frames, caches.decoder.frames, caches.history)
    return said, [rows[:, MINE].clone() for rows in state] + [caches.carry[MINE].clone(), caches.carried[MINE].clone()]


@pytest.fixture(scope="module")
def among_its_like(int8: Model) -> Beside:
    return beside(int8, [["goes on"] * 3] * HOPS)


@settings(max_examples=6, deadline=None)
@given(steps=st.lists(st.lists(st.sampled_from(list(NEIGHBOURS)), min_size=3, max_size=3),
                      min_size=HOPS, max_size=HOPS))
def test_a_stream_is_the_same_to_the_bit_beside_any_neighbours(
    int8: Model, among_its_like: Beside, steps: list[list[str]]
):
    (said, state), (wanted, wanted_state) = beside(int8, steps), among_its_like
    assert said == wanted
    assert sum(len(pieces) for pieces, _, _ in said) > 2
    assert all(map(torch.equal, state, wanted_state))


def text(model: Model, name: str) -> str:
    runner, window = ParaformerRunner(model, [Window(10, 5)], 1), Window(10, 5)
    with wave.open(str(SAMPLES / name)) as recording:
        samples = np.frombuffer(recording.readframes(recording.getnframes()), "<i2")
    pieces = pieces_of(samples, window)
    rows = [Row(0, piece, number == 0, number == len(pieces) - 1) for number, piece in enumerate(pieces)]
    return "".join(token for row in rows for token in runner.run(window, [row])[0].pieces)


def test_the_demonstration_model_says_the_same():
    exact_model, int8_model = load("demo"), load("demo", torch.int8)
    names = sorted(path.name for path in SAMPLES.glob("*.wav"))
    wanted, found = ([text(model, name) for name in names] for model in (exact_model, int8_model))
    characters = sum(map(len, wanted))
    assert characters > 80
    # The recordings are of the kind that the model knows: where it is sure, a coarser grid changes next to nothing.
    assert sum(map(edit_distance, wanted, found)) <= 0.03 * characters


def test_nothing_of_encoder_and_decoder_is_kept_twice(int8: Model, small: Model):
    assert int8.dtype == torch.float32
    kept = dict(int8.network.named_parameters())
    exact_layers = dict(small.network.named_parameters())
    assert {name.split(".")[0] for name in kept} == {"encoder", "predictor"}
    assert all(torch.equal(parameter, exact_layers[name]) for name, parameter in kept.items())
    assert sum(map(torch.numel, kept.values())) < 0.05 * sum(map(torch.numel, exact_layers.values()))


@pytest.mark.parametrize(("sizes", "words"), [
    ({"size": 72, "encoder_heads": 1, "decoder_heads": 1}, "size of a multiple of 16"),
    ({"size": 80, "encoder_heads": 4, "decoder_heads": 2}, "encoder: 4 heads of 20"),
    ({"encoder_hidden": 4096}, "4096 inputs"),
])
def test_sizes_that_the_kernels_do_not_compute_are_refused(sizes: dict[str, int], words: str):
    with pytest.raises(ModelError, match=words):
        random_model(dataclasses.replace(SMALL, encoder_layers=1, decoder_layers=1, **sizes), torch.int8)


def test_int8_is_for_a_cpu():
    assert choose_dtype("int8", "cpu") == torch.int8
    with pytest.raises(SettingsError, match=r"int8.*cuda:0.*fp32"):
        choose_dtype("int8", "cuda:0")
