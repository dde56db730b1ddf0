"""A track as sound: order, time, silence, senders that change."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_server.audio.jitter import WAIT_S, Packet
from stream_server.audio.opus import OPUS_RATE, OpusDecoder
from stream_server.audio.rtp import RtpSound, Sound
from stream_server.audio.timeline import QUIET_S

FRAME = 960


def plain(payload: bytes) -> np.ndarray:
    return np.frombuffer(payload, np.int16)


def packet(number: int, value: int | None = None) -> Packet:
    value = number + 1 if value is None else value
    return Packet(number & 0xFFFF, number * FRAME, np.full(FRAME, value, np.int16).tobytes())


def samples(sounds: list[Sound]) -> np.ndarray:
    return np.concatenate([np.zeros(s, np.int16) if isinstance(s, int) else s for s in sounds] or [np.zeros(0)])


@given(delays=st.lists(st.floats(0, WAIT_S * 0.9), min_size=2, max_size=40), lost=st.sets(st.integers(1, 38)))
def test_what_arrives_is_at_its_time_whatever_is_missing_between(delays: list[float], lost: set[int]) -> None:
    last = len(delays) - 1
    delays[0] = 0.0
    sound, out = RtpSound(plain, OPUS_RATE), []
    for now, number in sorted((n * 0.02 + delay, n) for n, delay in enumerate(delays) if n not in lost - {last}):
        out += sound.receive(1, packet(number), now)
    out += sound.take(last * 0.02 + 2 * WAIT_S)
    heard = samples(out).reshape(-1, FRAME)
    assert len(heard) == len(delays)
    for number, frame in enumerate(heard):
        if number not in lost - {last}:
            assert (frame == number + 1).all()


@pytest.mark.parametrize("missing", [1, 2, 3, 4, 50])
def test_a_short_gap_is_bridged_without_a_step_and_a_long_one_is_silence(missing: int) -> None:
    sound = RtpSound(plain, OPUS_RATE)
    ramp = np.linspace(0, 10_000, FRAME).astype(np.int16)
    sound.receive(1, Packet(0, 0, ramp.tobytes()), 0.0)
    sound.receive(1, packet(missing + 1), missing * 0.02)
    gap = samples(sound.take(missing * 0.02 + 2 * WAIT_S))[:-FRAME]
    assert len(gap) == missing * FRAME
    if missing > 3:
        assert not gap.any()
    else:
        assert np.abs(np.diff(np.concatenate((ramp[-1:], gap)).astype(int))).max() <= 20
        assert np.abs(gap[-10:]).max() <= 10_000 * (1 - missing / 3) + 100


def test_another_sender_goes_on_where_the_first_ended() -> None:
    sound = RtpSound(plain, OPUS_RATE)
    sound.receive(1, packet(0), 0.0)
    held = sound.receive(1, packet(2), 0.0)
    assert held == []
    heard = samples(sound.receive(2, packet(9_000, value=7), 0.1))
    assert heard[::FRAME].tolist() == [1, 3, 7]


def test_packets_without_sound_take_no_time() -> None:
    sound = RtpSound(plain, OPUS_RATE)
    sound.receive(1, packet(0), 0.0)
    assert sound.receive(1, Packet(1, 960, b""), 0.02) == []
    assert samples(sound.receive(1, Packet(2, 960, packet(0).payload), 0.04)).shape == (FRAME,)


def test_when_nothing_comes_there_is_silence_after_a_while() -> None:
    sound = RtpSound(plain, OPUS_RATE)
    sound.receive(1, packet(0), 0.0)
    assert sound.take(QUIET_S / 2) == []
    assert sound.take(QUIET_S) == [round(QUIET_S / 2 * OPUS_RATE)]


def test_opus_is_decoded_and_what_is_none_becomes_nothing() -> None:
    import av

    encoder = av.CodecContext.create("libopus", "w")
    encoder.format, encoder.layout, encoder.sample_rate = "s16", "mono", OPUS_RATE
    tone = (8000 * np.sin(2 * np.pi * 440 * np.arange(10 * FRAME) / OPUS_RATE)).astype(np.int16)
    payloads = []
    for start in range(0, len(tone), FRAME):
        frame = av.AudioFrame.from_ndarray(tone[start:start + FRAME].reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts = OPUS_RATE, start
        payloads += [bytes(each) for each in encoder.encode(frame)]
    decoder = OpusDecoder()
    heard = [decoder.decode(payload) for payload in payloads]
    assert {len(each) for each in heard} == {FRAME}
    assert 6000 < np.abs(np.concatenate(heard)[2 * FRAME:]).max() < 10_000
    assert len(decoder.decode(b"\xff\xff\xff")) == 0
    assert len(decoder.decode(payloads[5])) == FRAME
