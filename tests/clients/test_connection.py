"""The library against a real socket."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from stream_client import (
    ConnectionFailed,
    Ended,
    Event,
    Final,
    Flushed,
    MediaError,
    Partial,
    Ready,
    ServerError,
    Wishes,
    connect,
    transcribe,
    transcribe_file,
)
from stream_client.connection import complete_url
from tests.clients.certificate import write_certificate
from tests.clients.scripted_server import Script, scripted_server
from tests.clients.sounds import write_audio

BLOCK = bytes(1920)


async def blocks(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield BLOCK


async def collect(events: AsyncIterator[Event]) -> list[Event]:
    return [event async for event in events]


async def test_a_session_from_ready_to_ended() -> None:
    async with scripted_server(Script()) as url:
        events = await collect(transcribe(blocks(35), url=url))
    assert [type(event) for event in events] == [Ready, Partial, Partial, Partial, Final, Ended]
    assert events[0].model == "scripted"
    assert events[4] == Final(segment=0, text="今天天气很好。", revision=4, start_ms=0, end_ms=1800, reason="silence",
                              tokens=(("今", 0, 300),))
    assert events[-1].received_ms == 35 * 60


async def test_a_session_that_the_server_ends_early_is_no_success() -> None:
    events: list[Event] = []
    async with scripted_server(Script(end_after_bytes=10 * len(BLOCK))) as url:
        with pytest.raises(ConnectionFailed, match="ended the session before all audio was sent"):
            async for event in transcribe(endless_blocks(), url=url):
                events.append(event)
    assert isinstance(events[-1], Ended)


async def endless_blocks() -> AsyncIterator[bytes]:
    while True:
        yield BLOCK
        await asyncio.sleep(0.001)


async def test_send_flush_and_stop_by_hand() -> None:
    script = Script()
    async with scripted_server(script) as url, connect(url, wishes=Wishes(name="call 7")) as stream:
        assert stream.ready.window == {"hop_ms": 600}
        await stream.send(bytes(19_200))
        await stream.flush("here")
        await stream.stop()
        events = await collect(stream)
    assert [type(event) for event in events] == [Ready, Partial, Final, Flushed, Ended]
    assert events[3].id == "here"
    assert [seen["type"] for seen in script.seen] == ["start", "flush", "stop"]
    assert script.seen[0]["name"] == "call 7"


async def test_a_file_keeps_every_sample(tmp_path: Path) -> None:
    script = Script()
    path = write_audio(tmp_path / "speech.wav", "pcm_s16le", seconds=2.0)
    async with scripted_server(script) as url:
        events = await collect(transcribe_file(path, url=url))
    assert isinstance(events[-1], Ended)
    assert bytes(script.sound) == path.read_bytes()[-64_000:]
    assert script.seen[0]["name"] == "speech.wav"


async def test_a_file_that_cannot_be_read_opens_no_session(tmp_path: Path) -> None:
    script = Script()
    async with scripted_server(script) as url:
        with pytest.raises(MediaError):
            await collect(transcribe_file(tmp_path / "away.wav", url=url))
    assert script.seen == []


async def test_damage_in_a_source_still_gives_what_came_before() -> None:
    async def failing() -> AsyncIterator[bytes]:
        async for block in blocks(12):
            yield block
        raise MediaError("damaged from here")

    events = []
    async with scripted_server(Script()) as url:
        with pytest.raises(MediaError, match="damaged from here"):
            async for event in transcribe(failing(), url=url):
                events.append(event)
    assert [type(event) for event in events] == [Ready, Partial, Final, Ended]


@pytest.mark.parametrize("python_style", [True, False])
async def test_funasr_gives_the_same_events(python_style: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_client.dialects.FunasrDialect.GRACE_S", 0.2)
    script = Script(funasr_python_style=python_style)
    async with scripted_server(script, select_subprotocol=_binary_if_offered) as url:
        native = await collect(transcribe(blocks(45), url=url))
        funasr = await collect(transcribe(blocks(45), url=url, dialect="funasr"))
    assert script.subprotocols == [None, "binary"]
    assert texts(funasr) == texts(native)
    assert [type(event) for event in funasr] == [type(event) for event in native]
    assert funasr[-1] == Ended(received_ms=45 * 60, segments=2)


async def test_events_are_read_while_sending() -> None:
    """A server that talks much more than it hears: without a reader both sides would wait for ever."""
    script = Script(partials_per_message=200)
    async with scripted_server(script, write_limit=1_024) as url, asyncio.timeout(20):
        events = await collect(transcribe(blocks(300), url=url))
    assert isinstance(events[-1], Ended)
    assert len(events) > 60_000


async def test_a_slow_server_holds_the_source_back() -> None:
    taken = 0

    async def counted() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(2_000):
            taken += 1
            yield bytes(64_000)

    script = Script(read_pause_s=0.05)
    async with scripted_server(script, max_queue=1) as url, connect(url) as stream:
        reader = asyncio.create_task(collect(stream.transcribe(counted())))
        await asyncio.sleep(0.5)
        reader.cancel()
        await asyncio.wait([reader])
    assert 0 < taken < 400


async def test_a_refusal_tells_what_is_allowed() -> None:
    refusal = {"code": "bad_field", "message": "hop_size is out of range", "field": "hop_size", "value": "7",
               "allowed": "960 to 38400", "fatal": True}
    async with scripted_server(Script(refuse=refusal)) as url:
        with pytest.raises(ServerError) as caught:
            await collect(transcribe(blocks(1), url=url))
    error = caught.value
    assert (error.code, error.field, error.value, error.allowed) == ("bad_field", "hop_size", "7", "960 to 38400")


async def test_a_refusal_that_is_not_fatal_ends_the_opening_too() -> None:
    refusal = {"code": "bad_field", "message": "no such vad", "fatal": False, "field": "vad"}
    async with scripted_server(Script(refuse=refusal)) as url:
        with pytest.raises(ServerError, match="no such vad") as caught:
            await collect(transcribe(blocks(1), url=url))
    assert caught.value.field == "vad"


async def test_a_lost_connection_is_told_after_what_came_before() -> None:
    events = []
    async with scripted_server(Script(close_after_bytes=40_000)) as url:
        with pytest.raises(ConnectionFailed, match="lost before the end.*1011 the engine is away"):
            async for event in transcribe(blocks(1_000), url=url):
                events.append(event)
    assert [type(event) for event in events] == [Ready, Partial, Partial]


async def test_a_full_server_says_when_to_come_back() -> None:
    async with scripted_server(Script(close_after_bytes=1, close_code=1013)) as url:
        with pytest.raises(ServerError) as caught:
            await collect(transcribe(blocks(1_000), url=url))
    assert caught.value.code == "overloaded"

    async with raw_server(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n") as url:
        with pytest.raises(ServerError) as caught:
            await collect(transcribe(blocks(1), url=url))
    assert caught.value.retry_after_s == 7


async def test_no_server_says_how_to_start_it(unused_port: int) -> None:
    with pytest.raises(ConnectionFailed, match="connection refused.*stream-server serve"):
        await collect(transcribe(blocks(1), url=f"ws://127.0.0.1:{unused_port}"))


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "no such path"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "HTTP 200"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not answer as a speech recognition server"),
        (b"", "does not answer as a speech recognition server"),
    ],
)
async def test_other_servers_are_recognised_as_such(answer: bytes, says: str) -> None:
    async with raw_server(answer) as url:
        with pytest.raises(ConnectionFailed, match=says):
            await collect(transcribe(blocks(1), url=url))


async def test_tls_needs_a_known_certificate(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    async with scripted_server(Script(), ssl=context) as url:
        assert isinstance((await collect(transcribe(blocks(1), url=url, cafile=certificate)))[-1], Ended)
        assert isinstance((await collect(transcribe(blocks(1), url=url, insecure=True)))[-1], Ended)
        https = url.replace("wss:", "https:")
        assert isinstance((await collect(transcribe(blocks(1), url=https, cafile=certificate)))[-1], Ended)
        with pytest.raises(ConnectionFailed, match="not trusted.*--insecure"):
            await collect(transcribe(blocks(1), url=url))


async def test_wss_to_a_port_without_tls_says_so() -> None:
    async with scripted_server(Script()) as url:
        with pytest.raises(ConnectionFailed, match="ws:// instead of wss://"):
            await collect(transcribe(blocks(1), url=url.replace("ws:", "wss:")))


async def test_ws_to_a_port_with_tls_says_so(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*write_certificate(tmp_path))
    async with scripted_server(Script(), ssl=context) as url:
        with pytest.raises(ConnectionFailed, match="wss:// instead of ws://"):
            await collect(transcribe(blocks(1), url=url.replace("wss:", "ws:")))


async def test_an_unreadable_file_of_certificates_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConnectionFailed, match="not a readable file of certificates"):
        connect("wss://127.0.0.1:1", cafile=tmp_path / "away.pem")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("ws://host:10095", "ws://host:10095/v1/stream"),
        ("ws://host:10095/", "ws://host:10095/v1/stream"),
        ("host:10095", "ws://host:10095/v1/stream"),
        ("http://host", "ws://host/v1/stream"),
        ("https://host/asr?room=3", "wss://host/asr?room=3"),
    ],
)
def test_addresses_are_completed(written: str, meant: str) -> None:
    assert complete_url(written, "/v1/stream") == meant


@pytest.mark.parametrize("wrong", ["ftp://host", "ws://", "://", "ws://host:70000", "ws://host:http", "ws://[::1"])
def test_addresses_that_are_none_are_refused(wrong: str) -> None:
    with pytest.raises(ConnectionFailed, match="no address"):
        complete_url(wrong, "/")


def _binary_if_offered(connection: object, offered: Sequence[str]) -> str | None:
    return "binary" if "binary" in offered else None


def texts(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Partial | Final)]


@asynccontextmanager
async def raw_server(answer: bytes) -> AsyncIterator[str]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
