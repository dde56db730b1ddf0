"""Counted operations against what PyTorch counts while a step runs; the two know nothing of each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from stream_server.audio.windows import Window
from stream_server.bench.floors import Spoken, chunk_work, least_seconds, step_traffic
from stream_server.bench.speech import Speech
from stream_server.engine.runner import Row, RowResult
from stream_server.models.architecture import PARAFORMER_LARGE
from stream_server.models.checkpoint import random_model
from stream_server.models.streaming import ParaformerRunner
from tests.support.small_model import SMALL

WINDOWS = [Window(10, 5), Window(8, 4, 1, 1), Window(4, 4, 0, 0)]
SPEECH_FROM = 16_000


def counted_step(runner: ParaformerRunner, samples: np.ndarray, first: bool) -> tuple[RowResult, dict[str, int]]:
    """A step's result and the operations of each of the network's parts, attention as its two products."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        result, = runner.run(runner.windows[0], [Row(0, samples, first=first)])
    return result, {part: sum(counts.values()) for part, counts in counter.get_flop_counts().items()}


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_the_counts_are_those_of_the_network(window: Window) -> None:
    runner, speech, spoken = ParaformerRunner(random_model(SMALL), [window], 1), Speech(), []
    for number in range(3):
        samples = speech.take(SPEECH_FROM + number * window.hop_samples, window.hop_samples)
        result, counts = counted_step(runner, samples, first=not number)
        tokens = len(result.pieces)
        spoken.append(tokens)
        work = chunk_work(SMALL, window, Spoken(tokens, bool(tokens)))
        assert 2 * work.encoder == counts["Encoder"]
        assert 2 * work.decoder == counts.get("Decoder", 0)
        # The sums of CIF are outside of the predictor's module.
        assert 2 * (work.predictor - tokens * window.frames * SMALL.size) == counts["Predictor"]
    assert max(spoken) > 0


def test_the_large_model_by_hand() -> None:
    work = chunk_work(PARAFORMER_LARGE, Window(10, 5), Spoken(tokens=0, speaking=0))
    assert work.encoder == 15 * (3 * 512 * (560 + 49 * 512) + 50 * (512 * (512 + 2 * 2048 + 11 + 2 * 55)))
    assert work.decoder == 0


def test_the_bytes_of_a_step_are_those_of_its_tensors() -> None:
    window = Window(10, 5)
    caches = ParaformerRunner(random_model(SMALL), [window], 1).caches
    traffic = step_traffic(SMALL, window, Spoken(3, 1), weight_bytes=1000, number_bytes=4)
    encoder, decoder = caches.encoder.frames[:, 0], caches.decoder.frames[:, 0]
    newly_heard = encoder[:, : window.hop]
    moved = (encoder.nbytes + newly_heard.nbytes + 2 * decoder.nbytes + 2 * caches.history[:, 0].nbytes
             + 2 * caches.look_ahead[0].nbytes)
    assert traffic.of_step(0) == 1000
    assert traffic.of_step(3) == 1000 + 3 * moved


def test_narrow_numbers_halve_what_caches_move() -> None:
    wide, narrow = (step_traffic(SMALL, Window(10, 0), Spoken(3, 1), 0, torch.finfo(dtype).bits // 8).state_of_a_row
                    for dtype in (torch.float32, torch.bfloat16))
    assert wide == 2 * narrow


@pytest.mark.parametrize(("operations", "traffic", "least"), [(100, 10, 10), (100, 1000, 100)])
def test_the_slower_of_products_and_memory_decides(operations: float, traffic: float, least: float) -> None:
    assert least_seconds(operations, traffic, operations_per_s=10, bytes_per_s=10) == least
