"""Products of bytes in each way that the processor has: all the same to the bit, so that no text depends on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from ctypes import byref

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stream_server.audio.windows import Window
from stream_server.engine.pieces import finished
from stream_server.engine.runner import Row
from stream_server.models.checkpoint import random_model
from stream_server.models.native.library import WAYS, kernels, use_way, way
from stream_server.models.offline_architecture import SEACO_LARGE, OfflineArchitecture
from stream_server.models.offline_checkpoint import random_offline_model
from stream_server.models.quantised import Int8Linear, Int8Norm
from stream_server.models.streaming import ParaformerRunner
from tests.models.conftest import SMALL
from tests.models.test_streaming import sound
from tests.support.int8 import NEEDS_INT8
from tests.support.recordings import sample

pytestmark = NEEDS_INT8

InBoth = Callable[[Callable[[], object]], tuple[object, object]]

UNWRITTEN = 1e9


@pytest.fixture(params=WAYS[1:])
def in_both(request: pytest.FixtureRequest) -> Iterator[InBoth]:
    """What is computed in a way, and by AVX2."""
    before = way()
    if not use_way(request.param):
        pytest.skip(f"this processor has no {request.param}")

    def compute(what: Callable[[], object]) -> tuple[object, object]:
        results = []
        for each in (request.param, "avx2"):
            assert use_way(each) and way() == each
            results.append(what())
        return results[0], results[1]

    yield compute
    assert use_way(before)


def test_unknown_ways_change_nothing():
    before = way()
    assert not use_way("abacus") and way() == before


@torch.inference_mode()
@pytest.mark.parametrize(("inner", "outer"), [(8, 5), (56, 16), (64, 17), (72, 48), (512, 1536), (560, 40), (2048, 512),
                                              (512, 8404)])
def test_products_are_the_same(in_both: InBoth, inner: int, outer: int):
    generator = torch.Generator().manual_seed(inner + outer)
    linear = nn.Linear(inner, outer)
    linear.weight.data = torch.randn(outer, inner, generator=generator)
    int8 = Int8Linear(linear)
    # Of the last three the last part lacks most rows: 0 of 10, 7 of 15, 15 of 16.
    for rows in (1, 2, 5, 6, 7, 15, 16, 17, 31, 32, 33, 49, 150, 113, 241):
        x = torch.randn(rows, inner, generator=generator)
        found, wanted = in_both(lambda x=x: written(int8, x))
        assert torch.equal(found.view(torch.int32), wanted.view(torch.int32)), f"{rows} rows"
        assert (found[rows * outer :] == UNWRITTEN).all() and not (found[: rows * outer] == UNWRITTEN).any()


def written(linear: Int8Linear, x: Tensor) -> Tensor:
    """Its results, row by row, and what is behind them."""
    out = torch.full((len(x) * linear.there.outputs + 64,), UNWRITTEN)
    kernels().stream_linear(None, byref(linear.there), x.data_ptr(), len(x), out.data_ptr())
    return out


@torch.inference_mode()
def test_the_decoders_feed_forward_of_any_size_is_the_same(in_both: InBoth):
    """Negatives become zero in a panel that is not full, too."""
    torch.manual_seed(0)
    norm, hidden_norm = Int8Norm(nn.LayerNorm(64, eps=1e-12)), Int8Norm(nn.LayerNorm(40, eps=1e-12))
    w_1, w_2 = Int8Linear(nn.Linear(64, 40)), Int8Linear(nn.Linear(40, 64, bias=False))
    x = torch.randn(19, 64)

    def said() -> Tensor:
        out = torch.full((20, 64), UNWRITTEN)
        kernels().stream_decoder_feed_forward(byref(norm.there), byref(w_1.there), byref(hidden_norm.there),
                                              byref(w_2.there), x.data_ptr(), len(x), out.data_ptr())
        return out

    found, wanted = in_both(said)
    assert torch.equal(found.view(torch.int32), wanted.view(torch.int32))
    assert (found[-1] == UNWRITTEN).all() and found[:-1].isfinite().all()


@torch.inference_mode()
def test_attention_of_any_length_is_the_same(in_both: InBoth):
    """Odd and even numbers of panels of keys, and queries that come by one to six."""
    base = dataclasses.replace(SMALL, encoder_layers=2)
    network = random_offline_model(OfflineArchitecture(base, None, None), torch.int8).network
    for frames in (31, 32, 37, 43, 48, 49, 64, 65, 100):
        features = torch.randn(2, frames, SMALL.features, generator=torch.Generator().manual_seed(frames))
        inside = torch.arange(frames) < torch.tensor([[frames], [frames - 1]])
        found, wanted = in_both(
            lambda heard=(features, inside): finished(network.encoder.whole(*heard, torch.float32)))
        assert torch.equal(found, wanted), f"{frames} frames"


@torch.inference_mode()
def test_a_row_that_is_no_number_spoils_no_other(in_both: InBoth):
    generator = torch.Generator().manual_seed(1)
    int8 = Int8Linear(nn.Linear(512, 48))
    x = torch.randn(20, 512, generator=generator)
    whole = int8(x)
    x[3, 7], x[17, 0] = torch.nan, torch.inf
    for found in in_both(lambda: int8(x)):
        assert not found[[3, 17]].isfinite().any()
        good = torch.arange(20).remainder(14) != 3
        assert torch.equal(found[good], whole[good])


def test_streams_are_the_same(in_both: InBoth):
    window = Window(10, 5)
    model = random_model(SMALL, torch.int8)

    def said() -> list[tuple[list[int], bytes]]:
        runner, steps = ParaformerRunner(model, [window], 3), []
        streams = [np.split(sound(5, window, slot), 5) for slot in range(3)]
        for number in range(5):
            results = runner.run(window, [Row(slot, hops[number], number == 0, number == 4)
                                          for slot, hops in enumerate(streams)])
            assert all(result.error is None for result in results)
            steps += [(result.pieces, runner.caches.encoder.frames[:, slot].numpy().tobytes())
                      for slot, result in enumerate(results)]
        return steps

    found, wanted = in_both(said)
    assert found == wanted and any(pieces for pieces, _ in found)


def test_the_second_pass_is_the_same(in_both: InBoth):
    network = random_offline_model(dataclasses.replace(SEACO_LARGE, base=SMALL), torch.int8).network
    speech = sample("meeting")
    segments = [speech[:90_000], speech[20_000:50_000]]
    found, wanted = in_both(lambda: network.recognise(segments, [network.encode_words([[5, 6], [77]]), None]))
    assert found == wanted and all(each.ids and each.error is None for each in found)
