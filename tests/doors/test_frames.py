"""The short way of a usual frame, beside the library's parser."""

from __future__ import annotations

import base64

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import OPEN
from websockets.streams import StreamReader

from stream_server.doors.frames import FrameProtocol, text_frame, whole_binary_frame

LONGEST = 70_000
OPCODES = (Opcode.CONT, Opcode.TEXT, Opcode.BINARY, Opcode.PING)
FRAMES = st.builds(lambda opcode, data, fin: Frame(opcode, data, fin or opcode is Opcode.PING),
                   st.sampled_from(OPCODES), st.binary(max_size=125), st.booleans())
UPGRADE = (b"GET / HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
           b"Sec-WebSocket-Key: " + base64.b64encode(bytes(16)) + b"\r\n\r\n")


def read_by_the_library(data: bytes) -> bytes | None:
    """The payload where the library finds one whole binary message, and nothing behind it."""
    reader = StreamReader()
    reader.feed_data(data)
    try:
        next(Frame.parse(reader.read_exact, mask=True, max_size=LONGEST))
    except StopIteration as done:
        frame = done.value
        usual = frame.opcode is Opcode.BINARY and frame.fin and not (frame.rsv1 or frame.rsv2 or frame.rsv3)
        return bytes(frame.data) if usual and not reader.buffer else None
    except (ProtocolError, PayloadTooBig):
        pass
    return None


@pytest.mark.parametrize("size", [0, 1, 125, 126, 1920, 65_535])
def test_a_usual_frame_is_read(size):
    payload = bytes(n % 251 for n in range(size))
    assert whole_binary_frame(Frame(Opcode.BINARY, payload).serialize(mask=True), LONGEST) == payload


@pytest.mark.parametrize(("size", "longest"), [(1921, 1920), (65_536, LONGEST)])
def test_a_long_one_is_left_to_the_library(size, longest):
    assert whole_binary_frame(Frame(Opcode.BINARY, bytes(size)).serialize(mask=True), longest) is None


@given(frame=FRAMES, mask=st.booleans(), cut=st.integers(0, 20), behind=st.binary(max_size=3))
def test_nothing_else_is_taken_for_one(frame, mask, cut, behind):
    data = frame.serialize(mask=mask)
    data = data[:len(data) - cut] + behind
    assert whole_binary_frame(data, LONGEST) in (None, read_by_the_library(data))


@given(first=st.sampled_from([0x82, 0x02, 0xC2, 0x81, 0x83]), rest=st.binary(max_size=160))
@example(first=0x82, rest=b"\xff" + (117).to_bytes(8, "big") + bytes(4) + bytes(117))
@example(first=0x82, rest=b"\xff" + (119).to_bytes(8, "big") + bytes(4) + bytes(119))
@example(first=0x82, rest=b"\xfe\x00\x03" + bytes(7))
def test_no_bytes_are_read_otherwise_than_by_the_library(first, rest):
    data = bytes([first]) + rest
    assert whole_binary_frame(data, LONGEST) in (None, read_by_the_library(data))


@given(frames=st.lists(FRAMES.filter(lambda frame: frame.opcode is not Opcode.CONT), max_size=4), data=st.data())
def test_the_protocol_knows_where_messages_begin(frames, data):
    protocol = opened()
    assert protocol.between_messages
    for frame in frames:
        sent = frame.serialize(mask=True)
        # The rest of a fragmented message, so that the next one may begin.
        rest = b"" if frame.fin else Frame(Opcode.CONT, b"end").serialize(mask=True)
        whole = sent + rest
        cuts = sorted(data.draw(st.lists(st.integers(1, len(whole) - 1), max_size=4)))
        for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
            if begin == end:
                continue
            protocol.receive_data(whole[begin:end])
            assert protocol.between_messages == (end == len(whole))


def test_before_and_after_the_conversation_no_message_begins():
    protocol = FrameProtocol()
    assert not protocol.between_messages
    protocol = opened()
    protocol.receive_data(Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=True))
    assert not protocol.between_messages


def opened() -> FrameProtocol:
    protocol = FrameProtocol()
    protocol.receive_data(UPGRADE)
    request = protocol.events_received()[0]
    assert isinstance(request, Request)
    protocol.send_response(protocol.accept(request))
    assert protocol.state is OPEN
    return protocol


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65_535, 65_536])
def test_a_text_frame_is_the_librarys(length):
    text = "你" * (length // 3) + "a" * (length % 3)
    assert text_frame(text) == Frame(Opcode.TEXT, text.encode()).serialize(mask=False)
