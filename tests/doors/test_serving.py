"""A real server as clients and operators meet it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable

import numpy as np
import pytest
import websockets

from tests.doors.conversations import NATIVE, START, STOP, converse, funasr, native, pieces, speech
from tests.support import recordings
from tests.support.server import Server


def get(url: str, accept: str = "*/*") -> tuple[int, str, str]:
    """Status, type and body of an HTTP answer."""
    request = urllib.request.Request(url, headers={"Accept": accept})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read().decode()


async def until(holds: Callable[[], bool], within_s: float = 10) -> None:
    """Returns once it holds; fails where it does not in time."""
    deadline = time.monotonic() + within_s
    while not await asyncio.to_thread(holds):
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.05)


def test_it_is_alive_and_ready(server: Server) -> None:
    assert get(f"{server.http}/health/live")[0] == 200
    status, _, body = get(f"{server.http}/health/ready")
    said = json.loads(body)
    assert (status, said["status"], said["window"]) == (200, "ready", [0, 10, 5])
    assert said["streams_at_once"] > 0


def test_the_page_says_what_this_is_to_people_and_to_programs(server: Server) -> None:
    status, kind, body = get(f"{server.http}/")
    assert (status, kind) == (200, "text/plain; charset=utf-8")
    assert f"{server.url}/v1/stream" in body
    status, kind, body = get(f"{server.http}/", accept="text/html,*/*")
    assert (status, kind) == (200, "text/html; charset=utf-8")
    assert "/static/app.js" in body
    assert get(f"{server.http}/nowhere")[0] == 404


def test_it_says_what_it_serves_and_what_to_try(server: Server) -> None:
    said = server.log
    assert f"Ready at {server.url}" in said
    assert all(word in said for word in ("model ", "window ", "device ", "file ", "--url"))


async def test_metrics_of_all_processes_come_from_any_door(server: Server, utterance: np.ndarray) -> None:
    # Sessions that other tests' clients just left wait for them, and are counted when they end.
    await until(lambda: server.metrics()["stream_sessions_open"] == 0, within_s=45)
    before = server.metrics()
    heard = [await native(server.url, utterance) for _ in range(4)]
    await until(lambda: server.metrics()["stream_sessions_open"] == 0)
    after: dict[str, float] = {}

    def grown(name: str) -> float:
        return after.get(name, 0) - before.get(name, 0)

    def engine_is_heard_of() -> bool:
        after.update(server.metrics())
        return grown("stream_engine_step_seconds_count") > 0

    # A door hears the engine's own numbers once a second.
    await until(engine_is_heard_of)
    assert grown("stream_sessions_admitted_total") == 4
    assert grown("stream_finals_sent_total") == sum(len(h.of("final")) for h in heard)
    assert grown("stream_partials_sent_total") == sum(len(h.of("partial")) for h in heard)
    assert grown("stream_segments_total") == sum(len(h.of("speech")) for h in heard)
    seconds = [grown(f'stream_audio_seconds_total{{fate="{fate}"}}')
               for fate in ("received", "recognised", "silent", "dropped")]
    assert seconds[0] == pytest.approx(4 * len(utterance) / 16_000, abs=0.01)
    assert seconds[0] == pytest.approx(sum(seconds[1:]))
    assert grown("stream_first_partial_seconds_count") > 0
    assert after["stream_engine_slots"] > 0


async def test_both_dialects_give_the_same_text(server: Server, utterance: np.ndarray) -> None:
    ours, theirs = await native(server.url, utterance), await funasr(server.url, utterance)
    assert ours.texts == theirs.texts != []
    assert ours.answers[0]["type"] == "ready"
    assert (ours.answers[-1]["type"], ours.code) == ("ended", 1000)
    assert theirs.answers[-1]["is_final"] is True


async def test_a_funasr_connection_carries_one_utterance_after_another(server: Server, utterance: np.ndarray) -> None:
    ends = 0

    def third(answer: dict) -> bool:
        nonlocal ends
        ends += answer["is_final"]
        return ends == 3

    begin, end = json.dumps({"mode": "2pass", "is_speaking": True}), json.dumps({"is_speaking": False})
    heard = await converse(server.url, [begin, *pieces(utterance), end] * 3, until=third)
    alone = (await funasr(server.url, utterance)).texts
    assert heard.texts == alone * 3


async def test_a_sender_faster_than_real_time_is_slowed_and_gets_everything(server: Server) -> None:
    """The text of each part is what the part gives alone: nothing is lost although far more is sent than may wait."""
    part = np.concatenate([recordings.joined(6) if recordings.present() else speech(6), np.zeros(32_000, np.int16)])
    parts = 10
    alone = await native(server.url, part)
    heard = await native(server.url, np.tile(part, parts))
    ended = heard.of("ended")[0]
    assert ended["received_ms"] == parts * len(part) // 16
    assert ended["dropped_ms"] == 0
    assert ended["segments"] == parts * alone.of("ended")[0]["segments"]
    assert [f["segment"] for f in heard.of("final")] == list(range(ended["segments"]))


async def test_one_message_with_all_the_audio_gives_what_many_small_ones_give(server: Server) -> None:
    samples = recordings.joined(60) if recordings.present() else np.tile(speech(6), 10)
    many = await native(server.url, samples)
    one = await converse(server.url + NATIVE, [START, samples.tobytes(), STOP])
    assert one.texts == many.texts != []


@pytest.mark.skipif(not recordings.present(), reason=recordings.ABSENT)
async def test_ten_sessions_at_once_get_what_they_get_alone(server: Server) -> None:
    utterances = recordings.corpus("aishell")[:10]
    alone = [(await native(server.url, samples)).texts for samples in utterances]
    together = await asyncio.gather(*(
        (native if number % 2 else funasr)(server.url, samples) for number, samples in enumerate(utterances)))
    assert [heard.texts for heard in together] == alone
    assert len({text for texts in alone for text in texts}) > 5


async def test_a_client_that_vanishes_leaves_nothing_behind(server: Server) -> None:
    client = await websockets.connect(server.url + NATIVE)
    await client.send('{"type": "start", "resumable": false}')
    await client.recv()
    for piece in pieces(speech(3)):
        await client.send(piece)
    await until(lambda: server.metrics().get("stream_engine_slots_in_use") == 1)
    client.transport.abort()
    await until(lambda: server.metrics()["stream_engine_sessions"] == 0)
    numbers = server.metrics()
    assert (numbers["stream_engine_slots_in_use"], numbers["stream_sessions_open"]) == (0, 0)


async def test_an_engine_that_is_killed_comes_back_and_the_final_arrives(server: Server, utterance: np.ndarray) -> None:
    alone = await native(server.url, utterance)
    audio = pieces(utterance)
    client = await websockets.connect(server.url + NATIVE)
    await client.send(START)
    for piece in audio[:len(audio) // 2]:
        await client.send(piece)
    while json.loads(await client.recv())["type"] != "partial":
        pass
    (engine,) = server.process_ids("engine-0")
    os.kill(engine, signal.SIGKILL)
    await until(lambda: get(f"{server.http}/health/ready")[0] == 503)
    assert "engine" in json.loads(get(f"{server.http}/health/ready")[2])["reason"]
    refused = await converse(server.url + NATIVE, [START])
    assert (refused.answers[-1]["code"], refused.code) == ("engine_away", 1013)
    for piece in [*audio[len(audio) // 2:], STOP]:
        await client.send(piece)
    answers = []
    async with asyncio.timeout(60):
        while not answers or answers[-1]["type"] != "ended":
            answers.append(json.loads(await client.recv()))
    await client.close()
    assert [answer["text"] for answer in answers if answer["type"] == "final"] == alone.texts
    assert answers[-1]["dropped_ms"] == 0
    assert server.process_ids("engine-0") not in ([], [engine])


async def test_a_door_that_is_killed_comes_back_and_the_other_serves_meanwhile(server: Server,
                                                                             utterance: np.ndarray) -> None:
    await until(lambda: get(f"{server.http}/health/ready")[0] == 200, within_s=60)
    (door,) = server.process_ids("door-0")
    os.kill(door, signal.SIGKILL)
    assert (await native(server.url, utterance)).texts != []
    await until(lambda: server.process_ids("door-0") not in ([], [door]), within_s=30)
