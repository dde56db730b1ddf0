"""What WebRTC costs a door, and what a bad network does to text and times.

A server of its own with the demonstration model. First every recording in `samples/` by WebSocket, by WebRTC, and by
WebRTC over a network that loses 5 % of the packets at random and lets any packet be overtaken by up to three others
(60 ms), as often as `--rounds` says with other losses each. Texts are compared with what was spoken; times, of the
tokens that both have, with those of the WebSocket. Then `--sessions` speakers at the pace of speech: processor time of
the door's process, all threads, for each second of one stream. The last line is one flat JSON object.
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
from tests.support.speaker import Packets, Recording, Speaker

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
LOSS = 0.05
OVERTAKEN_BY = 3
PACE = 3.0
Said = tuple[str, list[tuple[str, int, int]]]
"""Text, and its tokens with their times."""


def main(argv: Sequence[str]) -> int:
    """Measures and prints; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks webrtc", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="times that each recording goes over the bad network")
    parser.add_argument("--sessions", type=int, default=8, help="speakers at once while the cost is measured")
    parser.add_argument("--json", action="store_true", help="only the last line")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder, running_server(Path(folder) / "log") as server:
        found = asyncio.run(_bad_network(server, options.rounds)) | asyncio.run(_cost(server, options.sessions))
    if not options.json:
        for name, value in found.items():
            print(f"{name:24} {value}")
    print(json.dumps(found))
    return 0


async def _bad_network(server: Server, rounds: int) -> dict[str, float]:
    edits = {"websocket": 0, "webrtc": 0, "lossy": 0}
    characters, apart, losses = 0, [], 0
    for path in sorted(SAMPLES.glob("*.wav")):
        wanted, samples = path.with_suffix(".txt").read_text("utf-8").strip(), _samples(path)
        characters += len(wanted)
        by_socket = _said((await native(server.url, samples)).of("final"))
        edits["websocket"] += edit_distance(wanted, by_socket[0])
        edits["webrtc"] += edit_distance(wanted, (await _spoken(server, samples, None))[0])
        for seed in range(rounds):
            losses += 1
            heard = await _spoken(server, samples, _network(seed))
            edits["lossy"] += edit_distance(wanted, heard[0])
            apart += _apart(by_socket, heard)
    return {
        "websocket_cer": round(100 * edits["websocket"] / characters, 2),
        "webrtc_cer": round(100 * edits["webrtc"] / characters, 2),
        "lossy_cer": round(100 * edits["lossy"] / characters / rounds, 2),
        "lossy_time_error_p50_ms": float(np.percentile(apart, 50)),
        "lossy_time_error_p95_ms": float(np.percentile(apart, 95)),
        "lossy_time_error_max_ms": float(max(apart)),
        "lossy_runs": losses,
    }


async def _cost(server: Server, sessions: int) -> dict[str, float]:
    samples = _samples(SAMPLES / "long.wav")
    await _spoken(server, samples[:16_000], None)  # loads what is loaded at the first offer
    (door,) = (psutil.Process(pid) for pid in server.process_ids("door-0"))
    before = sum(door.cpu_times()[:2])
    memory = door.memory_info().rss
    await asyncio.gather(*(_spoken(server, samples, None, pace=1.0) for _ in range(sessions)))
    spent = sum(door.cpu_times()[:2]) - before
    return {"sessions": sessions, "core_per_stream": round(spent / sessions / (len(samples) / 16_000), 4),
            "memory_per_stream_mb": round((door.memory_info().rss - memory) / sessions / 2**20, 2)}


def _samples(path: Path) -> np.ndarray:
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


async def _spoken(server: Server, samples: np.ndarray, packets: Packets | None, pace: float = PACE) -> Said:
    speaker = Speaker(server.http, Recording(samples, pace=pace), packets, patience_s=120)
    return _said((await speaker.speak()).of("final"))


def _said(finals: list[dict]) -> Said:
    return "".join(final["text"] for final in finals), [tuple(token) for final in finals for token in final["tokens"]]


def _network(seed: int) -> Packets:
    chance, waiting = random.Random(seed), []

    def pass_on(number: int, data: bytes) -> list[bytes]:
        if chance.random() >= LOSS:
            waiting.append((number + chance.randint(0, OVERTAKEN_BY), number, data))
            waiting.sort()
        ready = [each for each in waiting if each[0] <= number]
        del waiting[:len(ready)]
        return [data for _, _, data in ready]

    return pass_on


def _apart(one: Said, other: Said) -> list[float]:
    """How far the middles of the tokens that both have are apart, in ms."""
    matcher = SequenceMatcher(None, [token[0] for token in one[1]], [token[0] for token in other[1]], autojunk=False)
    pairs = [(one[1][block.a + n], other[1][block.b + n]) for block in matcher.get_matching_blocks()
             for n in range(block.size)]
    return [abs(sum(a[1:]) - sum(b[1:])) / 2 for a, b in pairs]
