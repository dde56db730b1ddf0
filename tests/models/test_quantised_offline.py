"""The second pass in int8: near to fp32, and each row its own."""

from __future__ import annotations

import copy
import dataclasses
import random
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest

import numpy as np
import pytest
import torch

from stream_server.engine.pieces import finished
from stream_server.models.offline import OfflineParaformer, Recognised, segments_of
from stream_server.models.offline_architecture import SEACO_LARGE, OfflineArchitecture
from stream_server.models.offline_checkpoint import random_offline_model
from stream_server.models.quantised import Int8Lstm
from tests.models.conftest import SMALL
from tests.models.test_native import Rounded, round_matrices
from tests.support.int8 import NEEDS_INT8
from tests.support.recordings import sample

pytestmark = NEEDS_INT8

SEACO: OfflineArchitecture = dataclasses.replace(SEACO_LARGE, base=SMALL)


@pytest.fixture(scope="module")
def exact() -> OfflineParaformer:
    return random_offline_model(SEACO).network


@pytest.fixture(scope="module")
def int8(exact: OfflineParaformer) -> OfflineParaformer:
    network = copy.deepcopy(exact)
    network.quantise()
    return network


@pytest.fixture(scope="module")
def segments() -> list[np.ndarray]:
    speech = sample("meeting")
    return [speech[begin : begin + round(16_000 * seconds)]
            for begin, seconds in ((0, 1.9), (9_000, 2.9), (30_000, 0.4), (20_000, 2.1))]


