"""What audio is held in: in Python and compiled."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from stream_server.doors.hold import Hold, PlainHold
from stream_server.session.held import Held
from tests.support.compiler import COMPILER

KINDS = sorted({PlainHold, Hold}, key=lambda kind: kind.__module__)
compiled = pytest.mark.skipif(Hold is PlainHold and COMPILER is None, reason="there is no C++ compiler")

SIZES = st.one_of(st.integers(0, 300), st.sampled_from([1920, 40_000, 65_535, 65_536]))
OPCODES = st.sampled_from([Opcode.BINARY, Opcode.BINARY, Opcode.BINARY, Opcode.TEXT, Opcode.CONT, Opcode.PING])


def sound(size: int) -> bytes:
    return bytes(number % 251 for number in range(size))


@st.composite
def frames(draw) -> bytes:
    opcode = draw(OPCODES)
    size = draw(st.integers(0, 125)) if opcode is Opcode.PING else draw(SIZES)
    frame = Frame(opcode, sound(size), fin=opcode is Opcode.PING or draw(st.sampled_from([True, True, False])))
    data = frame.serialize(mask=draw(st.sampled_from([True, True, False])))
    return data[:len(data) - draw(st.sampled_from([0, 0, 0, 1, 5]))] + draw(st.sampled_from([b"", b"", b"x"]))


STEPS = st.lists(st.one_of(
    st.tuples(st.just("room"), st.sampled_from([0, 1, 640, 5_000, 200_000])),
    st.tuples(st.just("take"), st.binary(max_size=700)),
    st.tuples(st.just("take_frame"), st.one_of(frames(), st.binary(max_size=20))),
    st.tuples(st.just("drain"), st.binary(max_size=9)),
    st.tuples(st.just("look"), st.none()),
), max_size=30)


def done(hold: PlainHold, steps: list) -> list:
    """What each step gives, and how the hold stands after it."""
    given_back = []
    for name, argument in steps:
        if name == "room":
            hold.room = argument
            answer = None
        elif name == "look":
            answer, hold.fresh = hold.fresh, False
        else:
            answer = getattr(hold, name)(argument)
        given_back.append((answer, hold.room, hold.size, hold.fresh))
    return given_back


@compiled
def test_it_is_compiled_where_there_is_a_compiler():
    assert Hold is not PlainHold, "install once more: pip install -e ."


@compiled
@given(steps=STEPS)
def test_the_compiled_one_does_as_the_plain_one(steps):
    assert done(Hold(), steps) == done(PlainHold(), steps)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 7, 125, 126, 1920, 65_535])
def test_a_frames_audio_is_held(kind, size):
    hold = kind()
    hold.room = 2 * size
    frame = Frame(Opcode.BINARY, sound(size)).serialize(mask=True)
    assert hold.take_frame(frame) and hold.take_frame(frame) and not hold.take_frame(frame)
    assert (hold.room, hold.size) == (0, 2 * size)
    assert hold.drain(b"end") == 2 * sound(size) + b"end"
    assert hold.size == 0 and hold.drain() == b""


@pytest.mark.parametrize("kind", [Held, *KINDS])
def test_there_is_no_room_before_it_is_given(kind):
    hold = kind()
    assert hold.fresh and hold.at == 0.0
    assert not hold.take(b"ab") and hold.drain() == b""


@pytest.mark.parametrize("kind", [Held, *KINDS])
def test_what_was_held_does_not_change_with_what_it_came_in(kind):
    hold, audio = kind(), bytearray(b"abcd")
    hold.room = 100
    assert hold.take(audio)
    audio[:] = b"wxyz"
    assert hold.take(memoryview(audio)) and hold.drain() == b"abcdwxyz"


@compiled
def test_the_compiled_one_refuses_what_is_no_frame_and_no_audio():
    hold = Hold()
    with pytest.raises(TypeError):
        hold.take_frame("text")
    with pytest.raises(TypeError):
        hold.take("text")
    with pytest.raises(TypeError):
        hold.drain(b"a", b"b")
