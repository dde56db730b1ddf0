"""PCM in the place of a track that was away, and the track's sound behind it: nothing lost, nothing twice."""

from __future__ import annotations

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_server.audio.bridge import Bridge
from tests.audio.test_seam import SECOND, SPEECH

RATE = 48_000
PACKET = 960
UP = soxr.resample(SPEECH.astype(np.float32), 16_000, RATE).clip(-32_768, 32_767).astype(np.int16)


def cross(bridge: Bridge, crossed: int, track_from: int, late: int, size: int) -> np.ndarray:
    """PCM until the sample `crossed`, while the track runs from `track_from` on and comes `late` samples later."""
    given_out, sent = [], 0
    for end in range(track_from * 3, len(UP), PACKET):
        now = end // 3 + late
        while sent < crossed and (sent + size <= now or now >= crossed):
            given_out.append(bridge.receive_pcm(SPEECH[sent:min(sent + size, crossed)].tobytes()))
            sent = min(sent + size, crossed)
        if sent == crossed and bridge.open:
            given_out.append(bridge.receive_pcm(b""))
            given_out.append(bridge.end())
        sound = UP[end:end + PACKET]
        given_out.append(sound if bridge.over else bridge.receive_sound(sound))
    return np.concatenate(given_out)


@settings(max_examples=25, deadline=None)
@given(crossed=st.integers(2 * SECOND, 4 * SECOND), before=st.integers(0, 2 * SECOND), late=st.integers(-3_000, 3_000),
       size=st.integers(200, 5_000))
def test_the_track_goes_on_where_the_pcm_ended(crossed: int, before: int, late: int, size: int) -> None:
    whole = cross(Bridge(RATE), crossed, max(0, crossed - before - 8_000), late, size)
    assert abs(len(whole) - len(UP)) <= 2 * PACKET
    length = min(len(whole), len(UP)) - PACKET
    apart = whole[:length].astype(float) - UP[:length]
    assert np.sqrt(np.mean(apart**2)) < 0.05 * np.sqrt(np.mean(UP[:length].astype(float)**2))


def test_what_is_held_of_the_track_is_bounded() -> None:
    bridge = Bridge(RATE)
    for _ in range(1_000):
        assert not len(bridge.receive_sound(np.ones(PACKET, np.int16)))
    bridge.end()
    assert 0 < len(bridge.join()) < 2 * RATE and bridge.over


@pytest.mark.parametrize("sound", [0, 100, 5 * RATE])
def test_silence_of_the_track_joins_too(sound: int) -> None:
    bridge = Bridge(RATE)
    assert not len(bridge.receive_sound(sound)) and not len(bridge.join())
    bridge.receive_pcm(bytes(32_000))
    bridge.end()
    assert len(bridge.receive_sound(RATE)) >= RATE and bridge.over
    assert not len(bridge.join())
