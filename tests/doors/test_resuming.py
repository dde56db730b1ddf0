"""Connections that break, over real sockets: the session goes on by another one, through whichever door it comes."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import websockets

from tests.doors.conversations import FUNASR, NATIVE, PATIENCE_S, native, pieces
from tests.doors.test_webrtc import recording
from tests.rooms.test_meeting import make
from tests.support.proxy import proxy
from tests.support.server import Server, running_server
from tests.support.viewers import Viewer, socket_at

RESUME_S = 1
TAKEN_OVER = 4001


SOCKETS: list[websockets.ClientConnection] = []


@pytest.fixture(autouse=True)
async def none_left_open() -> AsyncIterator[None]:
    """A connection that a test has no more use for is closed after it."""
    yield
    while SOCKETS:
        SOCKETS.pop().transport.close()


class Caller:
    """A client whose connections break when it says so; `heard` is what it has read by all of them."""

    def __init__(self, url: str, samples: np.ndarray) -> None:
        self.heard: list[dict] = []
        self.ready: dict = {}
        self.door: tuple[Server, str] | None = None
        """The door that takes the next connection, where that matters."""
        self._url = url + NATIVE
        self._audio = samples.astype("<i2").tobytes()

    def at(self, url: str) -> Caller:
        """The same client, by another way."""
        other = Caller(url, np.frombuffer(self._audio, np.int16))
        other.heard, other.ready = self.heard, self.ready
        return other

    def of(self, kind: str) -> list[dict]:
        return [message for message in self.heard if message["type"] == kind]

    async def begin(self, **start: object) -> None:
        await self._connect(type="start", **start)
        await self.read(lambda message: message["type"] == "ready")
        self.ready = self.of("ready")[-1]

    async def send(self, begin: float, end: float) -> None:
        """Part of the sound, from and to a share of it."""
        for piece in self._pieces(round(begin * len(self._audio) / 2), round(end * len(self._audio) / 2)):
            await self.socket.send(piece)

    async def read(self, until: Callable[[dict], bool]) -> dict:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                message = json.loads(await self.socket.recv())
                self.heard.append(message)
                if until(message):
                    return message

    async def cut(self) -> None:
        """Breaks the connection: what was not read is lost, and perhaps some of what was sent."""
        self.socket.transport.abort()
        await self.socket.wait_closed()

    async def resume(self, **fields: object) -> dict:
        await self._connect(**{"type": "resume", "token": self.ready["resume"], "segments": len(self.of("final")),
                               **fields})
        return await self.read(lambda message: message["type"] in ("resumed", "error"))

    async def go_on(self, **fields: object) -> None:
        """Resumes, sends the rest of the sound, and stops."""
        resumed = await self.resume(**fields)
        for piece in self._pieces(resumed["samples"], len(self._audio) // 2):
            await self.socket.send(piece)
        await self.end()

    async def end(self) -> None:
        await self.socket.send(json.dumps({"type": "stop"}))
        await self.read(lambda message: message["type"] == "ended")
        await self.closed(1000)

    async def closed(self, code: int) -> None:
        """Reads on until the server closes, with this code."""
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await self.read(lambda message: False)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == code

    async def _connect(self, **first: object) -> None:
        options = {} if self.door is None else {"sock": await socket_at(*self.door)}
        self.socket = await websockets.connect(self._url, max_size=None, **options)
        SOCKETS.append(self.socket)
        await self.socket.send(json.dumps(first))

    def _pieces(self, begin: int, end: int) -> list[bytes]:
        return pieces(np.frombuffer(self._audio[2 * begin:2 * end], np.int16))


@pytest.fixture(scope="module")
def meeting() -> np.ndarray:
    return recording("meeting")


@pytest.fixture(scope="module")
def expected(server: Server, meeting: np.ndarray) -> list[dict]:
    """The finals of a connection that does not break; short pauses end a segment, so that there are several."""
    return finals(asyncio.run(native(server.url, meeting, end_silence_ms=200)).answers)


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory, served_model: str) -> Iterator[Server]:
    """One door, where two sessions at most wait, and not for long."""
    log = tmp_path_factory.mktemp("hasty") / "log"
    with running_server(log, "--model", served_model, "--threads", "1", "--limits-resume-s", str(RESUME_S),
                        "--limits-most-parked", "2") as running:
        yield running


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, served_model: str) -> Iterator[Server]:
    """Two doors, where sessions do not wait for as long as a test does."""
    log = tmp_path_factory.mktemp("pair") / "log"
    with running_server(log, "--model", served_model, "--threads", "1", "--doors", "2", "--limits-resume-s",
                        "5") as running:
        yield running


def finals(messages: list[dict]) -> list[dict]:
    return [message for message in messages if message["type"] == "final"]


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await asyncio.to_thread(holds):
            await asyncio.sleep(0.05)


async def speaking(server: Server, meeting: np.ndarray, **start: object) -> Caller:
    """A caller amid a sentence."""
    caller = Caller(server.url, meeting)
    await caller.begin(end_silence_ms=200, **start)
    await caller.send(0, 0.5)
    await caller.read(lambda message: message["type"] == "partial")
    return caller


async def broken(server: Server, meeting: np.ndarray, **start: object) -> Caller:
    """A caller whose connection is lost amid a sentence."""
    caller = await speaking(server, meeting, **start)
    await caller.cut()
    return caller


async def carried(server: Server, meeting: np.ndarray) -> Caller:
    """A caller whose session is one door's, and whose connection is the other's."""
    caller = Caller(server.url, meeting)
    caller.door = server, "door-0"
    await caller.begin(end_silence_ms=200)
    await caller.send(0, 0.5)
    await caller.read(lambda message: message["type"] == "partial")
    await caller.cut()
    caller.door = server, "door-1"
    assert (await caller.resume())["type"] == "resumed"
    assert (await asyncio.to_thread(server.metrics))["stream_connections_carried_total"] == 1
    return caller


async def test_cut_amid_a_sentence_it_goes_on_without_losing_or_doubling_a_word(
        server: Server, meeting: np.ndarray, expected: list[dict]) -> None:
    caller = await broken(server, meeting)
    assert caller.ready["resume_s"] == 30 and len(caller.ready["resume"]) > 32
    before = (await caller.resume())["samples"]
    await caller.send(before / len(meeting), 0.8)
    await caller.cut()
    await caller.go_on()
    assert finals(caller.heard) == expected
    assert caller.of("resumed")[0]["session"] == caller.ready["session"]
    assert caller.of("ended")[0]["received_ms"] == len(meeting) // 16


async def test_any_door_takes_it_to_the_one_that_has_the_session(
        server: Server, meeting: np.ndarray, expected: list[dict]) -> None:
    carried = server.metrics()["stream_connections_carried_total"]
    caller = await broken(server, meeting)
    # Two doors share the port, and it is the system's choice which takes a connection.
    for _ in range(40):
        assert (await caller.resume())["type"] == "resumed"
        if (await asyncio.to_thread(server.metrics))["stream_connections_carried_total"] > carried:
            break
        await caller.cut()
    else:
        raise AssertionError("no connection came to the other door")
    await caller.send(caller.of("resumed")[-1]["samples"] / len(meeting), 1)
    await caller.end()
    assert finals(caller.heard) == expected


async def test_who_has_heard_the_end_through_another_door_is_not_waited_for(
        pair: Server, meeting: np.ndarray, expected: list[dict]) -> None:
    caller = await carried(pair, meeting)
    await caller.send(caller.of("resumed")[0]["samples"] / len(meeting), 1)
    await caller.end()
    assert finals(caller.heard) == expected
    await until(lambda: pair.metrics()["stream_sessions_parked"] == 0)
    assert not pair.metrics().get('stream_sessions_expired_total{why="late"}')


async def test_audio_may_be_written_otherwise_on_the_new_connection(
        server: Server, meeting: np.ndarray, expected: list[dict]) -> None:
    caller = await broken(server, meeting)
    resumed = await caller.resume(encoding="pcm_f32le", sample_rate=16_000)
    rest = (meeting[resumed["samples"]:].astype(np.float32) / 32_768).astype("<f4").tobytes()
    for start in range(0, len(rest), 10_000):
        await caller.socket.send(rest[start:start + 10_000])
    await caller.end()
    assert finals(caller.heard) == expected


async def test_a_half_open_connection_is_closed_when_its_session_is_taken_over(
        server: Server, meeting: np.ndarray, expected: list[dict]) -> None:
    caller = Caller(server.url, meeting)
    await caller.begin(end_silence_ms=200)
    await caller.send(0, 0.4)
    first = caller.socket
    await caller.resume()
    second = caller.socket
    await caller.go_on()
    for old in (first, second):
        with pytest.raises(websockets.ConnectionClosed) as closed:
            while True:
                await asyncio.wait_for(old.recv(), PATIENCE_S)
        assert closed.value.rcvd.code == TAKEN_OVER
    assert finals(caller.heard) == expected


async def test_what_was_said_after_stop_is_not_lost_with_the_connection(
        server: Server, meeting: np.ndarray, expected: list[dict]) -> None:
    async with proxy(server.url) as network:
        caller = Caller(f"ws://127.0.0.1:{network.port}", meeting)
        await caller.begin(end_silence_ms=200)
        network.deaf.set()
        said = (await asyncio.to_thread(server.metrics))["stream_finals_sent_total"] + len(expected)
        await caller.send(0, 1)
        await caller.socket.send(json.dumps({"type": "flush", "id": "last"}))
        await caller.socket.send(json.dumps({"type": "stop"}))
        await until(lambda: server.metrics()["stream_finals_sent_total"] == said)
        await caller.cut()
    again = caller.at(server.url)
    resumed = await again.resume()
    assert resumed["samples"] == len(meeting) and resumed["messages"] == 2 and resumed["stopped"]
    await again.read(lambda message: message["type"] == "ended")
    assert [final["text"] for final in finals(again.heard)] == [final["text"] for final in expected]
    assert again.of("flushed")[0]["id"] == "last"
    await again.closed(1000)


async def test_who_says_goodbye_or_wants_it_so_is_not_waited_for(server: Server, meeting: np.ndarray) -> None:
    caller = Caller(server.url, meeting)
    await caller.begin()
    await caller.socket.close()
    assert (await caller.resume())["field"] == "token"
    await caller.closed(1008)
    await caller.begin(resumable=False)
    assert not {"resume", "resume_s"} & set(caller.ready)
    await caller.cut()


@pytest.mark.parametrize("code", [1011, 4000])
async def test_who_took_the_connection_for_dead_is_waited_for(
        server: Server, meeting: np.ndarray, expected: list[dict], code: int) -> None:
    caller = Caller(server.url, meeting)
    await caller.begin(end_silence_ms=200)
    await caller.send(0, 0.4)
    await caller.socket.close(code, "no answer to a ping")
    await caller.go_on()
    assert finals(caller.heard) == expected


async def test_a_session_waits_for_its_time_and_no_longer(hasty: Server, meeting: np.ndarray) -> None:
    caller = await broken(hasty, meeting)
    await until(lambda: hasty.metrics().get('stream_sessions_expired_total{why="late"}') == 1)
    numbers = hasty.metrics()
    assert numbers["stream_sessions_open"] == numbers["stream_sessions_parked"] == 0
    error = await caller.resume()
    assert (error["code"], error["field"], error["fatal"]) == ("bad_field", "token", True)
    await caller.closed(1008)


async def test_where_too_many_wait_the_one_that_has_waited_longest_is_ended(
        hasty: Server, meeting: np.ndarray) -> None:
    callers = [await speaking(hasty, meeting) for _ in range(3)]
    # At once: none is to have waited for its time before there are too many.
    for caller in callers:
        await caller.cut()
    await until(lambda: hasty.metrics().get('stream_sessions_expired_total{why="crowded"}') == 1)
    assert (await callers[0].resume())["type"] == "error"


async def test_others_in_a_room_get_the_last_words_of_who_does_not_come_back(
        hasty: Server, meeting: np.ndarray) -> None:
    room = await make(hasty)
    viewer = await Viewer.connect(hasty.http, room["read"])
    caller = await broken(hasty, meeting, room=room["speak"], name="小王", vad="none")
    await viewer.until(lambda kind, data: kind == "speaker" and data["state"] == "left")
    viewer.close()
    (final,) = viewer.of("final")
    heard = caller.of("partial")[-1]
    assert final["text"] and final["text"].startswith(heard["text"][:heard["stable"]])
    assert [kind for kind, _ in viewer.events if kind in ("final", "speaker")] == ["speaker", "final", "speaker"]
    await until(lambda: hasty.metrics()["stream_sessions_parked"] == 0)


async def test_a_client_of_funasrs_is_never_waited_for(hasty: Server, meeting: np.ndarray) -> None:
    async with websockets.connect(hasty.url + FUNASR, subprotocols=["binary"]) as client:
        await client.send(json.dumps({"mode": "2pass", "chunk_size": [5, 10, 5], "is_speaking": True}))
        for piece in pieces(meeting[:64_000]):
            await client.send(piece)
        await client.recv()
        client.transport.abort()
    await until(lambda: hasty.metrics()["stream_sessions_open"] == 0)


async def test_a_server_that_ends_waits_for_nobody_and_finishes_who_came_to_another_door(
        tmp_path: Path, served_model: str, meeting: np.ndarray) -> None:
    with running_server(tmp_path / "log", "--model", served_model, "--threads", "1", "--doors", "2") as own:
        caller = await carried(own, meeting)
        said = len(caller.of("final"))
        await broken(own, meeting)
        await until(lambda: own.metrics()["stream_sessions_parked"] == 1)
        own.process.send_signal(signal.SIGTERM)
        await caller.read(lambda message: message["type"] == "ended")
        await caller.closed(1001)
        assert len(caller.of("final")) > said
        assert await asyncio.to_thread(own.process.wait, 60) == 0
        assert "did not end" not in own.log and "Traceback" not in own.log
