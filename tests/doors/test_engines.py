"""A server with two engines, both real, on the processor."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import urllib.request
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import websockets
from websockets.asyncio.client import ClientConnection

from tests.doors.conversations import NATIVE, START, STOP, native, pieces
from tests.support.server import Server, running_server

SESSIONS = 4


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("engines") / "log"
    with running_server(log, "--device", "cpu", "--engines", "2", "--slots", "4",
                        "--windows", "0,10,5") as server:
        yield server


def engines(server: Server) -> set[str]:
    """The engines that can be used now."""
    with urllib.request.urlopen(f"{server.http}/health/ready", timeout=10) as answer:
        return set(json.load(answer)["engines"])


async def until(holds: Callable[[], bool], within_s: float = 240) -> None:
    async with asyncio.timeout(within_s):
        while not await asyncio.to_thread(holds):
            await asyncio.sleep(0.05)


async def begin(server: Server, audio: list[bytes]) -> ClientConnection:
    """A session that has had its first partial."""
    client = await websockets.connect(server.url + NATIVE)
    await client.send(START)
    for piece in audio:
        await client.send(piece)
    while json.loads(await client.recv())["type"] != "partial":
        pass
    return client


async def finish(client: ClientConnection, audio: list[bytes]) -> list[dict]:
    """Says the rest; all that is answered."""
    for piece in [*audio, STOP]:
        await client.send(piece)
    answers = []
    async with asyncio.timeout(60):
        while not answers or answers[-1]["type"] != "ended":
            answers.append(json.loads(await client.recv()))
    await client.close()
    return answers


async def test_sessions_are_spread_and_those_of_a_killed_engine_go_on_at_the_other(server: Server,
                                                                                 utterance: np.ndarray) -> None:
    await until(lambda: engines(server) == {"engine-0", "engine-1"})
    alone = (await native(server.url, utterance)).texts
    audio = pieces(utterance)
    half = len(audio) // 2
    clients = await asyncio.gather(*(begin(server, audio[:half]) for _ in range(SESSIONS)))
    await until(lambda: server.metrics().get("stream_engine_sessions") == SESSIONS)
    (killed,) = server.process_ids("engine-1")
    os.kill(killed, signal.SIGKILL)
    await until(lambda: engines(server) == {"engine-0"})
    # Two of its four places were free: it takes in those of the other at once.
    await until(lambda: server.metrics().get("stream_engine_sessions") == SESSIONS)
    heard = await asyncio.gather(*(finish(client, audio[half:]) for client in clients))
    for answers in heard:
        assert [answer["text"] for answer in answers if answer["type"] == "final"] == alone
        assert answers[-1]["dropped_ms"] == 0
        assert not any(answer["type"] == "error" for answer in answers)
    await until(lambda: engines(server) == {"engine-0", "engine-1"})
    assert server.process_ids("engine-1") not in ([], [killed])


async def test_it_takes_as_many_sessions_as_all_engines_have_places_for(server: Server) -> None:
    await until(lambda: engines(server) == {"engine-0", "engine-1"})
    await until(lambda: server.metrics().get("stream_engine_sessions") == 0)
    clients = [await websockets.connect(server.url + NATIVE) for _ in range(9)]
    for client in clients:
        await client.send(START)
    first = [json.loads(await client.recv()) for client in clients]
    assert sorted(answer["type"] for answer in first) == ["error"] + ["ready"] * 8
    assert [answer["code"] for answer in first if answer["type"] == "error"] == ["overloaded"]
    for client in clients:
        await client.close()
