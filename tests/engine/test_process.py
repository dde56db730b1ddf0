"""Real engine processes and real sockets."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import numpy as np
import pytest
import zmq
import zmq.asyncio

from stream_server.audio.windows import DEFAULT_WINDOWS
from stream_server.engine import client as client_module
from stream_server.engine import wire
from stream_server.engine.endpoint import engine_endpoint
from stream_server.errors import EngineError, Overloaded
from stream_server.speech.recognition import Chunk
from tests.engine.harness import SHORT, Door, EngineProcess, hops, open_door, running_door, running_engine
from tests.support.scripted_runner import POISON, expected_pieces


@pytest.fixture
def endpoint(tmp_path: Path) -> str:
    return engine_endpoint(tmp_path / "run")


@pytest.fixture
async def engine(endpoint: str) -> AsyncIterator[EngineProcess]:
    async with running_engine(endpoint) as process:
        yield process


async def test_a_stream_is_recognised(engine: EngineProcess) -> None:
    async with open_door(engine.endpoint) as door:
        info = door.client.info
        assert (info.model, info.windows, info.slots) == ("scripted", DEFAULT_WINDOWS, 8)
        await door.client.admit("a")
        chunks = hops(1, 3)
        assert await door.say("a", chunks) == expected_pieces(chunks)
        assert await door.say("a", chunks, generation=1) == expected_pieces(chunks)


async def test_two_hundred_sessions_at_four_doors_each_get_their_own_text(endpoint: str) -> None:
    async def speak(door: Door, seed: int) -> None:
        session = f"session-{seed}"
        await door.client.admit(session)
        chunks = hops(seed, 3)
        assert await door.say(session, chunks) == expected_pieces(chunks)
        door.client.release(session)

    async with running_engine(endpoint, slots=200), AsyncExitStack() as stack:
        doors = [await stack.enter_async_context(open_door(endpoint, f"door-{number}")) for number in range(4)]
        async with asyncio.TaskGroup() as speakers:
            for seed in range(200):
                speakers.create_task(speak(doors[seed % 4], seed))


async def test_a_session_beyond_the_slots_is_refused_until_another_leaves(engine: EngineProcess) -> None:
    async with open_door(engine.endpoint) as door:
        await asyncio.gather(*(door.client.admit(str(number)) for number in range(8)))
        with pytest.raises(Overloaded) as refused:
            await door.client.admit("late")
        assert refused.value.retry_after_s > 0
        door.client.release("3")
        await door.client.admit("late")
        with pytest.raises(AssertionError, match="twice"):
            await door.client.admit("late")
        with pytest.raises(AssertionError, match="not admitted"):
            door.client.submit("3", Chunk(0, 0, SHORT, hops(1, 1)[0], last=True))


async def test_a_killed_engine_comes_back_with_its_sessions_and_without_their_streams(engine: EngineProcess) -> None:
    async with open_door(engine.endpoint, "door-0") as door, open_door(engine.endpoint, "door-1") as other:
        for each in (door, other):
            await each.client.admit("a")
        chunks = hops(5, 3)
        door.client.submit("a", Chunk(0, 0, SHORT, chunks[0]))
        await door.heard("a")
        before = door.client.info.incarnation

        await engine.end(signal.SIGKILL)
        await door.until(door.lost, 1)
        await other.until(other.lost, 1)
        assert not door.client.ready
        with pytest.raises(EngineError, match="not ready"):
            door.client.submit("a", Chunk(0, 1, SHORT, chunks[1]))
        with pytest.raises(EngineError, match="not ready"):
            await door.client.admit("b")
        door.client.abort("a", 0)

        await engine.start()
        await door.until(door.ready)
        await other.until(other.ready)
        assert door.client.info.incarnation != before
        assert await door.say("a", chunks, generation=1) == expected_pieces(chunks)
        assert await other.say("a", chunks) == expected_pieces(chunks)
        assert door.events == other.events == ["ready", "lost", "ready"]


async def test_an_engine_that_comes_back_smaller_tells_who_lost_their_place(endpoint: str) -> None:
    async with running_engine(endpoint, slots=2) as large, open_door(endpoint) as door:
        for session in "ab":
            await door.client.admit(session)
        await large.end()
        await door.until(door.lost)
        async with running_engine(endpoint, slots=1):
            await door.until(door.ready)
            ((homeless, message),) = door.refused.items()
            assert "places 1" in message
            door.client.submit(homeless, Chunk(3, 0, SHORT, hops(1, 1)[0], last=True))
            assert (await door.heard(homeless)).error == message
            (housed,) = set("ab") - {homeless}
            assert await door.say(housed, hops(1, 1)) == expected_pieces(hops(1, 1))
            door.client.release(homeless)


async def test_released_while_the_engine_is_away_stays_released(engine: EngineProcess) -> None:
    async with open_door(engine.endpoint) as door:
        await asyncio.gather(*(door.client.admit(str(number)) for number in range(8)))
        await engine.end()
        await door.until(door.lost)
        door.client.release("0")
        await engine.start()
        await door.until(door.ready)
        await door.client.admit("new")
        assert door.refused == {}


async def test_a_door_that_dies_frees_its_places(engine: EngineProcess) -> None:
    async with open_door(engine.endpoint, "door-1") as survivor:
        async with open_door(engine.endpoint, "door-0") as door:
            await asyncio.gather(*(door.client.admit(str(number)) for number in range(8)))
            for number in range(8):
                door.client.submit(str(number), Chunk(0, 0, SHORT, hops(1, 2)[0]))
        async with asyncio.timeout(3):
            while not await admitted(survivor, "mine"):
                await asyncio.sleep(0.05)
        assert await survivor.say("mine", hops(1, 1)) == expected_pieces(hops(1, 1))


async def test_the_successor_of_a_door_takes_its_place_at_once(engine: EngineProcess) -> None:
    async with open_door(engine.endpoint, "door-0") as door:
        await asyncio.gather(*(door.client.admit(str(number)) for number in range(8)))
    async with open_door(engine.endpoint, "door-0") as successor:
        await successor.client.admit("mine")


async def test_malformed_frames_are_dropped_and_strangers_are_told(engine: EngineProcess) -> None:
    context = zmq.asyncio.Context()
    raw = context.socket(zmq.DEALER)
    raw.connect(engine.endpoint)
    try:
        async with asyncio.timeout(4):
            for frames in ([b"\xc1"], [b""], [b"x", b"y", b"z"], [wire.pack(wire.Welcome(INFO))]):
                await raw.send_multipart(frames)
            await raw.send(wire.pack(wire.Admit("a")))
            assert wire.unpack_from_engine(await raw.recv_multipart()) == wire.Stranger()
            await raw.send(wire.pack(wire.Hello("raw")))
            assert isinstance(wire.unpack_from_engine(await raw.recv_multipart()), wire.Welcome)
            while not isinstance(beat := wire.unpack_from_engine(await raw.recv_multipart()), wire.Beat):
                pass
            assert beat.statistics["malformed"] == 4
    finally:
        raw.close(0)
        context.term()


async def test_a_poisoned_row_and_a_wrong_chunk_are_told_as_errors(engine: EngineProcess) -> None:
    async with open_door(engine.endpoint) as door:
        await door.client.admit("a")
        door.client.submit("a", Chunk(0, 0, SHORT, np.full(SHORT.hop_samples, POISON, np.int16)))
        assert (await door.heard("a")).error == "the engine failed on this segment"
        door.client.submit("a", Chunk(1, 0, SHORT, np.zeros(5, np.int16)))
        assert "a hop is" in (await door.heard("a")).error
        assert await door.say("a", hops(2, 2), generation=2) == expected_pieces(hops(2, 2))


async def test_an_aborted_stream_is_not_heard_of_again(endpoint: str) -> None:
    async with running_engine(endpoint, step_seconds=0.1), open_door(endpoint) as door:
        for session in "ab":
            await door.client.admit(session)
        door.client.submit("b", Chunk(0, 0, SHORT, hops(1, 2)[0]))
        await asyncio.sleep(0.03)
        door.client.submit("a", Chunk(0, 0, SHORT, hops(1, 2)[0]))
        door.client.abort("a", 0)
        await door.heard("b")
        assert await door.say("a", hops(3, 1), generation=1) == expected_pieces(hops(3, 1))
        assert not door.heard_anything("a")


async def test_the_engine_ends_cleanly_on_sigterm(engine: EngineProcess) -> None:
    async with open_door(engine.endpoint) as door:
        assert await engine.end(signal.SIGTERM) == 0
        await door.until(door.lost, 1)


async def test_a_door_may_be_there_before_the_engine(endpoint: str) -> None:
    async with running_door(endpoint) as door:
        with pytest.raises(EngineError, match="not ready"):
            await door.client.admit("a")
        async with running_engine(endpoint):
            await door.until(door.ready)
            await door.client.admit("a")
            assert door.events == ["ready"]
        await door.until(door.lost)
    assert door.events == ["ready", "lost"]


async def test_a_long_step_is_not_death_but_a_hung_engine_is(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "PING_S", 0.05)
    monkeypatch.setattr(client_module, "SILENT_PINGS", 16)
    async with running_engine(endpoint, step_seconds=0.4) as engine, open_door(endpoint) as door:
        await door.client.admit("a")
        assert await door.say("a", hops(1, 1)) == expected_pieces(hops(1, 1))
        assert door.events == ["ready"]
        engine.send_signal(signal.SIGSTOP)
        await door.until(door.lost)
        engine.send_signal(signal.SIGCONT)
        await door.until(door.ready)
        assert await door.say("a", hops(2, 1)) == expected_pieces(hops(2, 1))


async def test_an_admission_that_is_cancelled_or_times_out_holds_no_place(
        endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "ADMIT_TIMEOUT_S", 0.2)
    async with running_engine(endpoint, slots=1) as engine, open_door(endpoint) as door:
        engine.send_signal(signal.SIGSTOP)
        with pytest.raises(EngineError, match="in time"):
            await door.client.admit("slow")
        impatient = asyncio.create_task(door.client.admit("impatient"))
        await asyncio.sleep(0)
        impatient.cancel()
        with pytest.raises(asyncio.CancelledError):
            await impatient
        engine.send_signal(signal.SIGCONT)
        await door.client.admit("a")


async def admitted(door: Door, session: str) -> bool:
    try:
        await door.client.admit(session)
    except Overloaded:
        return False
    return True


INFO = wire.EngineInfo(model="m", model_kind="demo", windows=DEFAULT_WINDOWS, slots=4, device="cpu", dtype="fp32")