def far(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


@torch.inference_mode()
def test_the_encoder_is_near_and_a_row_is_the_same_to_the_bit_beside_any_neighbours(
        exact: OfflineParaformer, int8: OfflineParaformer, segments: list[np.ndarray]) -> None:
    together, wanted = int8.hear(segments_of(segments)), exact.hear(segments_of(segments))
    assert 0 < far(together.encoded, wanted.encoded) < 0.03
    for row, samples in enumerate(segments):
        alone = int8.hear(segments_of([samples]))
        frames = alone.encoded.shape[1]
        assert torch.equal(together.encoded[row, :frames], alone.encoded[0])
        assert not together.encoded[row, frames:].any()
    assert torch.equal(int8.hear(segments_of(segments[::-1])).encoded[-1], together.encoded[0])


@torch.inference_mode()
def test_long_segments_whose_attention_is_packed_are_near_and_their_own_too(
        exact: OfflineParaformer, int8: OfflineParaformer) -> None:
    speech = sample("meeting")
    segments = [speech[: round(16_000 * seconds)] for seconds in (1.85, 1.95, 6.3, 8.0)]
    together, wanted = int8.hear(segments_of(segments)), exact.hear(segments_of(segments))
    assert 0 < far(together.encoded, wanted.encoded) < 0.03
    for row, samples in enumerate(segments):
        alone = int8.hear(segments_of([samples]))
        frames = alone.encoded.shape[1]
        assert torch.equal(together.encoded[row, :frames], alone.encoded[0])
        # Where a hair puts an input of the LSTM on the next of its 256 steps.
        assert (together.onsets[row, : 3 * frames] - alone.onsets[0]).abs().max() < 2e-3


@pytest.mark.parametrize("heads", [4, 8, 2])
def test_packed_attention_is_attention(heads: int) -> None:
    """Beside layers in PyTorch whose matrices are rounded alike."""
    base = dataclasses.replace(SMALL, encoder_heads=heads, encoder_layers=2)
    exact = random_offline_model(OfflineArchitecture(base, None, None)).network
    int8 = copy.deepcopy(exact)
    int8.quantise()
    round_matrices(exact.encoder)
    for frames in (31, 32, 33, 47, 100):
        features = torch.randn(2, frames, SMALL.features, generator=torch.Generator().manual_seed(frames))
        inside = torch.arange(frames) < torch.tensor([[frames], [frames - 1]])
        with torch.inference_mode():
            found, wanted = (finished(each.encoder.whole(features, inside, torch.float32)) for each in (int8, exact))
        assert far(found[inside], wanted[inside]) < 0.01


@torch.inference_mode()
def test_the_onsets_are_near_and_the_rows_own(
        exact: OfflineParaformer, int8: OfflineParaformer) -> None:
    frames = torch.tensor([80, 3, 41])
    encoded = torch.randn(3, 80, 512, generator=torch.Generator().manual_seed(0))
    encoded *= (torch.arange(80) < frames[:, None])[..., None]
    together, wanted = (finished(each.predictor.onsets(encoded, frames)) for each in (int8, exact))
    assert 0 < far(together, wanted) < 0.01
    for row, count in enumerate(frames.tolist()):
        alone = finished(int8.predictor.onsets(encoded[row : row + 1, :count], frames[row : row + 1]))
        # What is around the LSTM is fp32, which other shapes round otherwise.
        assert (together[row, : 3 * count] - alone[0]).abs().max() < 1e-5 and not together[row, 3 * count :].any()


def test_parts_in_any_order_and_at_once_give_the_same_to_the_bit(
        int8: OfflineParaformer, segments: list[np.ndarray]) -> None:
    wanted, order = int8.recognise(segments), random.Random(3)
    work = int8.recognise_in_pieces(segments)
    shared = 0
    with ThreadPoolExecutor(3) as workers:
        try:
            while True:
                parts = list(next(work) or ())
                order.shuffle(parts)
                shared += len(parts) > 1
                for done in [workers.submit(part) for part in parts]:
                    done.result()
        except StopIteration as end:
            assert end.value == wanted
    assert shared >= 3 * SMALL.encoder_layers


@torch.inference_mode()
def test_the_lstm_computes_its_gates_as_torch_does() -> None:
    """Weights and inputs that rounding changes little, and states large and small; what is no number stays its row's.
    """
    torch.manual_seed(5)
    lstm = torch.nn.LSTM(16, 16, batch_first=True)
    ours = Int8Lstm(lstm.weight_ih_l0, lstm.weight_hh_l0, lstm.bias_ih_l0 + lstm.bias_hh_l0)
    for size in (0.01, 1.0, 60.0):
        steps = size * torch.randn(3, 25, 16)
        hidden, cell = torch.zeros(2, 3, 16).unbind()
        found = torch.cat([ours(part, hidden, cell) for part in steps.split([10, 15], 1)], 1)
        wanted, (last, state) = lstm(steps)
        assert far(found, wanted) < 0.12 and far(hidden, last[0]) < 0.12 and far(cell, state[0]) < 0.12
        assert far(found, rounded_lstm(lstm, steps)) < 0.01
        alone = ours(steps[1:2], *torch.zeros(2, 1, 16).unbind())
        assert torch.equal(found[1:2], alone), "a row is the same to the bit beside any neighbours"
    steps[1, 3, 0] = float("nan")
    hidden, cell = torch.zeros(2, 3, 16).unbind()
    again = ours(steps, hidden, cell)
    assert again[1, 3:].isnan().all() and torch.equal(again[[0, 2]], found[[0, 2]])


def rounded_lstm(lstm: torch.nn.LSTM, steps: torch.Tensor) -> torch.Tensor:
    """What it gives where its matrices are rounded as int8 rounds them."""
    from_inputs, from_hidden = torch.nn.Linear(16, 64), torch.nn.Linear(16, 64, bias=False)
    from_inputs.weight, from_hidden.weight = lstm.weight_ih_l0, lstm.weight_hh_l0
    from_inputs.bias = torch.nn.Parameter(lstm.bias_ih_l0 + lstm.bias_hh_l0)
    from_inputs, from_hidden = Rounded(from_inputs), Rounded(from_hidden)
    hidden, cell = torch.zeros(2, len(steps), 16).unbind()
    said = []
    for x in steps.unbind(1):
        enters, stays, new, leaves = (from_inputs(x) + from_hidden(hidden)).chunk(4, 1)
        cell = stays.sigmoid() * cell + enters.sigmoid() * new.tanh()
        hidden = leaves.sigmoid() * cell.tanh()
        said.append(hidden)
    return torch.stack(said, 1)


@torch.inference_mode()
def test_the_decoders_are_near(exact: OfflineParaformer, int8: OfflineParaformer, segments: list[np.ndarray]) -> None:
    heard = exact.hear(segments_of(segments))
    count = int(heard.tokens.count.max())
    spoken = torch.arange(count) < heard.tokens.count[:, None]
    embeddings = heard.tokens.embeddings[:, :count]
    # The made-up weights of the second look sharply, so that roundings grow.
    for name, most in (("decoder", 0.05), ("seaco_decoder", 0.15)):
        hidden = [finished(getattr(network, name).whole(embeddings, spoken, heard.encoded, heard.inside))[spoken]
                  for network in (int8, exact)]
        assert 0 < far(*hidden) < most
    hidden = torch.randn(9, 512, generator=torch.Generator().manual_seed(0))
    assert 0 < far(int8.decoder.output_layer(hidden), exact.decoder.output_layer(hidden)) < 0.02


def test_what_is_said_is_the_rows_own_and_nearly_that_of_fp32(
        exact: OfflineParaformer, int8: OfflineParaformer, segments: list[np.ndarray]) -> None:
    words = [int8.encode_words([[5, 6], [77]]), None, None, int8.encode_words([[9]] * 60)]
    together = int8.recognise(segments, words)
    for order in ([3, 2, 1, 0], [1, 3, 0, 2]):
        again = int8.recognise([segments[row] for row in order], [words[row] for row in order])
        assert [(each.ids, each.times) for each in again] == [(together[row].ids, together[row].times) for row in order]
    alone = [int8.recognise([samples], [word])[0] for samples, word in zip(segments, words, strict=True)]
    # What is fp32 rounds otherwise in other shapes, and a hair may put an input on the next of its 256 steps.
    assert [(each.error, each.times) for each in alone] == [(None, each.times) for each in together]
    assert alike(alone, together) > 0.85
    assert alike(together, exact.recognise(segments, words)) > 0.6


def alike(found: list[Recognised], wanted: list[Recognised]) -> float:
    same = [ours == theirs for one, other in zip(found, wanted, strict=True)
            for ours, theirs in zip_longest(one.ids, other.ids)]
    return sum(same) / len(same)


def test_a_model_without_hotwords_too(segments: list[np.ndarray]) -> None:
    architecture = dataclasses.replace(SEACO, bias=None, onsets=None)
    model = random_offline_model(architecture, torch.int8)
    (result,) = model.network.recognise(segments[:1])
    assert result.error is None and model.network.dtype == torch.float32 and len(result.ids) > 2
