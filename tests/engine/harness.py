"""A real engine process, and a door that talks to it, for tests over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np

from stream_server.audio.windows import Window
from stream_server.engine.client import EngineClient
from stream_server.speech.recognition import Chunk, Hypothesis

ROOT = Path(__file__).parents[2]
SHORT = Window(4, 4)


class EngineProcess:
    """The scripted runner served by a process of its own; may be killed and started again."""

    def __init__(self, endpoint: str, slots: int = 8, step_seconds: float = 0.0) -> None:
        self.endpoint = endpoint
        self._arguments = [endpoint, str(slots), str(step_seconds)]
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        command = [sys.executable, "-m", "tests.engine.scripted_process", *self._arguments]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        assert await asyncio.to_thread(self._process.stdout.readline) == b"bound\n"

    def send_signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def end(self, number: signal.Signals = signal.SIGKILL) -> int:
        """Ends the process; its exit status."""
        if self._process.poll() is None:
            self._process.send_signal(number)
        status = await asyncio.to_thread(self._process.wait)
        self._process.stdout.close()
        return status


class Door:
    """An EngineClient that remembers what it was told."""

    def __init__(self, endpoint: str, name: str = "door-0") -> None:
        self.ready = asyncio.Event()
        self.lost = asyncio.Event()
        self.events: list[str] = []
        self.refused: dict[str, str] = {}
        self._heard: defaultdict[str, asyncio.Queue[Hypothesis]] = defaultdict(asyncio.Queue)
        self.client = EngineClient(endpoint, name, on_hypothesis=self._on_hypothesis, on_lost=self._on_lost,
                                   on_ready=self._on_ready, on_refused=self.refused.__setitem__)

    async def heard(self, session: str) -> Hypothesis:
        async with asyncio.timeout(4):
            return await self._heard[session].get()

    def heard_anything(self, session: str) -> bool:
        return not self._heard[session].empty()

    async def until(self, event: asyncio.Event, seconds: float = 4) -> None:
        """Waits for the next time that the client is ready or lost."""
        async with asyncio.timeout(seconds):
            await event.wait()
        event.clear()

    async def say(self, session: str, chunks: list[np.ndarray], generation: int = 0) -> list[str]:
        """A stream of chunks, the last one last; its pieces."""
        pieces: list[str] = []
        for sequence, samples in enumerate(chunks):
            chunk = Chunk(generation, sequence, SHORT, samples, last=sequence == len(chunks) - 1)
            self.client.submit(session, chunk)
            hypothesis = await self.heard(session)
            assert hypothesis.error is None
            assert (hypothesis.generation, hypothesis.sequence) == (generation, sequence)
            pieces += hypothesis.pieces
        return pieces

    def _on_hypothesis(self, session: str, hypothesis: Hypothesis) -> None:
        self._heard[session].put_nowait(hypothesis)

    def _on_lost(self) -> None:
        self.events.append("lost")
        self.lost.set()

    def _on_ready(self, info: object) -> None:
        self.events.append("ready")
        self.ready.set()


@contextlib.asynccontextmanager
async def running_engine(endpoint: str, slots: int = 8, step_seconds: float = 0.0) -> AsyncIterator[EngineProcess]:
    """An engine that doors can connect to; killed in the end."""
    engine = EngineProcess(endpoint, slots, step_seconds)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.end()


@contextlib.asynccontextmanager
async def open_door(endpoint: str, name: str = "door-0") -> AsyncIterator[Door]:
    """A door whose client runs; waits until it is ready."""
    async with running_door(endpoint, name) as door:
        await door.until(door.ready)
        yield door


@contextlib.asynccontextmanager
async def running_door(endpoint: str, name: str = "door-0") -> AsyncIterator[Door]:
    """A door whose client runs, ready or not."""
    door = Door(endpoint, name)
    task = asyncio.create_task(door.client.run())
    try:
        yield door
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def hops(seed: int, count: int) -> list[np.ndarray]:
    """Chunks of noise that differ by seed; the last one is cut short."""
    noise = np.random.default_rng(seed).integers(-9_000, 9_000, count * SHORT.hop_samples, np.int16)
    chunks = np.split(noise, count)
    return [*chunks[:-1], chunks[-1][: seed % SHORT.hop_samples]]
