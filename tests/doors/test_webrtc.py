"""A real server and a real WebRTC client, over networks that lose, delay and turn around."""

from __future__ import annotations

import asyncio
import json
import random
import wave
from pathlib import Path

import numpy as np
import pytest

from tests.doors.conversations import native
from tests.support.server import Server
from tests.support.speaker import RATE, Heard, Packets, Recording, Speaker, request

SAMPLES = Path(__file__).parents[2] / "samples"


def recording(name: str) -> np.ndarray:
    with wave.open(str(SAMPLES / f"{name}.wav")) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


@pytest.fixture(scope="module")
def meeting() -> np.ndarray:
    return recording("meeting")


@pytest.fixture(scope="module")
def by_socket(server: Server, meeting: np.ndarray) -> list[dict]:
    """The finals that a WebSocket gets for the same recording."""
    return asyncio.run(native(server.url, meeting)).of("final")


def middles(finals: list[dict]) -> list[float]:
    return [(start + end) / 2 for final in finals for _, start, end in final["tokens"]]


def check_same(heard: Heard, expected: list[dict], within_ms: float) -> None:
    assert heard.texts == [final["text"] for final in expected]
    apart = np.subtract(middles(heard.of("final")), middles(expected))
    assert np.abs(apart).max() <= within_ms, apart


def shuffled(depth: int, seed: int) -> Packets:
    """Each packet waits for up to `depth` others to go before it."""
    chance, waiting = random.Random(seed), []

    def pass_on(number: int, data: bytes) -> list[bytes]:
        waiting.append((number + chance.randint(0, depth), number, data))
        waiting.sort()
        ready = [each for each in waiting if each[0] <= number]
        del waiting[:len(ready)]
        return [data for _, _, data in ready]

    return pass_on


def lossy(share: float, seed: int) -> Packets:
    chance = random.Random(seed)
    return lambda number, data: [] if chance.random() < share else [data]


async def test_the_text_and_its_times_are_the_websockets(server: Server, meeting: np.ndarray,
                                                         by_socket: list[dict]) -> None:
    heard = await Speaker(server.http, Recording(meeting)).speak()
    check_same(heard, by_socket, within_ms=60)
    assert heard.of("ready")[0]["sample_rate"] == RATE
    assert heard.answers[-1] == {"type": "closing", "code": 1000, "reason": ""}
    ended = heard.of("ended")[0]
    assert ended["received_ms"] >= len(meeting) / 16
    assert ended["received_ms"] == sum(ended[f"{fate}_ms"] for fate in ("recognised", "silent", "dropped"))


async def test_packets_out_of_order_change_nothing(server: Server, meeting: np.ndarray,
                                                   by_socket: list[dict]) -> None:
    heard = await Speaker(server.http, Recording(meeting), shuffled(4, seed=1)).speak()
    check_same(heard, by_socket, within_ms=60)


async def test_words_keep_their_times_when_packets_are_lost(server: Server, meeting: np.ndarray,
                                                            by_socket: list[dict]) -> None:
    # A fifth of a second is lost amid the sentence: a word may go, none may move.
    heard = await Speaker(server.http, Recording(meeting), lambda n, data: [] if 150 <= n < 160 else [data]).speak()
    text, expected = heard.texts[-1], by_socket[-1]["text"]
    assert text[:4] == expected[:4] and text[-4:] == expected[-4:]
    apart = np.subtract(middles(heard.of("final"))[-4:], middles(by_socket)[-4:])
    assert np.abs(apart).max() <= 100, apart
    assert heard.of("ended")[0]["received_ms"] >= len(meeting) / 16


async def test_a_network_that_loses_one_in_twenty_is_lived_with(server: Server, meeting: np.ndarray,
                                                                by_socket: list[dict]) -> None:
    heard = await Speaker(server.http, Recording(meeting), lossy(0.05, seed=3)).speak()
    ended = heard.of("ended")[0]
    assert abs(ended["received_ms"] - by_socket[-1]["end_ms"]) < 2_000
    assert heard.of("final") and heard.of("closing")[0]["code"] == 1000


async def test_a_track_that_ends_amid_a_chunk_gets_its_text(server: Server, meeting: np.ndarray) -> None:
    speaker = Speaker(server.http, Recording(meeting, ends_after=3 * RATE + 100))
    await speaker.connect(end_silence_ms=500)
    await speaker.until(lambda: bool(speaker.heard.of("ready")))
    speaker.track.held.set()
    # Nobody says stop: the silence that is put in where nothing comes ends the segment.
    await speaker.until(lambda: bool(speaker.heard.of("final")))
    assert speaker.heard.of("final")[0]["reason"] == "silence"
    speaker.channel.send(json.dumps({"type": "stop"}))
    await speaker.until(lambda: bool(speaker.heard.of("closing")))
    await speaker.connection.close()
    assert speaker.heard.texts[0].startswith("明天")


async def test_flush_and_errors_are_as_over_the_websocket(server: Server, meeting: np.ndarray) -> None:
    speaker = Speaker(server.http, Recording(meeting))
    await speaker.connect(vad="none")
    await speaker.until(lambda: bool(speaker.heard.of("ready")))
    speaker.channel.send("nonsense")
    await speaker.until(lambda: bool(speaker.heard.of("error")))
    speaker.track.held.set()
    await speaker.track.spoken.wait()
    speaker.channel.send(json.dumps({"type": "flush", "id": "now"}))
    await speaker.until(lambda: bool(speaker.heard.of("flushed")))
    await speaker.connection.close()
    assert speaker.heard.of("error")[0]["code"] == "bad_json"
    assert speaker.heard.of("final")[0]["reason"] == "flush"
    assert speaker.heard.of("flushed")[0]["id"] == "now"


async def test_what_the_track_says_itself_cannot_be_asked_for(server: Server, meeting: np.ndarray) -> None:
    speaker = Speaker(server.http, Recording(meeting))
    await speaker.connect(sample_rate=16_000)
    await speaker.until(lambda: bool(speaker.heard.of("error")))
    await speaker.connection.close()
    assert (speaker.heard.of("error")[0]["code"], speaker.heard.of("error")[0]["field"]) == ("bad_field", "sample_rate")


async def test_any_door_ends_a_connection(server: Server, meeting: np.ndarray) -> None:
    speaker = Speaker(server.http, Recording(meeting))
    await speaker.connect()
    await speaker.until(lambda: bool(speaker.heard.of("ready")))
    # Two doors share the port; each request is a connection of its own and comes to either.
    other = "door-1" if "door-0" in speaker.location else "door-0"
    wrong = speaker.location.replace(speaker.location.split("/")[3], other)
    for _ in range(4):
        assert (await asyncio.to_thread(request, server.http + wrong, "DELETE"))[0] == 404
    assert (await asyncio.to_thread(request, server.http + speaker.location, "DELETE"))[0] == 204
    async with asyncio.timeout(10):
        await speaker.closed.wait()
    for _ in range(4):
        assert (await asyncio.to_thread(request, server.http + speaker.location, "DELETE"))[0] == 404
    await speaker.connection.close()
