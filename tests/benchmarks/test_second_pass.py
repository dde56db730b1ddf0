"""What the second pass's benchmark says, and how."""

from __future__ import annotations

import numpy as np

from benchmarks.second_pass import MEDIAN_S, _long_enough
from benchmarks.second_pass.waits import trimmed
from stream_server.units import SAMPLE_RATE


def test_the_shortest_recordings_are_left_out_until_the_median_is_long_enough() -> None:
    lengths = [1, 2, 2, 3, 4, 5, 6, 7]
    kept = [len(each) // SAMPLE_RATE for each in _long_enough([np.zeros(n * SAMPLE_RATE) for n in lengths])]
    assert kept == lengths[-len(kept):] and MEDIAN_S <= np.median(kept) < 5.5
    short = [np.zeros(SAMPLE_RATE), np.zeros(2 * SAMPLE_RATE)]
    assert len(_long_enough(short)) == 2


def test_a_recording_ends_with_its_last_loud_sound() -> None:
    noise = np.random.default_rng(0).normal(0, 1, SAMPLE_RATE)
    sound = np.concatenate([noise[:3_200] * 10, noise[:8_000] * 3_000, noise[:6_400] * 300]).astype(np.int16)
    assert len(trimmed(sound)) == 8_000
    quiet_onset = np.concatenate([noise[:3_200] * 300, noise[:8_000] * 3_000]).astype(np.int16)
    assert len(trimmed(quiet_onset)) == 11_200
