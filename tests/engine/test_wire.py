from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_server.audio.windows import DEFAULT_WINDOWS
from stream_server.engine import wire
from stream_server.engine.stream import Lane
from stream_server.speech.hotwords import from_native
from stream_server.speech.recognition import Chunk, Hypothesis

INFO = wire.EngineInfo(model="m", model_kind="demo", windows=DEFAULT_WINDOWS, slots=4, device="cpu", dtype="fp32")


@pytest.mark.parametrize("message", [wire.Hello("door-0"), wire.Admit("s"), wire.Release("s"), wire.Abort("s", 3),
                                     wire.Ping()], ids=lambda message: type(message).__name__)
def test_messages_of_a_door_arrive_as_sent(message: wire.DoorMessage) -> None:
    assert wire.unpack_from_door([wire.pack(message)]) == (message, b"")


@pytest.mark.parametrize("message", [
    wire.Welcome(INFO), wire.Stranger(), wire.Admitted("s"), wire.Refused("s", "full", 5),
    wire.Recognised("s", Hypothesis(1, 2, ["你", "hel@@"], [3, 4], True, "failed")),
    wire.Recognised("s", Hypothesis(1, 2, ["你"], [3], confidences=[98], undecided=1, unspelt=["C++"])),
    wire.Beat({"steps": 3.0}),
], ids=lambda message: type(message).__name__)
def test_messages_of_the_engine_arrive_as_sent(message: wire.EngineMessage) -> None:
    assert wire.unpack_from_engine([wire.pack(message)]) == message


def test_a_chunk_takes_its_audio_along_untouched() -> None:
    samples, words = np.arange(-5, 9595, dtype=np.int16), from_native({"章伟": 30, "C++": 0.5})
    frames = wire.pack_chunk("s", Chunk(4, 7, DEFAULT_WINDOWS[1], samples[::2], True, words), Lane.FINAL)
    step, audio = wire.unpack_from_door(frames)
    assert step == wire.Step("s", 4, 7, DEFAULT_WINDOWS[1], True, Lane.FINAL, words)
    np.testing.assert_array_equal(np.frombuffer(audio, "<i2"), samples[::2])


@pytest.mark.parametrize("frames", [
    [],
    [b""],
    [b"\xc1"],
    [b"\x91" * 5000],
    [wire.pack(wire.Ping()), b"audio"],
    [wire.pack(wire.Step("s", 0, 0, DEFAULT_WINDOWS[0]))],
    [wire.pack(wire.Step("s", 0, 0, DEFAULT_WINDOWS[0])), b"", b""],
    [wire.pack(wire.Stranger())],
])
def test_what_is_no_message_of_a_door_is_malformed(frames: list[bytes]) -> None:
    with pytest.raises(wire.Malformed):
        wire.unpack_from_door(frames)


def check_read(frames: list[bytes]) -> None:
    """Each side reads a message of its own kinds, which can be sent on, or raises Malformed."""
    with suppress(wire.Malformed):
        message, audio = wire.unpack_from_door(frames)
        assert isinstance(message, wire.DoorMessage)
        packed = wire.pack(message)
        again, same_audio = wire.unpack_from_door([packed, audio][:len(frames)])
        assert (wire.pack(again), same_audio) == (packed, audio)
    with suppress(wire.Malformed):
        message = wire.unpack_from_engine(frames)
        assert isinstance(message, wire.EngineMessage)
        packed = wire.pack(message)
        assert wire.pack(wire.unpack_from_engine([packed])) == packed


@settings(deadline=None)
@given(st.lists(st.binary(max_size=80), max_size=3))
def test_noise_is_malformed_or_a_message(frames: list[bytes]) -> None:
    check_read(frames)


@settings(deadline=None)
@given(st.sampled_from([wire.Step("s", 0, 0, DEFAULT_WINDOWS[0]), wire.Welcome(INFO)]), st.data())
def test_a_bent_message_is_malformed_or_a_message(message: wire.DoorMessage, data: st.DataObject) -> None:
    frame = bytearray(wire.pack(message))
    frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    check_read([bytes(frame), b""])
