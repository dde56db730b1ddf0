"""A WebRTC connection that is lost: its session goes on by another one, and what was said between them is there too."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest

from tests.doors.conversations import native
from tests.doors.test_resuming import Caller, none_left_open  # noqa: F401 - a fixture
from tests.doors.test_webrtc import check_same, recording
from tests.support.server import Server
from tests.support.speaker import RATE, Heard, Recording, Speaker, request

SECOND = 16_000
AWAY = SECOND
"""Samples that pass until there is another connection."""


@pytest.fixture(scope="module")
def meeting() -> np.ndarray:
    return recording("meeting")


@pytest.fixture(scope="module")
def uncut(server: Server, meeting: np.ndarray) -> list[dict]:
    return asyncio.run(native(server.url, meeting, end_silence_ms=200)).of("final")


async def lost(server: Server, meeting: np.ndarray) -> tuple[Speaker, int]:
    """A speaker whose connection is lost amid a sentence, and how many samples were spoken by then."""
    speaker = Speaker(server.http, Recording(meeting))
    await speaker.connect(end_silence_ms=200)
    await speaker.until(lambda: bool(speaker.heard.of("ready")))
    speaker.track.held.set()
    await speaker.until(lambda: bool(speaker.heard.of("partial")))
    spoken = speaker.track.position // 3
    assert spoken < len(meeting) * 3 // 4, "there is something left to say"
    assert (await asyncio.to_thread(request, server.http + speaker.location, "DELETE"))[0] == 204
    async with asyncio.timeout(10):
        await speaker.closed.wait()
    await speaker.connection.close()
    return speaker, spoken


async def test_by_webrtc_again_with_what_was_said_meanwhile(server: Server, meeting: np.ndarray,
                                                            uncut: list[dict]) -> None:
    former, spoken = await lost(server, meeting)
    token = former.heard.of("ready")[0]["resume"]
    begins = spoken + AWAY
    # At the pace of speech: a bridge holds a second and a half of the track, which at four times its pace is soon over
    # where a process waits for its turn.
    speaker = Speaker(server.http, Recording(meeting[begins:], pace=1.0))
    await speaker.connect(token, segments=len(former.heard.of("final")), overlap_ms=1_000, bridge=True)
    assert speaker.location.split("/")[3] == token.partition(".")[0], "media goes to the door that has the session"
    await speaker.until(lambda: bool(speaker.heard.of("resumed")))
    resumed = speaker.heard.of("resumed")[0]
    assert resumed["sample_rate"] == RATE and resumed["session"] == former.heard.of("ready")[0]["session"]
    speaker.track.held.set()
    while speaker.track.position < RATE // 2:
        await asyncio.sleep(0.01)
    bridge_over(speaker, meeting, resumed["samples"] // 3 - SECOND, begins + speaker.track.position // 3)
    async with asyncio.timeout(30):
        await speaker.track.spoken.wait()
    speaker.channel.send(json.dumps({"type": "stop"}))
    await speaker.until(lambda: bool(speaker.heard.of("closing")))
    await speaker.connection.close()
    heard = Heard([*former.heard.answers, *speaker.heard.answers])
    check_same(heard, uncut, within_ms=60)
    assert not heard.of("error")


def bridge_over(speaker: Speaker, meeting: np.ndarray, begin: int, end: int) -> None:
    """What was said from about the time at which the connection was lost until now."""
    sound = meeting[begin:end].astype("<i2").tobytes()
    for start in range(0, len(sound), 12_000):
        speaker.channel.send(sound[start:start + 12_000])
    speaker.channel.send(b"")


async def test_by_a_websocket_where_there_is_no_more_udp(server: Server, meeting: np.ndarray,
                                                         uncut: list[dict]) -> None:
    former, _ = await lost(server, meeting)
    caller = Caller(server.url, meeting)
    caller.ready = former.heard.of("ready")[0]
    caller.heard = list(former.heard.answers)
    resumed = await caller.resume(encoding="pcm_s16le", sample_rate=SECOND, overlap_ms=1_000)
    await caller.send(max(0, resumed["samples"] - SECOND) / len(meeting), 1)
    await caller.end()
    check_same(Heard(caller.heard), uncut, within_ms=60)


async def test_bytes_without_a_bridge_are_refused_as_before(server: Server, meeting: np.ndarray) -> None:
    former, _ = await lost(server, meeting)
    speaker = Speaker(server.http, Recording(meeting))
    await speaker.connect(former.heard.of("ready")[0]["resume"])
    await speaker.until(lambda: bool(speaker.heard.of("resumed")))
    speaker.channel.send(bytes(3_200))
    await speaker.until(lambda: bool(speaker.heard.of("error")))
    await speaker.connection.close()
    assert speaker.heard.of("error")[0]["code"] == "unsupported"


async def test_an_offer_for_a_session_that_is_gone_is_answered_and_the_token_refused(
        server: Server, meeting: np.ndarray) -> None:
    for token in ("door-0.nobody", "door-1.nobody", "door-9.nobody", "nobody"):
        speaker = Speaker(server.http, Recording(meeting))
        await speaker.connect(token)
        await speaker.until(lambda speaker=speaker: bool(speaker.heard.of("closing")))
        await speaker.connection.close()
        assert (speaker.heard.of("error")[0]["field"], speaker.heard.of("closing")[0]["code"]) == ("token", 1008)
