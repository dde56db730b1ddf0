"""A meeting before many viewers: how much later they read than the speakers themselves, and what it costs those.

A server of its own with the demonstration model. Speakers send the recordings of `samples/` at the pace of speech,
again and again with a pause between, each to a door in turn. First nobody reads along; then, in a process of its own,
so many viewers do, shared among the doors by the port they all have. What each caption's final took from the
speaker's own link to each viewer is measured by one clock, as both are on this machine. A speaker's lag is the time
from the sending of the audio that a partial was made of (to its `end_ms`) to the partial's coming back. The last line
is one flat JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import tempfile
import time
import urllib.request
import wave
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import websockets

from tests.support.server import Server, running_server
from tests.support.viewers import Viewer, socket_at

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
MESSAGE_S = 0.1
PAUSE_S = 1.2
SETTLE_S = 5.0
CONNECT_WITHIN_S = 120.0
RATE = 16_000


@dataclass
class Spoken:
    """What the speakers were told, by the clock of `time.monotonic`."""

    finals: dict[tuple[int, int], float] = field(default_factory=dict)
    """By speaker and segment."""
    lags: list[float] = field(default_factory=list)


def main(argv: Sequence[str]) -> int:
    """Measures and prints; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks rooms", description=__doc__.split("\n")[0])
    parser.add_argument("--viewers", type=int, default=300)
    parser.add_argument("--speakers", type=int, default=3)
    parser.add_argument("--doors", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=60.0, help="of speech, without viewers and again with them")
    parser.add_argument("--json", action="store_true", help="only the last line")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder, running_server(
            Path(folder) / "log", "--doors", str(options.doors), "--limits-resume-s", "0") as server:
        found = measure(server, options)
    if not options.json:
        for name, value in found.items():
            print(f"{name:28} {value}")
    print(json.dumps(found))
    return 0


def measure(server: Server, options: argparse.Namespace) -> dict[str, object]:
    asyncio.run(speak(server, make_room(server), options.speakers, options.doors, 5.0))  # loads what is loaded once
    alone = asyncio.run(speak(server, make_room(server), options.speakers, options.doors, options.seconds))
    room = make_room(server)
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    crowd = context.Process(target=watch, args=(there, server.http, room["read"], options.viewers), daemon=True)
    crowd.start()
    if not here.poll(CONNECT_WITHIN_S):
        raise SystemExit(f"the viewers were not connected within {CONNECT_WITHIN_S:g} s")
    connected = here.recv()
    watched = asyncio.run(speak(server, room, options.speakers, options.doors, options.seconds))
    time.sleep(SETTLE_S)
    here.send("end")
    seen: list[dict[tuple[int, int], float]] = here.recv()
    crowd.join()
    late = [viewer[caption] - said for viewer in seen for caption, said in watched.finals.items() if caption in viewer]
    return {
        "viewers": connected, "speakers": options.speakers, "doors": options.doors, "captions": len(watched.finals),
        "viewer_p50_ms": percentile(late, 50), "viewer_p99_ms": percentile(late, 99),
        "speaker_lag_p50_ms_without": percentile(alone.lags, 50),
        "speaker_lag_p50_ms_with": percentile(watched.lags, 50),
        "speaker_lag_p95_ms_without": percentile(alone.lags, 95),
        "speaker_lag_p95_ms_with": percentile(watched.lags, 95),
        "captions_missing": sum(caption not in viewer for viewer in seen for caption in watched.finals),
    }


def percentile(seconds: list[float], share: float) -> float:
    """In milliseconds."""
    return round(1000 * float(np.percentile(seconds, share)), 1)


def make_room(server: Server) -> dict:
    request = urllib.request.Request(f"{server.http}/v1/rooms", json.dumps({"name": "benchmark"}).encode(),
                                     {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


async def speak(server: Server, room: dict, speakers: int, doors: int, seconds: float) -> Spoken:
    """All speakers, until each has spoken for so long and its last words have come."""
    spoken = Spoken()
    await asyncio.gather(*(speaker(server, room, number, f"door-{number % doors}", seconds, spoken)
                           for number in range(speakers)))
    return spoken


async def speaker(server: Server, room: dict, number: int, door: str, seconds: float, spoken: Spoken) -> None:
    sound = recordings(number, seconds)
    size = round(MESSAGE_S * RATE)
    sent: list[float] = []
    async with websockets.connect(f"{server.url}/v1/stream", sock=await socket_at(server, door)) as link:
        await link.send(json.dumps({"type": "start", "room": room["speak"], "name": f"speaker {number}"}))
        who = json.loads(await link.recv())["room"]["speaker"]
        # So that not all speak in step.
        await asyncio.sleep(number * 0.17)

        async def send() -> None:
            began = time.monotonic()
            for place in range(0, len(sound), size):
                await asyncio.sleep(max(0.0, began + (place + size) / RATE - time.monotonic()))
                sent.append(time.monotonic())
                await link.send(sound[place:place + size].tobytes())
            await link.send(json.dumps({"type": "stop"}))

        sending = asyncio.create_task(send())
        async for text in link:
            now, message = time.monotonic(), json.loads(text)
            if message["type"] == "partial":
                spoken.lags.append(now - sent[min(message["end_ms"] * RATE // 1000 // size, len(sent) - 1)])
            elif message["type"] == "final" and message["text"]:
                spoken.finals[who, message["segment"]] = now
        await sending


def recordings(number: int, seconds: float) -> np.ndarray:
    """Recordings one after another, each speaker's beginning with another; int16 at 16 kHz."""
    paths = sorted(SAMPLES.glob("*.wav"))
    pieces, length = [], 0
    while length < seconds * RATE:
        with wave.open(str(paths[number % len(paths)])) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
        pieces += [samples, np.zeros(round(PAUSE_S * RATE), np.int16)]
        length += len(samples) + len(pieces[-1])
        number += 1
    return np.concatenate(pieces)


def watch(pipe: Connection, address: str, token: str, count: int) -> None:
    """The viewers' process: says when all read, and what each has read when it is told to end."""
    pipe.send(asyncio.run(_watch(pipe, address, token, count)))


async def _watch(pipe: Connection, address: str, token: str, count: int) -> list[dict[tuple[int, int], float]]:
    seen: list[dict[tuple[int, int], float]] = [{} for _ in range(count)]
    viewers = [await Viewer.connect(address, token) for _ in range(count)]
    assert all(viewer.status == 200 for viewer in viewers)
    readers = [asyncio.create_task(_read(viewer, finals)) for viewer, finals in zip(viewers, seen, strict=True)]
    pipe.send(count)
    while not pipe.poll():
        await asyncio.sleep(0.05)
    for reader in readers:
        reader.cancel()
    await asyncio.gather(*readers, return_exceptions=True)
    for viewer in viewers:
        viewer.close()
    return seen


async def _read(viewer: Viewer, finals: dict[tuple[int, int], float]) -> None:
    while await viewer.read():
        now = time.monotonic()
        for kind, data in viewer.events:
            if kind == "final":
                finals[data["speaker"], data["segment"]] = now
        viewer.events.clear()
