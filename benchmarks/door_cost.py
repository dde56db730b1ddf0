"""What a door costs: processor time of its process for each audio message, voice detection and hand-over included.

A server of its own is started; a process apart sends it speech at the pace of speech, in messages that were encoded
before, over as many WebSockets as give the wanted rate. The dialects take turns; a short round of each goes before and
is not counted. The door's time (all of its threads, user and system), from the first audio until the last session has
its last text, is divided by the messages sent; each dialect's figure is the median of its rounds. Where door or engine
do not keep up with the load, it takes longer and the rate falls: it says so. The last line is one flat JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import multiprocessing.connection
import tempfile
import time
import wave
from collections.abc import Sequence
from dataclasses import dataclass
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
CONNECT_WITHIN_S = 60
END_WITHIN_S = 60
LATE_S = 2.0
"""Time after the last audio by which all text is there, where door and engine keep up."""

DIALECTS = {
    "native": ("/v1/stream", {"type": "start"}, {"type": "stop"}),
    "funasr": ("/", {"mode": "2pass", "chunk_size": [5, 10, 5], "wav_name": "load", "is_speaking": True},
               {"is_speaking": False}),
}
"""Path, first message and last message of a session."""


@dataclass(frozen=True)
class Load:
    """What one round sends, and whose time is measured meanwhile."""

    url: str
    dialect: str
    sessions: int
    message_ms: int
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
        for dialect in options.dialects:
            _round(server, here, options, dialect, options.warm_up)
        rounds = []
        for dialect in options.rounds * options.dialects:
            rounds.append(_round(server, here, options, dialect, options.seconds))
            print(rounds[-1], flush=True)
    here.send(None)
    driver.join(10)
    print(json.dumps(_summary(rounds)))
    return 0


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks door_cost", description=__doc__)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--dialects", nargs="+", default=list(DIALECTS), choices=DIALECTS)
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
           dialect: str, seconds: float) -> Round:
    doors = [pid for number in range(options.doors) for pid in server.process_ids(f"door-{number}")]
    load = Load(server.url, dialect, options.sessions, options.message_ms, seconds, doors,
                server.process_ids("engine-0"))
    before = _waits(server)
    driver.send(load)
    answer = driver.recv()
    if isinstance(answer, str):
        raise SystemExit(f"the load failed: {answer}\n{server.log}")
    after = _waits(server)
    answer.waits = (after[0] - before[0]) / max(after[1] - before[1], 1)
    return answer


def _waits(server: Server) -> tuple[float, float]:
    """Seconds that chunks have waited for their step in the engine so far, and how many chunks."""
    metrics = server.metrics()
    return metrics.get("stream_engine_wait_seconds_total", 0.0), metrics.get("stream_engine_rows_total", 0.0)


def _summary(rounds: Sequence[Round]) -> dict[str, object]:
    dialects = sorted({one.dialect for one in rounds})
    slow = [one for one in rounds if one.seconds > one.messages / one.wished + LATE_S]
    if slow:
        print("the server did not keep up in", len(slow), "of", len(rounds), "rounds: fewer sessions would be right")
    return {
        "messages_per_s": round(median(one.rate for one in rounds)),
        **{f"door_us_per_message_{name}": round(median(one.door_us for one in rounds if one.dialect == name), 1)
           for name in dialects},
        "engine_us_per_message": round(median(one.engine_us for one in rounds), 1),
        "engine_wait_ms": round(1000 * median(one.waits for one in rounds), 1),
        "kept_up": not slow,
    }


# ---- the process that sends


@dataclass
class _Counts:
    sent: int = 0
    answers: int = 0


def _drive(orders: multiprocessing.connection.Connection) -> None:
    while (load := orders.recv()) is not None:
        try:
            orders.send(asyncio.run(_carry(load)))
        except Exception as error:
            orders.send(f"{type(error).__name__}: {error}")


async def _carry(load: Load) -> Round:
    counts, tracks = _Counts(), _tracks(load)
    beat = load.message_ms / 1000
    async with asyncio.timeout(CONNECT_WITHIN_S):
        clients = [await _connect(load) for _ in range(load.sessions)]
    door, engine, began = _processor_s(load.doors), _processor_s(load.engines), time.perf_counter()
    sessions = [_session(load, client, track, number / len(clients) * beat, counts)
                for number, (client, track) in enumerate(zip(clients, tracks, strict=True))]
    await asyncio.gather(*sessions)
    return Round(load.dialect, counts.sent, time.perf_counter() - began, _processor_s(load.doors) - door,
                 _processor_s(load.engines) - engine, load.sessions / beat, counts.answers)


async def _connect(load: Load) -> ClientConnection:
    path, opening, _ = DIALECTS[load.dialect]
    client = await websockets.connect(load.url + path, compression=None, max_queue=None, ping_interval=None)
    await client.send(json.dumps(opening))
    return client


async def _session(load: Load, client: ClientConnection, track: Sequence[bytes], offset: float,
                   counts: _Counts) -> None:
    """Writes a frame each beat, then the end, and returns once the last answer is there."""
    listener = asyncio.create_task(_listen(client, counts))
    loop = asyncio.get_running_loop()
    due = loop.time() + offset
    for frame in track:
        await asyncio.sleep(max(due - loop.time(), 0))
        due += load.message_ms / 1000
        client.transport.write(frame)
        counts.sent += 1
    await client.send(json.dumps(DIALECTS[load.dialect][2]))
    async with asyncio.timeout(END_WITHIN_S):
        await listener
    await client.close()


async def _listen(client: ClientConnection, counts: _Counts) -> None:
    async for text in client:
        answer = json.loads(text)
        counts.answers += 1
        if "error" in answer or answer.get("type") == "error":
            raise RuntimeError(text)
        if answer.get("is_final") or answer.get("type") == "ended":
            return
    raise RuntimeError("the server closed before the last text")


def _tracks(load: Load) -> list[list[bytes]]:
    """For each session its messages as WebSocket frames, masked: other speech for each."""
    speech = _speech(load.seconds)
    size = 16 * load.message_ms
    tracks = []
    for number in range(load.sessions):
        samples = np.roll(speech, -number * len(speech) // load.sessions)[:round(load.seconds * 16_000)]
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
