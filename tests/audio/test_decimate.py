"""48 kHz to 16 kHz: what passes, what does not, and how late it comes."""

from __future__ import annotations

import numpy as np
import pytest

from stream_server.audio.decimate import Decimator

MS = 16


def level(hertz: float) -> float:
    """Of a tone behind the filter, in dB against the tone before it."""
    tone = 10_000 * np.sin(2 * np.pi * hertz * np.arange(48_000) / 48_000)
    passed = Decimator().convert(tone)[200:-200]
    return 20 * np.log10(np.sqrt(np.mean(passed**2)) / (10_000 / np.sqrt(2)))


@pytest.mark.parametrize("hertz", [50, 1_000, 4_000, 7_000])
def test_speech_passes_as_it_is(hertz: float) -> None:
    assert abs(level(hertz)) < 0.02


@pytest.mark.parametrize("hertz", [8_400, 9_000, 12_000, 15_900, 20_000, 23_900])
def test_what_16_khz_cannot_hold_does_not_come_back_as_another_tone(hertz: float) -> None:
    assert level(hertz) < -75


def test_a_packet_is_complete_but_for_two_milliseconds() -> None:
    decimator, packet, given = Decimator(), np.ones(960, np.int16), 0
    for number in range(1, 50):
        given += len(decimator.convert(packet))
        assert number * 20 * MS - given <= 2.1 * MS


def test_a_click_stays_at_its_time() -> None:
    click = np.zeros(4_800, np.int16)
    click[2_400] = 10_000
    decimator = Decimator()
    out = np.concatenate([decimator.convert(click), decimator.flush()])
    assert np.argmax(out) == 800 and len(out) == 1_600
