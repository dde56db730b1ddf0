"""What `serve` does about doors and endpoints, on a thread, with a pulse faster than life."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import zmq
import zmq.asyncio

from stream_server.engine import process, wire
from stream_server.engine.endpoint import engine_endpoint
from stream_server.engine.statistics import Statistics
from stream_server.errors import EngineError, Overloaded
from stream_server.speech.recognition import Chunk
from tests.engine.harness import SHORT, hops, open_door
from tests.support.scripted_runner import ScriptedRunner, expected_pieces


@contextlib.asynccontextmanager
async def serving(endpoint: str, runner: ScriptedRunner, failures: list[Exception] | None = None,
                  ) -> AsyncIterator[Statistics]:
    statistics, stop, bound = Statistics(), threading.Event(), threading.Event()
    info = wire.EngineInfo(model="scripted", model_kind="demo", windows=runner.windows, slots=runner.slots,
                           device="cpu", dtype="none")

    def serve() -> None:
        try:
            process.serve(runner, endpoint, info, stop=stop, statistics=statistics, on_bound=bound.set)
        except EngineError as error:
            failures.append(error)

    thread = threading.Thread(target=serve)
    thread.start()
    await asyncio.to_thread(bound.wait, 2)
    try:
        yield statistics
    finally:
        stop.set()
        await asyncio.to_thread(thread.join)


async def test_a_door_that_falls_silent_is_taken_for_dead_and_told_so(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "BEAT_S", 0.02)
    monkeypatch.setattr(process, "POLL_MS", 5)
    endpoint = engine_endpoint(tmp_path / "run")
    context = zmq.asyncio.Context()
    async with serving(endpoint, ScriptedRunner(slots=1)) as statistics:
        mute = context.socket(zmq.DEALER)
        mute.connect(endpoint)
        async with asyncio.timeout(4):
            await mute.send(wire.pack(wire.Hello("mute")))
            await mute.send(wire.pack(wire.Admit("a")))
            while statistics.sessions == 0:
                await asyncio.sleep(0.01)
            while statistics.sessions == 1:
                await asyncio.sleep(0.01)
            assert statistics.doors_lost == 1
            await mute.send(wire.pack(wire.Ping()))
            while wire.unpack_from_engine(await mute.recv_multipart()) != wire.Stranger():
                pass
        mute.close(0)
    context.term()


async def test_a_door_taken_for_dead_by_mistake_comes_back_by_itself(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "BEAT_S", 0.02)
    monkeypatch.setattr(process, "POLL_MS", 5)
    endpoint = engine_endpoint(tmp_path / "run")
    async with serving(endpoint, ScriptedRunner(slots=1)) as statistics, open_door(endpoint) as door:
        await door.client.admit("a")
        await door.until(door.lost)
        assert statistics.doors_lost == 1
        await door.until(door.ready)
        assert await door.say("a", hops(1, 1)) == expected_pieces(hops(1, 1))


async def test_statistics_reach_the_doors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "BEAT_S", 0.02)
    endpoint = engine_endpoint(tmp_path / "run")
    async with serving(endpoint, ScriptedRunner(slots=1)), open_door(endpoint) as door:
        await door.client.admit("a")
        with pytest.raises(Overloaded):
            await door.client.admit("b")
        await door.say("a", hops(1, 2))
        async with asyncio.timeout(2):
            while door.client.statistics.get("steps") != 2:
                await asyncio.sleep(0.01)
        numbers = door.client.statistics
        assert (numbers["admitted"], numbers["refused"], numbers["sessions"], numbers["slots_in_use"]) == (1, 1, 1, 0)


async def test_a_mistake_in_a_callback_costs_no_one_the_engine(
        tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    endpoint = engine_endpoint(tmp_path / "run")

    def fail(*_: object) -> None:
        raise RuntimeError("a mistake")

    async with serving(endpoint, ScriptedRunner()), open_door(endpoint) as door:
        await door.client.admit("a")
        heard, door.client._on_hypothesis = door.client._on_hypothesis, fail
        door.client.submit("a", Chunk(0, 0, SHORT, hops(1, 2)[0]))
        async with asyncio.timeout(2):
            while "a callback of the engine's client failed" not in caplog.text:
                await asyncio.sleep(0.01)
        door.client._on_hypothesis = heard
        assert await door.say("a", hops(1, 2), generation=1) == expected_pieces(hops(1, 2))
        assert door.events == ["ready"]


async def test_a_broken_device_ends_the_process_loudly(tmp_path: Path) -> None:
    endpoint = engine_endpoint(tmp_path / "run")
    runner = ScriptedRunner(slots=1)
    runner.broken = True
    failures: list[Exception] = []
    async with serving(endpoint, runner, failures), open_door(endpoint) as door:
        await door.client.admit("a")
        for generation in range(7):
            door.client.submit("a", Chunk(generation, 0, SHORT, hops(1, 2)[0]))
            assert (await door.heard("a")).error
        door.client.submit("a", Chunk(7, 0, SHORT, hops(1, 2)[0]))
        await door.until(door.lost)
    assert "taken for broken" in str(failures[0])


def test_an_endpoint_that_cannot_be_bound_is_told(tmp_path: Path) -> None:
    runner = ScriptedRunner()
    info = wire.EngineInfo(model="m", model_kind="demo", windows=runner.windows, slots=8, device="cpu", dtype="none")
    with pytest.raises(EngineError, match="cannot listen on ipc"):
        process.serve(runner, f"ipc://{tmp_path}/missing/engine", info, stop=threading.Event())
