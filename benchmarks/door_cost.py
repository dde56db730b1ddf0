"""What a door costs: processor time of its process for each audio message, voice detection and hand-over included.

A server of its own is started; a process apart sends it speech at the pace of speech, in messages that were encoded
before, over as many WebSockets as give the wanted rate. The dialects take turns. The door's time (all of its threads,
user and system) is divided by the messages sent meanwhile; each dialect's figure is the median of its rounds. Where
the engine does not keep up with the load, doors stop reading in time and the rate falls: it says so. The last line is
one flat JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import multiprocessing.connection
import socket
import tempfile
import time
import wave
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np
import psutil
import websockets
from websockets.asyncio.client import ClientConnection
from websockets.frames import Frame, Opcode

from tests.support import recordings
from tests.support.server import Server, running_server

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
UNSENT_BYTES = 16 << 10
"""What a client's socket may hold: with more, messages that nobody reads would count as sent for long."""

CONNECT_WITHIN_S = 60
OPENINGS = {
    "native": ("/v1/stream", {"type": "start"}),
    "funasr": ("/", {"mode": "2pass", "chunk_size": [5, 10, 5], "wav_name": "load", "is_speaking": True}),
}


@dataclass(frozen=True)
class Load:
    """What one round sends, and whose time is measured meanwhile."""

    url: str
    dialect: str
    sessions: int
    message_ms: int
    warm_up_s: float
    seconds: float
    doors: Sequence[int]
    engines: Sequence[int]


@dataclass
class Round:
    """What one round measured; times are seconds of processor time, `rate` is messages a second."""

    dialect: str
    messages: int
    seconds: float
    door: float
    engine: float
    wished: float
    answers: int
    waits: float = 0.0

    @property
    def rate(self) -> float:
        return self.messages / self.seconds

    @property
    def door_us(self) -> float:
        return 1e6 * self.door / self.messages

    @property
    def engine_us(self) -> float:
        return 1e6 * self.engine / self.messages

    def __str__(self) -> str:
        return (f"{self.dialect}: {self.rate:.0f} of {self.wished:.0f} messages/s, {self.answers} answers; door "
                f"{self.door_us:.0f} us a message, {self.door / self.seconds:.2f} core; engine "
                f"{self.engine / self.seconds:.2f} core, a chunk waits {1000 * self.waits:.0f} ms")


def main(argv: Sequence[str]) -> int:
    """Measure and print; returns the exit code."""
    options = _options(argv)
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    driver = context.Process(target=_drive, args=(there,), daemon=True)
    driver.start()
    slots = str(options.slots or options.sessions + 2)
    with tempfile.TemporaryDirectory() as folder, running_server(
            Path(folder) / "log", "--model", options.model, "--slots", slots, "--doors", str(options.doors),
            "--threads", str(options.threads), *options.server) as server:
        rounds = [_round(server, here, options, dialect)
                  for _ in range(options.rounds) for dialect in options.dialects]
    here.send(None)
    driver.join(10)
    print(json.dumps(_summary(rounds)))
    return 0


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks door_cost", description=__doc__)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--dialects", nargs="+", default=list(OPENINGS), choices=OPENINGS)
    parser.add_argument("--sessions", type=int, default=64)
    parser.add_argument("--message-ms", type=int, default=60)
    parser.add_argument("--warm-up", type=float, default=4.0, metavar="SECONDS")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--doors", type=int, default=1)
    parser.add_argument("--slots", type=int, default=0, help="by default, one for each session")
    parser.add_argument("--threads", type=int, default=1, help="of the engine")
    parser.add_argument("--server", nargs="*", default=[], metavar="OPTION", help="further options of the server")
    return parser.parse_args(argv)


def _round(server: Server, driver: multiprocessing.connection.Connection, options: argparse.Namespace,
           dialect: str) -> Round:
    doors = [pid for number in range(options.doors) for pid in server.process_ids(f"door-{number}")]
    load = Load(server.url, dialect, options.sessions, options.message_ms, options.warm_up, options.seconds, doors,
                server.process_ids("engine-0"))
    before = _waits(server)
    driver.send(load)
    answer = driver.recv()
    if isinstance(answer, str):
        raise SystemExit(f"the load failed: {answer}\n{server.log}")
    after = _waits(server)
    answer.waits = (after[0] - before[0]) / max(after[1] - before[1], 1)
    print(answer, flush=True)
    return answer


def _waits(server: Server) -> tuple[float, float]:
    """Seconds that chunks have waited for their step in the engine so far, and how many chunks."""
    metrics = server.metrics()
    return metrics.get("stream_engine_wait_seconds_total", 0.0), metrics.get("stream_engine_rows_total", 0.0)


