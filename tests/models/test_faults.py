"""Where FunASR's streaming goes wrong: what it does, pinned, and what we do instead."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stream_server.audio.windows import Window, choose, wish_from_triple
from stream_server.engine.runner import Row, RowResult
from stream_server.models.checkpoint import Model
from stream_server.models.streaming import ParaformerRunner
from tests.models.test_streaming import sound
from tests.support.parity import compare_alone, listen
from tests.support.reference import Reference, pieces_of

WINDOW = Window(4, 4)


def run(model: Model, pieces: list[np.ndarray], window: Window = WINDOW) -> list[RowResult]:
    runner = ParaformerRunner(model, [window], 1)
    last = len(pieces) - 1
    return [runner.run(window, [Row(0, piece, n == 0, n == last)])[0] for n, piece in enumerate(pieces)]


def test_a_short_last_piece_is_recognised_where_funasr_drops_it(small: Model):
    hop = WINDOW.hop_samples
    samples = sound(3, WINDOW)[: 2 * hop + 900]
    as_funasr = Reference(small, drop_short_tail=True)
    *_, dropped = as_funasr.stream(pieces_of(samples, WINDOW), WINDOW)
    *_, without = as_funasr.stream(pieces_of(samples[: 2 * hop], WINDOW, empty_last=True), WINDOW)
    assert len(dropped.features) == 0
    assert torch.equal(dropped.encoded, without.encoded), "FunASR never hears the last 56 ms"

    runner, listener = listen(small, [WINDOW], 1)
    _, tally = compare_alone(Reference(small), runner, listener, pieces_of(samples, WINDOW), WINDOW, "short tail")
    tally.check()
    assert int(listener.heard.inside.sum()) == WINDOW.look_ahead + 1


def test_a_last_piece_without_a_frame_ends_as_funasrs_tail_does(small: Model):
    samples = sound(3, WINDOW)[: 2 * WINDOW.hop_samples]
    runner, listener = listen(small, [WINDOW], 1)
    pieces = pieces_of(samples, WINDOW, empty_last=True)
    _, tally = compare_alone(Reference(small, drop_short_tail=True), runner, listener, pieces, WINDOW, "empty tail")
    tally.check()


def test_funasr_breaks_without_look_ahead_and_we_do_not(small: Model):
    window = Window(4, 0)
    pieces = pieces_of(sound(3, window), window)
    steps = list(Reference(small).stream(pieces, window))
    assert [len(step.encoded) for step in steps] == [4, 8, 12], "FunASR's window grows by a hop in every step"
    runner, listener = listen(small, [window], 1)
    for number, piece in enumerate(pieces):
        (result,) = runner.run(window, [Row(0, piece, number == 0, number == 2)])
        assert result.error is None
        assert listener.heard.encoded.shape[1] == 4
    # The first hop has no past to be wrong about.
    assert run(small, pieces, window)[0].pieces == [small.vocabulary[i] for i in steps[0].ids if i > 2]


def test_without_look_ahead_an_empty_end_is_an_end(small: Model):
    window = Window(4, 0, 0, 0)
    results = run(small, pieces_of(sound(2, window), window, empty_last=True), window)
    assert all(result.error is None for result in results)


def test_funasr_counts_left_frames_twice_and_we_never_run_them(small: Model):
    reference = Reference(small)
    left = Window(4, 4)
    cache = reference.new_cache(Window(4, 4, 1, 0), left=4)
    layer = reference.model.encoder.encoders0[0]
    with torch.inference_mode():
        for piece in pieces_of(sound(4, left), left)[:3]:
            features = reference.features(piece, cache, last=False)
            reference.model.encode_chunk(features, torch.tensor([4]), cache=cache)
        coming = layer.self_attn.forward_qkv(layer.norm1(cache["encoder"]["feats"]))[1]
    # The keys remembered for one hop of look-back are those that the next window begins with once more.
    torch.testing.assert_close(coming[:, :, :4], cache["encoder"]["opt"][0]["k"])
    served = [Window(4, 4, 1, 0)]
    assert choose(wish_from_triple([4, 4, 4]), served).triple == (0, 4, 4)


@pytest.mark.parametrize("length", [0, 1, 399])
def test_less_than_25_ms_is_nothing_and_no_error(small: Model, length: int):
    piece = sound(1)[:length]
    assert run(small, [piece]) == [RowResult()]
    if length:
        *_, said = Reference(small).stream([piece], WINDOW)
        assert said.features.shape[0] == 0, "FunASR has no frame either, and runs its tail over zeros"


def test_40_ms_are_recognised(small: Model):
    runner, listener = listen(small, [WINDOW], 1)
    _, tally = compare_alone(Reference(small), runner, listener, [sound(1)[:640]], WINDOW, "40 ms")
    tally.check()
    assert tally.chunks == 1
