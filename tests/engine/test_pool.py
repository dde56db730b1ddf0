"""Several engines as one, over real sockets and processes."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from stream_server.engine.endpoint import engine_endpoint
from stream_server.engine.pool import EnginePool
from stream_server.errors import EngineError, Overloaded
from stream_server.speech.recognition import Chunk, Hypothesis
from tests.engine.harness import SHORT, EngineProcess, hops
from tests.support.scripted_runner import expected_pieces


class Pool:
    """A pool of engines, each a process, that remembers what it was told."""

    def __init__(self, engines: dict[str, EngineProcess]) -> None:
        self.engines = engines
        self.events: dict[str, list[str]] = defaultdict(list)
        self._heard: dict[str, asyncio.Queue[Hypothesis]] = defaultdict(asyncio.Queue)
        self.pool = EnginePool(
            {name: engine.endpoint for name, engine in engines.items()}, "door-0",
            on_hypothesis=lambda session, hypothesis: self._heard[session].put_nowait(hypothesis),
            on_lost=lambda session: self.events[session].append("lost"),
            on_back=lambda session: self.events[session].append("back"),
            on_refused=lambda session, _: self.events[session].append("refused"),
            on_change=lambda: None)

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(8):
            while not holds():
                await asyncio.sleep(0.01)

    async def say(self, session: str, chunks: list[np.ndarray], generation: int) -> list[str]:
        """A stream of chunks, the last one last; its pieces."""
        pieces = []
        for sequence, samples in enumerate(chunks):
            self.pool.submit(session, Chunk(generation, sequence, SHORT, samples, sequence == len(chunks) - 1))
            async with asyncio.timeout(4):
                hypothesis = await self._heard[session].get()
            assert (hypothesis.error, hypothesis.generation) == (None, generation)
            pieces += hypothesis.pieces
        return pieces

    async def places(self) -> dict[str, int]:
        """Sessions of each engine, as it counts them itself."""
        await asyncio.sleep(1.2)
        return {name: int(client.statistics["sessions"]) for name, client in self.pool._clients.items()
                if client.ready}


@asynccontextmanager
async def pool(directory: Path, slots: tuple[int, ...]) -> AsyncIterator[Pool]:
    """A pool whose engines, with so many places each, are all ready."""
    async with AsyncExitStack() as stack:
        engines = {}
        for number, count in enumerate(slots):
            name = f"engine-{number}"
            engines[name] = EngineProcess(engine_endpoint(directory / "run", name), count)
            await engines[name].start()
            stack.push_async_callback(engines[name].end)
        pool = Pool(engines)
        running = asyncio.create_task(pool.pool.run())
        try:
            await pool.until(lambda: len(pool.pool.ready) == len(slots))
            yield pool
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def test_sessions_are_spread_over_all_engines(tmp_path: Path) -> None:
    async with pool(tmp_path, (4, 4)) as p:
        await asyncio.gather(*(p.pool.admit(f"s{number}") for number in range(6)))
        assert await p.places() == {"engine-0": 3, "engine-1": 3}
        assert p.pool.statistics["sessions"] == 6
        for number in range(6):
            chunks = hops(number, 3)
            assert await p.say(f"s{number}", chunks, 0) == expected_pieces(chunks)


async def test_only_when_all_are_full_is_a_session_refused(tmp_path: Path) -> None:
    async with pool(tmp_path, (1, 3)) as p:
        for number in range(4):
            await p.pool.admit(f"s{number}")
        with pytest.raises(Overloaded):
            await p.pool.admit("one too many")
        p.pool.release("s0")
        await p.pool.admit("one in its place")


async def test_sessions_of_a_lost_engine_go_on_at_another_and_the_rest_notice_nothing(tmp_path: Path) -> None:
    async with pool(tmp_path, (4, 4)) as p:
        for number in range(4):
            await p.pool.admit(f"s{number}")
        await p.engines["engine-0"].end()
        await p.until(lambda: Counter(map(tuple, p.events.values())) == {("lost", "back"): 2})
        assert await p.places() == {"engine-1": 4}
        for number in range(4):
            session, chunks = f"s{number}", hops(number, 3)
            assert await p.say(session, chunks, 1) == expected_pieces(chunks)


async def test_where_no_other_has_room_a_session_waits_for_its_own_engine(tmp_path: Path) -> None:
    async with pool(tmp_path, (2, 2)) as p:
        for number in range(4):
            await p.pool.admit(f"s{number}")
        await p.engines["engine-0"].end()
        await p.until(lambda: len(p.events) == 2)
        await asyncio.sleep(0.3)
        assert set(map(tuple, p.events.values())) == {("lost",)}
        with pytest.raises(EngineError):
            p.pool.submit(next(iter(p.events)), Chunk(1, 0, SHORT, hops(0, 1)[0], True))
        await p.engines["engine-0"].start()
        await p.until(lambda: all(events == ["lost", "back"] for events in p.events.values()))
        for session in p.events:
            chunks = hops(5, 3)
            assert await p.say(session, chunks, 1) == expected_pieces(chunks)
        assert await p.places() == {"engine-0": 2, "engine-1": 2}


async def test_a_session_that_is_released_while_it_is_moved_leaves_nothing_behind(tmp_path: Path) -> None:
    async with pool(tmp_path, (4, 4)) as p:
        for number in range(4):
            await p.pool.admit(f"s{number}")
        await p.engines["engine-1"].end()
        await p.until(lambda: len(p.events) > 0)
        for number in range(4):
            p.pool.release(f"s{number}")
        assert await p.places() == {"engine-0": 0}


async def test_an_engine_that_comes_back_smaller_refuses_only_whom_no_other_takes(tmp_path: Path) -> None:
    async with pool(tmp_path, (3, 1)) as p:
        for number in range(4):
            await p.pool.admit(f"s{number}")
        small = EngineProcess(p.engines["engine-0"].endpoint, 2)
        await p.engines["engine-0"].end()
        await p.until(lambda: len(p.events) == 3)
        await small.start()
        try:
            await p.until(lambda: all(len(events) == 2 for events in p.events.values()))
            assert Counter(events[-1] for events in p.events.values()) == {"back": 2, "refused": 1}
        finally:
            await small.end()


async def test_without_any_engine_no_session_is_admitted(tmp_path: Path) -> None:
    async with pool(tmp_path, (2, 2)) as p:
        for engine in p.engines.values():
            await engine.end()
        await p.until(lambda: not p.pool.ready)
        with pytest.raises(EngineError):
            await p.pool.admit("s")