def _summary(rounds: Sequence[Round]) -> dict[str, object]:
    dialects = sorted({one.dialect for one in rounds})
    hop_s = 0.6
    slow = [one for one in rounds if one.rate < 0.98 * one.wished or one.waits > hop_s]
    if slow:
        print("the engine did not keep up in", len(slow), "of", len(rounds), "rounds: fewer sessions would be right")
    return {
        "messages_per_s": round(median(one.rate for one in rounds)),
        **{f"door_us_per_message_{name}": round(median(one.door_us for one in rounds if one.dialect == name), 1)
           for name in dialects},
        "engine_us_per_message": round(median(one.engine_us for one in rounds), 1),
        "engine_wait_ms": round(1000 * median(one.waits for one in rounds), 1),
        "engine_kept_up": not slow,
    }


# ---- the process that sends


@dataclass
class _Counts:
    sent: int = 0
    answers: int = 0
    over: asyncio.Event = field(default_factory=asyncio.Event)


def _drive(orders: multiprocessing.connection.Connection) -> None:
    while (load := orders.recv()) is not None:
        try:
            orders.send(asyncio.run(_carry(load)))
        except Exception as error:
            orders.send(f"{type(error).__name__}: {error}")


async def _carry(load: Load) -> Round:
    counts = _Counts()
    beat = load.message_ms / 1000
    tracks = _tracks(load)
    async with asyncio.timeout(CONNECT_WITHIN_S):
        clients = [await _connect(load) for _ in range(load.sessions)]
    speakers = [asyncio.create_task(_speak(client, track, number / len(clients) * beat, beat, counts))
                for number, (client, track) in enumerate(zip(clients, tracks, strict=True))]
    readers = [asyncio.create_task(_listen(client, counts)) for client in clients]
    await asyncio.sleep(load.warm_up_s)
    _raise_failures([*speakers, *readers])
    sent, answers, door, engine = counts.sent, counts.answers, _processor_s(load.doors), _processor_s(load.engines)
    began = time.perf_counter()
    await asyncio.sleep(load.seconds)
    measured = Round(load.dialect, counts.sent - sent, time.perf_counter() - began, _processor_s(load.doors) - door,
                     _processor_s(load.engines) - engine, load.sessions / beat, counts.answers - answers)
    _raise_failures([*speakers, *readers])
    counts.over.set()
    await asyncio.gather(*speakers)
    for client in clients:
        client.transport.abort()
    await asyncio.gather(*readers)
    return measured


async def _connect(load: Load) -> ClientConnection:
    path, opening = OPENINGS[load.dialect]
    client = await websockets.connect(load.url + path, compression=None, max_queue=None, ping_interval=None)
    client.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNSENT_BYTES)
    await client.send(json.dumps(opening))
    return client


async def _speak(client: ClientConnection, track: Sequence[bytes], offset: float, beat: float,
                 counts: _Counts) -> None:
    """Writes a frame each beat; while the server does not read, none."""
    loop = asyncio.get_running_loop()
    due, number = loop.time() + offset, 0
    while not counts.over.is_set():
        await asyncio.sleep(max(due - loop.time(), 0))
        due += beat
        if client.transport.get_write_buffer_size() == 0:
            client.transport.write(track[number % len(track)])
            counts.sent += 1
            number += 1


async def _listen(client: ClientConnection, counts: _Counts) -> None:
    try:
        async for answer in client:
            counts.answers += 1
            if b'"error"' in answer if isinstance(answer, bytes) else '"error"' in answer:
                raise RuntimeError(answer)
    except websockets.ConnectionClosed:
        if not counts.over.is_set():
            raise


def _raise_failures(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        if task.done():
            raise task.exception() or RuntimeError("a connection ended early")


def _tracks(load: Load) -> list[list[bytes]]:
    """For each session its messages as WebSocket frames, masked: other speech for each, as long as a round."""
    seconds = load.warm_up_s + load.seconds + 1
    speech = _speech(seconds)
    size = 16 * load.message_ms
    tracks = []
    for number in range(load.sessions):
        samples = np.roll(speech, -number * len(speech) // load.sessions)[:round(seconds * 16_000)]
        tracks.append([Frame(Opcode.BINARY, samples[start:start + size].tobytes()).serialize(mask=True)
                       for start in range(0, len(samples) - size, size)])
    return tracks


def _speech(seconds: float) -> np.ndarray:
    """Speech with its pauses, int16 at 16 kHz: recordings where there are some, else the synthetic samples."""
    if recordings.present():
        return recordings.joined(max(seconds, 300))
    parts = []
    for path in sorted(SAMPLES.glob("*.wav")):
        with wave.open(str(path)) as file:
            parts.append(np.frombuffer(file.readframes(file.getnframes()), np.int16))
    once = np.concatenate(parts)
    return np.tile(once, int(seconds * 16_000) // len(once) + 1)


def _processor_s(processes: Sequence[int]) -> float:
    times = [psutil.Process(pid).cpu_times() for pid in processes]
    return sum(one.user + one.system for one in times)
