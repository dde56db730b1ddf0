"""The same numbers, tokens and times as FunASR with the same weights, alone and in batches."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest

from stream_server.audio.windows import Window
from stream_server.models.architecture import PARAFORMER_LARGE
from stream_server.models.checkpoint import Model, load, random_model
from tests.support import recordings
from tests.support.parity import Recorded, Tally, compare_alone, compare_together, listen
from tests.support.reference import Reference, pieces_of

WINDOWS = [Window(hop, ahead, *back) for hop, ahead in ((10, 5), (8, 4), (4, 4), (2, 2))
           for back in ((4, 1), (1, 1), (0, 0))]
LONG = {WINDOWS[0]: 70, WINDOWS[3]: 30, WINDOWS[7]: 20, WINDOWS[9]: 10}
"""Seconds of the longest stream of a window where it is not a whole utterance."""


def streams_of(window: Window) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Utterances from 50 ms up, cut anywhere, whose last pieces have all kinds of lengths."""
    random_ = random.Random(str(window))
    utterances = recordings.corpus("aishell") + recordings.corpus("fleurs")
    lengths = [800, 1200, *(random_.randrange(800, 16_000) for _ in range(4)), *(2 * window.hop_samples,) * 2, 32_000]
    for number, length in enumerate(lengths):
        samples = random_.choice(utterances)
        start = random_.randrange(max(1, len(samples) - length))
        yield f"{length} samples", pieces_of(samples[start : start + length], window, empty_last=number % 2 == 0)
    if window in LONG:
        seconds = LONG[window]
        yield f"{seconds} s", pieces_of(recordings.joined(seconds, random_.randrange(100)), window)
    else:
        samples = random_.choice([samples for samples in utterances if 48_000 <= len(samples) <= 80_000])
        yield "an utterance", pieces_of(samples, window)


def compare(
    model: Model, reference: Reference, window: Window, streams: Iterator[tuple[str, list[np.ndarray]]]
) -> Tally:
    runner, listener = listen(model, [window], 16)
    tally, recorded = Tally(), list[Recorded]()
    for name, pieces in streams:
        stream, alone = compare_alone(reference, runner, listener, pieces, window, name)
        recorded.append(stream)
        tally.add(alone)
    tally.add(compare_together(runner, recorded, random.Random(str(window))))
    return tally


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_few_layers(small: Model, small_reference: Reference, window: Window, speech: None):
    tally = compare(small, small_reference, window, streams_of(window))
    tally.check()
    assert tally.tokens > 20


def test_streams_of_different_windows_share_the_slots(small: Model, small_reference: Reference, speech: None):
    windows = [Window(10, 5), Window(4, 4, 1, 1), Window(2, 2, 0, 0)]
    runner, listener = listen(small, windows, 16)
    tally, recorded = Tally(), []
    for number in range(18):
        window = windows[number % 3]
        samples = recordings.joined(1 + number % 4, number)[: -97 * number - 1]
        pieces = pieces_of(samples, window)
        stream, alone = compare_alone(small_reference, runner, listener, pieces, window, f"{number}")
        recorded.append(stream)
        tally.add(alone)
    tally.add(compare_together(runner, recorded, random.Random(1)))
    tally.check()


@pytest.fixture(scope="module")
def large() -> tuple[Model, Reference]:
    model = random_model(PARAFORMER_LARGE)
    return model, Reference(model)


@pytest.mark.parametrize("minute", [0, 1, 2])
def test_full_size(large: tuple[Model, Reference], minute: int, speech: None):
    window = Window(10, 5)
    # Fifteen seconds at a time: that a long stream stays exact is shown with fewer layers.
    parts = range(4 * minute, 4 * minute + 4)
    streams = ((f"part {n}", pieces_of(recordings.joined(15, 10 * n), window)) for n in parts)
    tally = compare(*large, window, streams)
    tally.check()
    assert tally.seconds == 60
    assert 1.5 < tally.tokens / tally.chunks < 3.5, "made-up weights fire at speech's rate"


def test_the_bundled_model(speech: None):
    model = load("demo")
    utterances = recordings.corpus("aishell")[::30] + recordings.corpus("fleurs")[::8]
    window = Window(10, 5)
    streams = ((str(n), pieces_of(samples, window)) for n, samples in enumerate(utterances))
    compare(model, Reference(model), window, streams).check()
