"""The WebSocket link over real sockets: backpressure in both directions, and how connections end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import uvicorn
import websockets
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from websockets.frames import Frame, Opcode

from stream_server.doors import websocket as door
from stream_server.doors.hold import Hold, PlainHold
from stream_server.doors.link import LinkLost
from stream_server.doors.websocket import SocketLink, Sockets

LONGEST_MESSAGE = 1 << 20
Handler = Callable[[SocketLink], Awaitable[None]]


@asynccontextmanager
async def listening(handler: Handler) -> AsyncIterator[str]:
    """A door whose connections are served by `handler`; its address."""

    async def serve(_: str, link: SocketLink) -> None:
        await handler(link)

    async def hello(_: object) -> PlainTextResponse:
        return PlainTextResponse("hello")

    sockets = Sockets(serve, ["/", "/v1/stream"], LONGEST_MESSAGE, heard=lambda: None)
    config = uvicorn.Config(Starlette(routes=[Route("/", hello)]), http="h11", ws=sockets.protocol, lifespan="off",
                            log_config=None, access_log=False, timeout_graceful_shutdown=1)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    listener = socket.create_server(("127.0.0.1", 0))
    await server.startup([listener])
    try:
        yield f"ws://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        await server.shutdown()
        await asyncio.gather(*sockets.handler_tasks, return_exceptions=True)


async def echo(link: SocketLink) -> None:
    try:
        while True:
            message = await link.receive()
            await link.send(message if isinstance(message, str) else f"{len(message)} bytes")
    except LinkLost:
        await link.close(1000, "")


async def test_messages_go_both_ways() -> None:
    async with listening(echo) as url, websockets.connect(url) as client:
        await client.send("text")
        await client.send(b"\0" * 1000)
        assert [await client.recv(), await client.recv()] == ["text", "1000 bytes"]


@pytest.mark.parametrize("kind", sorted({PlainHold, Hold}, key=lambda kind: kind.__module__))
@pytest.mark.parametrize("room", [0, 5, 1000])
async def test_audio_is_whole_and_in_order_however_it_is_cut(kind: type[Hold], room: int) -> None:
    heard: list[str | bytes] = []
    hold = kind()

    def take(audio: bytes) -> Hold:
        heard.append(hold.drain(audio))
        hold.room = room
        return hold

    async def listen(link: SocketLink) -> None:
        link.offer_bytes(take)
        while True:
            heard.append(await link.receive())
            await link.send("heard")

    within = Frame(Opcode.BINARY, b"no message").serialize(mask=True)
    no_mask = bytes(4)
    cut = b"\x82" + bytes([0x80 | len(within)]) + no_mask
    started, ended = Frame(Opcode.BINARY, b"be", fin=False), Frame(Opcode.CONT, b"gun")
    parts = [Frame(Opcode.BINARY, b"whole").serialize(mask=True), cut, within,
             started.serialize(mask=True), ended.serialize(mask=True),
             *(Frame(Opcode.BINARY, audio).serialize(mask=True) for audio in (b"more", b"longer", b"last"))]
    async with listening(listen) as url, websockets.connect(url, ping_interval=None) as client:
        for part in parts:
            client.transport.write(part)
            await asyncio.sleep(0.05)
        await client.recv()
        await client.send("end")
        await client.recv()
    assert heard.pop() == "end"
    if not room:
        assert heard == [b"whole", within, b"begun", b"more", b"longer", b"last"]
    assert b"".join(heard) + hold.drain() == b"whole" + within + b"begunmorelongerlast"


async def test_funasrs_subprotocol_is_taken_and_others_are_not() -> None:
    async with listening(echo) as url:
        async with websockets.connect(url, subprotocols=["other", "binary"]) as client:
            assert client.subprotocol == "binary"
        async with websockets.connect(url, subprotocols=["other"]) as client:
            assert client.subprotocol is None


async def test_another_path_is_told_where_the_sockets_are() -> None:
    async with listening(echo) as url:
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with websockets.connect(f"{url}/nowhere"):
                pass
    assert refused.value.response.status_code == 404
    assert b"/v1/stream" in refused.value.response.body


async def test_a_message_too_large_closes_with_1009_and_its_limit() -> None:
    async with listening(echo) as url:
        client = await websockets.connect(url)
        # Larger than what the kernel takes in one go: the close frame must survive the client's still sending.
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await client.send(b"\0" * (20 << 20))
            await client.recv()
    assert closed.value.rcvd.code == 1009
    assert str(LONGEST_MESSAGE) in closed.value.rcvd.reason


async def test_text_that_is_no_utf8_closes_with_1007() -> None:
    async with listening(echo) as url, websockets.connect(url) as client:
        await client.send(b"\xff\xfe", text=True)
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await client.recv()
    assert closed.value.rcvd.code == 1007


async def test_nothing_is_read_while_nobody_asks() -> None:
    asked = asyncio.Event()

    async def sleepy(link: SocketLink) -> None:
        await asked.wait()
        await echo(link)

    sent = 0

    async def pour(client: websockets.ClientConnection) -> None:
        nonlocal sent
        while sent < 400:
            await client.send(b"\0" * 65536)
            sent += 1

    async with listening(sleepy) as url, websockets.connect(url, write_limit=65536) as client:
        pouring = asyncio.create_task(pour(client))
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.3)
        assert sent < 300, "the kernels' buffers take some; the rest must wait"
        asked.set()
        answers = [await client.recv() for _ in range(400)]
        await pouring
    assert answers == ["65536 bytes"] * 400


async def test_a_send_waits_for_a_client_that_does_not_read() -> None:
    sent = 0
    ended = asyncio.Event()

    async def chatty(link: SocketLink) -> None:
        nonlocal sent
        try:
            async with asyncio.timeout(1):
                while True:
                    await link.send("x" * 10_000)
                    sent += 1
        except TimeoutError:
            link.abort()
        ended.set()

    async with listening(chatty) as url, websockets.connect(url, max_queue=1) as client:
        await asyncio.wait_for(ended.wait(), 5)
        assert sent * 10_000 < 16 << 20
        with pytest.raises(websockets.ConnectionClosed):
            while True:
                await client.recv()


async def test_a_close_is_heard_although_audio_waits_unread() -> None:
    async def leave(link: SocketLink) -> None:
        await asyncio.sleep(0.5)
        await link.close(1013, "r" * 300)

    async with listening(leave) as url, websockets.connect(url) as client:
        with pytest.raises(websockets.ConnectionClosed) as closed:
            while True:
                await client.send(b"\0" * 65536)
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1013, "r" * 123)


async def test_a_vanished_client_is_noticed_by_whoever_does_not_read() -> None:
    noticed = asyncio.Event()

    async def waiting(link: SocketLink) -> None:
        await link.lost
        noticed.set()

    async with listening(waiting) as url:
        client = await websockets.connect(url)
        client.transport.abort()
        await asyncio.wait_for(noticed.wait(), 5)


@pytest.fixture
def quick_pings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "PING_INTERVAL_S", 0.2)
    monkeypatch.setattr(door, "PONG_TIMEOUT_S", 0.4)


@pytest.mark.usefixtures("quick_pings")
async def test_a_client_that_answers_no_ping_is_closed() -> None:
    lost = asyncio.Event()

    async def waiting(link: SocketLink) -> None:
        await link.lost
        lost.set()

    async with listening(waiting) as url, websockets.connect(url, ping_interval=None) as client:
        client.transport.pause_reading()
        await asyncio.wait_for(lost.wait(), 10)
        client.transport.abort()


@pytest.mark.usefixtures("quick_pings")
async def test_a_client_whose_pongs_wait_behind_unread_audio_is_kept() -> None:
    async def sleepy(link: SocketLink) -> None:
        await asyncio.sleep(2)
        await echo(link)

    async with listening(sleepy) as url, websockets.connect(url, ping_interval=None) as client:
        for _ in range(20):
            await client.send(b"\0" * 100)
        assert [await client.recv() for _ in range(20)] == ["100 bytes"] * 20


async def test_a_handler_that_fails_ends_its_connection_only(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(link: SocketLink) -> None:
        if await link.receive() == "fail":
            raise RuntimeError("on purpose")
        await echo(link)

    async with listening(fail) as url, websockets.connect(url) as healthy, websockets.connect(url) as failing:
        await failing.send("fail")
        with pytest.raises(websockets.ConnectionClosed):
            await failing.recv()
        await healthy.send("first")
        await healthy.send("second")
        assert await healthy.recv() == "second"
    assert "on purpose" in caplog.text
