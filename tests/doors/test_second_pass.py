"""The second pass in a real server, with a model whose text means nothing but is always the same."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import numpy as np
import pytest
import websockets

from stream_server.models.offline import OfflineParaformer
from stream_server.speech.transcript import Transcript
from tests.doors.conversations import NATIVE, STOP, funasr, native, pieces
from tests.support.server import Server, running_server
from tests.support.small_offline import small_offline_model, write_small_offline_model


@pytest.fixture(scope="module")
def second_server(tmp_path_factory: pytest.TempPathFactory, served_model: str) -> Iterator[Server]:
    model = write_small_offline_model(tmp_path_factory.mktemp("second") / "small-seaco")
    log = tmp_path_factory.mktemp("server") / "log"
    with running_server(log, "--model", served_model, "--second-model", str(model), "--threads", "2",
                        "--limits-final-deadline-ms", "30000") as running:
        yield running


@pytest.fixture(scope="module")
def network() -> OfflineParaformer:
    return small_offline_model().network


def spelt(network: OfflineParaformer, samples: np.ndarray) -> str:
    """What the second pass says of samples by themselves."""
    vocabulary = small_offline_model().vocabulary
    transcript = Transcript(0)
    (result,) = network.recognise([samples])
    for id_ in result.ids:
        transcript.append(vocabulary[id_], 0)
    return transcript.text


async def test_finals_are_the_second_passs_alone_and_beside_others(
        second_server: Server, network: OfflineParaformer, utterance: np.ndarray) -> None:
    lengths = [16_000 * seconds for seconds in (2, 3)]
    heard = await asyncio.gather(*(native(second_server.url, utterance[:length], vad="none")
                                   for length in lengths for _ in range(3)))
    for index, each in enumerate(heard):
        samples = utterance[: lengths[index // 3]]
        (ready,), (final,) = each.of("ready"), each.of("final")
        assert ready["second_pass"] and final["second_pass"]
        assert final["text"] == spelt(network, samples) != ""
        times = [time for _, start, end in final["tokens"] for time in (start, end)]
        assert times == sorted(times) and 0 <= times[0] and times[-1] <= len(samples) / 16
        assert each.code == 1000
    while second_server.metrics()["stream_engine_second_passes_total"] < len(heard):
        await asyncio.sleep(0.1)  # the engine tells its numbers once a second


async def test_who_does_not_want_it_has_the_first_pass(second_server: Server, server: Server,
                                                       utterance: np.ndarray) -> None:
    samples = utterance[:32_000]
    without = await native(second_server.url, samples, vad="none", second_pass=False)
    first = await native(server.url, samples, vad="none", second_pass=True)
    assert without.texts == first.texts
    for each in (without, first):
        assert not each.of("ready")[0]["second_pass"] and not each.of("final")[0]["second_pass"]


async def test_a_pause_begins_the_second_pass_and_the_end_of_the_segment_takes_it(
        second_server: Server, network: OfflineParaformer, utterance: np.ndarray) -> None:
    before, silence = second_server.metrics(), b"\0" * 640
    async with websockets.connect(f"{second_server.url}{NATIVE}") as client, asyncio.timeout(60):
        await client.send(json.dumps({"type": "start", "vad": "webrtc", "end_silence_ms": 5_000}))
        for piece in pieces(utterance[:40_000]):
            await client.send(piece)
        # So much silence that the pass begins, then so long that it is done, then the rest.
        while await counted(second_server, "begun") == before["stream_engine_guesses_begun_total"]:
            await client.send(silence * 10)
        for _ in range(500):
            await client.send(silence)
        await client.send(STOP)
        said = [json.loads(message) async for message in client]
    (final,) = [message for message in said if message["type"] == "final"]
    assert final["second_pass"] and final["text"]
    while await counted(second_server, "used") == before["stream_engine_guesses_used_total"]:
        await asyncio.sleep(0.1)


async def counted(server: Server, what: str) -> float:
    """The engine tells its numbers once a second."""
    await asyncio.sleep(0.1)
    return server.metrics()[f"stream_engine_guesses_{what}_total"]


async def test_modes_of_funasr(second_server: Server, server: Server, network: OfflineParaformer,
                               utterance: np.ndarray) -> None:
    samples = utterance[:32_000]
    said = {mode: (await funasr(second_server.url, samples, mode=mode, vad="none")).answers
            for mode in ("online", "2pass", "offline")}
    again = spelt(network, samples)
    first = (await funasr(server.url, samples, mode="online", vad="none")).answers
    assert "".join(a["text"] for a in said["online"]) == "".join(a["text"] for a in first)
    assert [a["text"] for a in said["2pass"] if a["mode"] == "2pass-offline"] == [again]
    assert [a["text"] for a in said["offline"]] == [again]
    assert "".join(a["text"] for a in first).startswith(
        "".join(a["text"] for a in said["2pass"] if a["mode"] == "2pass-online"))


async def test_an_engine_that_is_killed_costs_no_final(second_server: Server, utterance: np.ndarray) -> None:
    import os
    import signal

    (engine,) = second_server.process_ids("engine-0")
    speaking = asyncio.create_task(native(second_server.url, np.tile(utterance[:48_000], 4), vad="none",
                                          max_segment_ms=2_000))
    await asyncio.sleep(0.15)
    os.kill(engine, signal.SIGKILL)
    heard = await speaking
    finals = heard.of("final")
    assert [final["segment"] for final in finals] == list(range(len(finals))) and heard.code == 1000
    assert heard.of("ended")[0]["segments"] == len(finals)
