"""The network: FunASR's numbers, whatever the batch and however the frames are cut."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_server.errors import ModelError
from stream_server.speech.fsmn.model import Model
from stream_server.speech.fsmn.network import Network, Sizes
from tests.support import recordings
from tests.support.vad_reference import FunasrVad, funasr_network

SIZES = Sizes(input=12, input_affine=9, blocks=3, linear=14, projection=8, memory=5, output_affine=7, output=11)
TOLERANCE = 1e-5


def theirs(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return funasr_network(input_dim=12, input_affine_dim=9, fsmn_layers=3, linear_dim=14, proj_dim=8, lorder=5,
                          rorder=0, lstride=1, rstride=0, output_affine_dim=7, output_dim=11)


def tensors(network: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in network.state_dict().items()}


NETWORK = Network(SIZES, tensors(theirs()), "test")
FEATURES = np.random.default_rng(0).normal(0, 3, (4, 40, 12)).astype(np.float32)


def run(features: np.ndarray, cuts: list[int] = ()) -> np.ndarray:
    """One row's probabilities."""
    state, parts = NETWORK.new_states(1), []
    for piece in np.split(features, sorted(cuts)):
        probabilities, state = NETWORK.forward(piece[None], np.array([len(piece)]), state)
        parts.append(probabilities[0])
    return np.concatenate(parts)


def test_a_stream_gives_funasrs_numbers():
    network, cache = theirs(), {}
    with torch.inference_mode():
        pieces = [network(torch.from_numpy(piece)[None], cache)[0] for piece in np.split(FEATURES[0], [1, 4, 30])]
    np.testing.assert_allclose(run(FEATURES[0]), torch.cat(pieces).numpy(), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("clip", ["vad_example_70s.wav", "sample_6s.wav", "asr_example_zh.wav",
                                  "asr_example_en_zh.wav"])
def test_the_real_network_gives_funasrs_numbers(model: Model, funasr_vad: FunasrVad, clip: str):
    features = funasr_vad.features(recordings.samples("clips", clip))
    found, _ = model.network.forward(features[None], np.array([len(features)]), model.network.new_states(1))
    np.testing.assert_allclose(found[0], funasr_vad.probabilities(features), atol=1e-4, rtol=0)


@settings(max_examples=50, deadline=None)
@given(cuts=st.lists(st.integers(0, 40), max_size=10))
def test_cuts_change_nothing(cuts: list[int]):
    np.testing.assert_allclose(run(FEATURES[0], cuts), run(FEATURES[0]), atol=TOLERANCE, rtol=0)


@settings(max_examples=50, deadline=None)
@given(steps=st.lists(st.lists(st.integers(0, 7), min_size=4, max_size=4), min_size=1, max_size=5))
def test_a_row_gives_what_it_gives_alone_whatever_its_neighbours(steps: list[list[int]]):
    state, at = NETWORK.new_states(4), [0] * 4
    parts: list[list[np.ndarray]] = [[] for _ in range(4)]
    for lengths in steps:
        batch = np.full((4, max(lengths), 12), 1e6, np.float32)
        for row, length in enumerate(lengths):
            batch[row, :length] = FEATURES[row, at[row]:at[row] + length]
            at[row] += length
        probabilities, state = NETWORK.forward(batch, np.array(lengths), state)
        for row, length in enumerate(lengths):
            parts[row].append(probabilities[row, :length])
    for row in range(4):
        np.testing.assert_allclose(np.concatenate(parts[row]), run(FEATURES[row, :at[row]]), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize(("change", "told"), [
    (lambda t: t.pop("out_linear2.linear.bias"), "tensor out_linear2.linear.bias missing"),
    (lambda t: t.update({"fsmn.7.linear.linear.weight": np.zeros((8, 14))}),
     "tensor fsmn.7.linear.linear.weight unknown"),
    (lambda t: t.update({"in_linear1.linear.bias": np.zeros(3)}), "tensor in_linear1.linear.bias is [3]; needed [9]"),
    (lambda t: t.update({"in_linear1.linear.bias": np.zeros(9, np.int64)}),
     "tensor in_linear1.linear.bias holds other than finite fractions"),
    (lambda t: t.update({"in_linear1.linear.bias": np.full(9, np.nan)}),
     "tensor in_linear1.linear.bias holds other than finite fractions"),
])
def test_weights_that_do_not_fit_are_named(change, told: str):
    changed = tensors(theirs())
    change(changed)
    with pytest.raises(ModelError, match=re.escape(told)):
        Network(SIZES, changed, "model.pt")


def test_weights_may_be_saved_with_their_detector_and_in_another_precision():
    renamed = {f"encoder.{name}": tensor.astype(np.float64) for name, tensor in tensors(theirs()).items()}
    found, _ = Network(SIZES, renamed, "test").forward(FEATURES, np.full(4, 40), NETWORK.new_states(4))
    assert found.dtype == np.float32 and np.allclose(found[0], run(FEATURES[0]), atol=TOLERANCE)


def test_the_published_sizes_have_the_published_number_of_weights(model: Model):
    assert dataclasses.astuple(model.network.sizes) == (400, 140, 4, 250, 128, 20, 140, 248)
    assert sum(np.prod(shape) for shape in model.network.sizes.shapes().values()) == 428_738
