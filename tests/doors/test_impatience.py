"""A server that soon loses patience, and speaks TLS with a certificate of its own."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import websockets

from tests.doors.conversations import FUNASR, NATIVE, START, STOP, converse, pieces, speech
from tests.support.server import Server, running_server

PATIENCE_S = 2.0


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory, small_model: Path) -> Iterator[Server]:
    room = tmp_path_factory.mktemp("hasty")
    timeouts = [part for name in ("start", "idle", "write") for part in (f"--limits-{name}-timeout-s", str(PATIENCE_S))]
    options = ["--model", str(small_model), "--threads", "1", "--slots", "3", "--tls", "auto", *timeouts]
    with running_server(room / "log", *options, XDG_STATE_HOME=str(room)) as server:
        server.trust = ssl.create_default_context(cafile=room / "stream-server" / "certificate.pem")
        yield server


async def test_both_dialects_are_served_over_tls(hasty: Server, utterance: np.ndarray) -> None:
    assert hasty.url.startswith("wss://")
    ours = await converse(hasty.url + NATIVE, [START, *pieces(utterance), STOP], context=hasty.trust)
    theirs = await converse(hasty.url + FUNASR, [*pieces(utterance), json.dumps({"is_speaking": False})],
                            until=lambda answer: answer["is_final"], context=hasty.trust)
    assert ours.texts == theirs.texts != []


def test_health_is_served_over_tls(hasty: Server) -> None:
    with urllib.request.urlopen(f"{hasty.http}/health/ready", context=hasty.trust, timeout=10) as answer:
        assert answer.status == 200


async def test_a_message_too_large_is_told_over_tls_too(hasty: Server) -> None:
    heard = await converse(hasty.url + NATIVE, [START, b"\0" * (20 << 20)], context=hasty.trust)
    assert heard.code == 1009


@pytest.mark.parametrize("path", [NATIVE, FUNASR])
async def test_a_client_that_never_begins_is_let_go(hasty: Server, path: str) -> None:
    heard = await converse(hasty.url + path, [], context=hasty.trust)
    assert (heard.code, heard.reason) == (1008, "nothing came for 2 s")
    said = heard.answers[-1].get("error", heard.answers[-1])
    assert said["code"] == "start_timeout"


async def test_a_client_that_falls_silent_gets_its_final_first(hasty: Server, utterance: np.ndarray) -> None:
    heard = await converse(hasty.url + NATIVE, [START, *pieces(utterance)], context=hasty.trust)
    kinds = [answer["type"] for answer in heard.answers]
    assert heard.of("error")[0]["code"] == "idle_timeout"
    assert kinds[-2:] == ["final", "ended"]
    assert heard.code == 1000


async def test_a_client_whose_messages_are_small_and_held_is_not_taken_for_silent(hasty: Server) -> None:
    async with websockets.connect(hasty.url + NATIVE, ssl=hasty.trust) as client:
        await client.send(START)
        for message in [b"\0" * 1920, *[b"\0\0"] * 12]:
            await asyncio.sleep(PATIENCE_S / 6)
            await client.send(message)
        await client.send(STOP)
        said = [json.loads(text)["type"] async for text in client]
    assert said == ["ready", "ended"]


async def test_a_funasr_client_that_stays_after_its_utterance_is_let_go(hasty: Server, utterance: np.ndarray) -> None:
    heard = await converse(hasty.url + FUNASR, [*pieces(utterance), json.dumps({"is_speaking": False})],
                           context=hasty.trust)
    assert heard.texts != []
    assert (heard.answers[-1]["error"]["code"], heard.code) == ("idle_timeout", 1008)


async def test_a_client_for_whom_there_is_no_room_is_told_when_to_come_back(hasty: Server,
                                                                            utterance: np.ndarray) -> None:
    async def opened() -> websockets.ClientConnection:
        client = await websockets.connect(hasty.url + NATIVE, ssl=hasty.trust)
        await client.send(START)
        assert json.loads(await client.recv())["type"] == "ready"
        return client

    clients = [await opened() for _ in range(3)]
    refused = await converse(hasty.url + NATIVE, [START, *pieces(utterance)], context=hasty.trust)
    assert [(a["code"], a["fatal"], a["retry_after_s"]) for a in refused.answers] == [("overloaded", True, 5)]
    assert (refused.code, refused.reason) == (1013, f"{refused.answers[0]['message']}; try again in 5 s")
    theirs = await converse(hasty.url + FUNASR, pieces(utterance), context=hasty.trust)
    assert theirs.answers[-1]["error"]["code"] == "overloaded"
    assert theirs.code == 1013
    for client in clients:
        await client.close()


async def test_a_client_that_never_reads_is_cut(hasty: Server) -> None:
    """It is owed more than the kernels will hold: each of its messages is answered."""
    client = await websockets.connect(hasty.url + NATIVE, ssl=hasty.trust, max_queue=1, ping_interval=None)
    with pytest.raises(websockets.ConnectionClosed):
        async with asyncio.timeout(30):
            while True:
                await client.send("{" * 1000)
    client.transport.close()
    assert client.close_code == 1006
    assert "read nothing for 2 s: cut" in hasty.log


async def test_a_socket_that_says_nothing_at_all_is_closed(hasty: Server) -> None:
    host, port = hasty.url.removeprefix("wss://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as silent, \
            hasty.trust.wrap_socket(silent, server_hostname=host) as wrapped:
        assert await asyncio.to_thread(wrapped.recv, 1) == b""


async def test_a_slow_client_gets_every_final(hasty: Server) -> None:
    """Read at a trickle, sent at full speed: partials may be left out, finals not."""
    samples = np.tile(np.concatenate([speech(1.5), np.zeros(20_000, np.int16)]), 5)
    answers = []
    client = await websockets.connect(hasty.url + NATIVE, ssl=hasty.trust, max_queue=1)

    async def send() -> None:
        for message in [START, *pieces(samples), STOP]:
            await client.send(message)

    sending = asyncio.create_task(send())
    async with asyncio.timeout(60):
        while not answers or answers[-1]["type"] != "ended":
            await asyncio.sleep(0.02)
            answers.append(json.loads(await client.recv()))
    await sending
    await client.close()
    finals = [answer["segment"] for answer in answers if answer["type"] == "final"]
    assert finals == list(range(answers[-1]["segments"]))
