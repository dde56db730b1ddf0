"""A client whose connection is cut: what it sends again, and that its user notices nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_client import ConnectionFailed, Ended, Event, Final, Flushed, Partial, Speech, connect
from stream_client.resuming import Heard, Sent
from tests.clients.scripted_server import Script, scripted_server
from tests.doors.test_webrtc import recording
from tests.support.proxy import proxy
from tests.support.server import Server

BLOCK_BYTES = 3_200


@settings(max_examples=25, deadline=None)
@given(messages=st.lists(st.one_of(st.binary(min_size=1, max_size=9), st.text(max_size=2)), max_size=30),
       taken=st.integers(0, 30), cuts=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 9)), max_size=4))
def test_the_server_gets_each_byte_and_text_once_and_in_order(messages, taken, cuts) -> None:
    sent, server = Sent(), Ear()
    for message in messages:
        sent.put(message)
    for count, part in cuts:
        for _ in range(count):
            if (message := sent.take()) is not None:
                server.take(message)
        # The last one is on its way when the connection breaks: some of it may arrive.
        if (message := sent.take()) is not None:
            server.take(message[:part] if isinstance(message, bytes) else message)
        sent.rewind(*server.lose_connection())
    while (message := sent.take()) is not None:
        server.take(message)
    whole = Ear(messages)
    assert (server.audio, server.texts) == (whole.audio, whole.texts)


class Ear:
    """What a server keeps of what it is sent: audio in whole samples, and each text with the samples before it."""

    def __init__(self, messages: list[bytes | str] = ()) -> None:
        self.audio = b""
        self.texts: list[tuple[int, str]] = []
        for message in messages:
            self.take(message)

    def take(self, message: bytes | str) -> None:
        if isinstance(message, bytes):
            self.audio += message
        else:
            self.texts.append((len(self.audio) // 2, message))

    def lose_connection(self) -> tuple[int, int]:
        """Half a sample is forgotten; how much there is."""
        self.audio = self.audio[:len(self.audio) // 2 * 2]
        return len(self.audio) // 2, len(self.texts)


def test_audio_that_is_not_kept_any_more_is_told() -> None:
    sent = Sent(kept_s=1)
    for _ in range(30):
        sent.put(bytes(BLOCK_BYTES))
        sent.take()
    sent.rewind(20 * BLOCK_BYTES // 2, 0)
    assert sent.take() == bytes(BLOCK_BYTES)
    with pytest.raises(ConnectionFailed, match="more than 1 s"):
        sent.rewind(15 * BLOCK_BYTES // 2, 0)


def test_what_is_said_again_is_heard_once() -> None:
    heard = Heard()
    heard.flush("")
    heard.flush("")
    said: list[Event] = [Speech(segment=0), Partial(segment=0, revision=1, text="a"), Final(segment=0, text="a"),
                         Flushed(), Speech(segment=1), Partial(segment=1, revision=1, text="b")]
    assert all(heard.is_new(event) for event in said)
    assert heard.finals == 1
    again = [event for event in said if heard.is_new(event)]
    # Of two flushes with one name, which of them is answered makes no difference to who waits for both.
    assert again == [Flushed()]
    assert heard.is_new(Partial(segment=1, revision=2, text="bc")) and heard.is_new(Ended())


async def blocks(audio: bytes, pause_s: float = 0.0) -> AsyncIterator[bytes]:
    for start in range(0, len(audio), BLOCK_BYTES):
        yield audio[start:start + BLOCK_BYTES]
        await asyncio.sleep(pause_s)


async def events(url: str, audio: bytes, **options: float) -> list[Event]:
    async with connect(url) as stream:
        return [event async for event in stream.transcribe(blocks(audio, **options))]


def test_the_answer_to_a_flush_is_new_though_one_before_it_was_refused() -> None:
    heard = Heard()
    for id in ("a", "refused", "c"):
        heard.flush(id)
    assert [heard.is_new(Flushed(id=id)) for id in ("a", "c", "a", "c")] == [True, True, False, False]


async def test_a_session_survives_its_connections(server: Server) -> None:
    audio = recording("meeting").tobytes()
    expected = await events(server.url, audio)
    async with proxy(server.url) as network:
        network.cut_at = [len(audio) // 3, len(audio) // 2, len(audio)]
        heard = await events(f"ws://127.0.0.1:{network.port}", audio, pause_s=0.005)
    assert network.connections == 4
    assert [event for event in heard if isinstance(event, Final | Ended)] == \
        [event for event in expected if isinstance(event, Final | Ended)]
    speech = [event.segment for event in heard if isinstance(event, Speech)]
    assert speech == sorted(set(speech))


async def test_a_server_that_waits_for_nobody_is_not_asked_again() -> None:
    async with scripted_server(Script()) as url, proxy(url) as network:
        network.cut_at = [20_000]
        with pytest.raises(ConnectionFailed, match="lost before the end"):
            await events(f"ws://127.0.0.1:{network.port}", bytes(100_000))
    assert network.connections == 1


@pytest.mark.parametrize("code", [1011, 1012])
async def test_a_server_that_gave_the_connection_up_is_asked_for_the_session(code: int) -> None:
    """Its pings were not answered, or its door has ended."""
    sound, script = bytes(range(256)) * 400, Script(resume_s=5, close_after_bytes=40_000, close_code=code)
    async with scripted_server(Script()) as url:
        expected = await events(url, sound)
    async with scripted_server(script) as url:
        heard = await events(url, sound)
    assert [event for event in heard if isinstance(event, Final | Ended)] == \
        [event for event in expected if isinstance(event, Final | Ended)]
    assert script.sound == sound and len(script.subprotocols) == 2
    assert script.seen[1] == {"type": "resume", "token": "door-0.x", "segments": 0}


async def test_a_session_that_is_gone_is_told_with_the_reason_of_both() -> None:
    script = Script(resume_s=5, close_after_bytes=40_000, close_code=1011, forgets=True)
    async with scripted_server(script) as url:
        with pytest.raises(ConnectionFailed, match=r"\(1011 the engine is away\), and the session is lost with it: no "
                                                   "session can be resumed by this token"):
            await events(url, bytes(100_000))
    assert len(script.subprotocols) == 2


@pytest.mark.parametrize("code", [1008, 4000, 4001])
async def test_a_server_that_means_the_end_is_not_asked_again(code: int) -> None:
    script = Script(resume_s=5, close_after_bytes=40_000, close_code=code)
    async with scripted_server(script) as url:
        with pytest.raises(ConnectionFailed, match=rf"lost before the end \({code} the engine is away\)$"):
            await events(url, bytes(100_000))
    assert len(script.subprotocols) == 1


async def test_a_client_that_gives_the_connection_up_gets_its_session_back(server: Server) -> None:
    """As the library does whose pings stay unanswered."""
    audio = recording("meeting").tobytes()
    expected = await events(server.url, audio)
    async with connect(server.url) as stream:
        heard = []
        async for event in stream.transcribe(blocks(audio, pause_s=0.005)):
            if isinstance(event, Partial) and not any(isinstance(each, Partial) for each in heard):
                await stream._socket.close(1011, "keepalive ping timeout")
            heard.append(event)
    assert [event for event in heard if isinstance(event, Final | Ended)] == \
        [event for event in expected if isinstance(event, Final | Ended)]
