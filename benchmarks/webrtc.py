"""What WebRTC costs a door, and what a bad network does to text and times.

A server of its own with the demonstration model. First every recording in `samples/` by WebSocket, by WebRTC, and by
WebRTC over a network that loses 5 % of the packets at random and has each on its way for 0 to 60 ms, so that they
overtake each other, as often as `--rounds` says with other losses each. Texts are compared with what was spoken; times,
of the tokens that both have, with those of the WebSocket. Then `--sessions` speakers at the pace of speech for
`--minutes`: processor time of the door's process, all threads, for each second of one stream, and its memory every
minute. The last line is one flat JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import tempfile
import wave
from collections.abc import Sequence
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np
import psutil

from benchmarks.demo_cer import edit_distance
from tests.doors.conversations import native
from tests.support.server import Server, running_server
from tests.support.speaker import Lateness, Recording, Speaker

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
LOSS = 0.05
JITTER_S = 0.06
PACE = 3.0
MINUTE_S = 60
Said = tuple[str, list[tuple[str, int, int]]]
"""Text, and its tokens with their times."""


def main(argv: Sequence[str]) -> int:
    """Measures and prints; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks webrtc", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="times that each recording goes over the bad network")
    parser.add_argument("--sessions", type=int, default=12, help="speakers at once while the cost is measured")
    parser.add_argument("--minutes", type=float, default=3, help="for which they speak")
    parser.add_argument("--json", action="store_true", help="only the last line")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder, running_server(Path(folder) / "log") as server:
        found = asyncio.run(bad_network(server, options.rounds))
        found |= asyncio.run(cost(server, options.sessions, options.minutes))
    if not options.json:
        for name, value in found.items():
            print(f"{name:24} {value}")
    print(json.dumps(found))
    return 0


async def bad_network(server: Server, rounds: int) -> dict[str, float]:
    """Characters wrong in percent by each way, and how far times are apart in ms, over the recordings in samples/."""
    edits = {"websocket": 0, "webrtc": 0, "lossy": 0}
    characters, apart = 0, []
    for path in sorted(SAMPLES.glob("*.wav")):
        wanted, samples = path.with_suffix(".txt").read_text("utf-8").strip(), _samples(path)
        characters += len(wanted)
        by_socket = _said((await native(server.url, samples)).of("final"))
        edits["websocket"] += edit_distance(wanted, by_socket[0])
        edits["webrtc"] += edit_distance(wanted, (await _spoken(server, samples))[0])
        for heard in await asyncio.gather(*(_spoken(server, samples, _network(seed), 1.0) for seed in range(rounds))):
            edits["lossy"] += edit_distance(wanted, heard[0])
            apart += _apart(by_socket, heard)
    return {
        "websocket_cer": round(100 * edits["websocket"] / characters, 2),
        "webrtc_cer": round(100 * edits["webrtc"] / characters, 2),
        "lossy_cer": round(100 * edits["lossy"] / characters / rounds, 2),
        "lossy_time_error_p50_ms": float(np.percentile(apart, 50)),
        "lossy_time_error_p95_ms": float(np.percentile(apart, 95)),
        "lossy_time_error_max_ms": float(max(apart)),
        "lossy_characters": characters * rounds,
    }


async def cost(server: Server, sessions: int, minutes: float) -> dict[str, float]:
    """What so many speakers cost the server's only door: cores for each, and its memory in MB at each minute."""
    samples = np.resize(_samples(SAMPLES / "long.wav"), round(minutes * MINUTE_S * 16_000))
    await _spoken(server, samples[:16_000])  # loads what is loaded at the first offer
    (door,) = (psutil.Process(pid) for pid in server.process_ids("door-0"))
    memory: list[float] = []
    before = sum(door.cpu_times()[:2])
    watch = asyncio.create_task(_watch(door, memory))
    said = await asyncio.gather(*(_spoken(server, samples, pace=1.0) for _ in range(sessions)))
    watch.cancel()
    if unheard := sum(not text for text, _ in said):
        raise SystemExit(f"{unheard} of {sessions} speakers were not recognised: the rest would share their cost")
    spent = sum(door.cpu_times()[:2]) - before
    return {"sessions": sessions, "core_per_stream": round(spent / sessions / (len(samples) / 16_000), 4),
            **{f"memory_mb_minute_{number}": each for number, each in enumerate(memory)}}


async def _watch(process: psutil.Process, memory: list[float]) -> None:
    while True:
        memory.append(round(process.memory_info().rss / 2**20, 1))
        await asyncio.sleep(MINUTE_S)


def _samples(path: Path) -> np.ndarray:
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


async def _spoken(server: Server, samples: np.ndarray, network: Lateness | None = None, pace: float = PACE) -> Said:
    patience_s = 120 + 2 * len(samples) / 16_000
    speaker = Speaker(server.http, Recording(samples, pace=pace), patience_s=patience_s, lateness=network)
    return _said((await speaker.speak()).of("final"))


def _said(finals: list[dict]) -> Said:
    return "".join(final["text"] for final in finals), [tuple(token) for final in finals for token in final["tokens"]]


def _network(seed: int) -> Lateness:
    chance = random.Random(seed)
    return lambda _: None if chance.random() < LOSS else chance.uniform(0, JITTER_S)


def _apart(one: Said, other: Said) -> list[float]:
    """How far the middles of the tokens that both have are apart, in ms."""
    matcher = SequenceMatcher(None, [token[0] for token in one[1]], [token[0] for token in other[1]], autojunk=False)
    pairs = [(one[1][block.a + n], other[1][block.b + n]) for block in matcher.get_matching_blocks()
             for n in range(block.size)]
    return [abs(sum(a[1:]) - sum(b[1:])) / 2 for a, b in pairs]
