"""Tokens' times against FunASR's own function, and where that fails."""

from __future__ import annotations

import warnings

import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from stream_server.models.onsets import fire, fired_times, spread, token_times

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from funasr.utils.timestamp_tools import cif_wo_hidden, ts_prediction_lfr6_standard

weights_ = st.lists(st.integers(0, 240).map(lambda n: n / 1000), min_size=3, max_size=150)


def funasr_times(weights: list[float], fired: int, tokens: int) -> list[list[int]]:
    alphas = torch.tensor(weights)[None]
    alphas *= fired / alphas.sum()
    peaks = cif_wo_hidden(alphas, 1 - 1e-4)
    return ts_prediction_lfr6_standard(alphas[0].clone(), peaks[0], [str(n) for n in range(tokens)])[1]


def nearest(weights: list[float], total: int) -> float:
    """The closest that the sum of `weights`, made to end at `total`, comes to firing, or to not firing."""
    factor, left, found = total / sum(weights), 0.0, 1.0
    for weight in weights:
        left += weight * factor
        found = min(found, abs(left - 0.9999))
        left -= 0.9999 if left >= 0.9999 else 0.0
    return found


@settings(max_examples=100, deadline=None)
@given(weights_, st.data())
def test_times_are_funasrs(weights: list[float], data: st.DataObject):
    assume(sum(weights) > 0.1)
    fired = data.draw(st.integers(1, max(1, len(weights) // 3)))
    tokens = data.draw(st.sampled_from([fired, max(1, fired - 1), max(1, fired - 2)]))
    # FunASR adds up in fp32.
    assume(min(nearest(weights, fired), nearest(weights, tokens + 1)) > 1e-4)
    assume(tokens + 1 in (len(fire(weights, fired)), len(fire(weights, tokens + 1))))
    ours, theirs = token_times(weights, fired, tokens), funasr_times(weights, fired, tokens)
    assert len(ours) == len(theirs) == tokens
    for (start, end), (their_start, their_end) in zip(ours, theirs, strict=True):
        # FunASR cuts 289.999... to 289, and may begin before the segment does.
        assert 0 <= start - max(their_start, 0) <= 1 and 0 <= end - max(their_end, 0) <= 1


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 1, width=32), min_size=3, max_size=90), st.integers(1, 30), st.integers(0, 30))
@example([0.0] * 6, 2, 2)
@example([0.0] * 5 + [1.0], 2, 2)
def test_every_token_has_a_time_within_the_segment(weights: list[float], fired: int, tokens: int):
    times = token_times(weights, fired, tokens)
    assert len(times) == tokens
    assert all(0 <= start <= end <= 20 * len(weights) for start, end in times)
    assert times == sorted(times)


@pytest.mark.parametrize("weights", [[0.0] * 6, [0.0] * 5 + [0.2]])
def test_funasr_loses_times_or_raises_where_weights_are_missing_or_heaped(weights: list[float]):
    with pytest.raises(IndexError):
        assert funasr_times(weights, 2, 2)[1] is not None, "the second token has a time"
    assert len(token_times(weights, 2, 2)) == 2


def test_shares_are_even():
    assert spread([0.5] * 6, 3) == [1, 3, 5]
    assert spread([0.0] * 6, 3) == [1, 3, 5]


@given(st.integers(1, 40).flatmap(
    lambda length: st.tuples(st.just(length), st.lists(st.integers(0, length), unique=True).map(sorted))
))
def test_without_a_second_cif_a_token_begins_near_the_frame_that_fired_it(length_and_frames: tuple[int, list[int]]):
    length, frames = length_and_frames
    times = fired_times(frames, length)
    assert len(times) == len(frames)
    for (start, end), frame in zip(times, frames, strict=True):
        assert abs(start - 60 * min(frame, length - 1)) <= 60
        assert start <= end <= 60 * length
