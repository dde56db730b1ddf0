"""The captions page in Chromium: how right and how late its text is, and what the browser's connections cost a door.

A server of its own with the demonstration model. Held-out sentences of the synthesiser (espeak-ng is needed), a pause
between them, are what a real, headless Chromium hears from its microphone; the page is started by its button and goes
by WebRTC. Its text, and a WebSocket's for the same sentences, are compared with what was spoken.

Delay. A worklet on the same track stamps the samples, an observer of the captions stamps their changes; each change is
the doing of the partial that came last. The engine was given the sound up to `end_ms` + look-ahead of that partial for
it, so the delay is from that sample to the change. Where the session's time lies in the worklet's is found by sending
what the worklet heard by WebSocket too: the same words have the same times, but for that shift.

Then a bad network and the door's cost (see benchmarks/webrtc.py), and viewers of a meeting (see benchmarks/rooms.py).
The last line is one flat JSON object; rates in percent.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import wave
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np
import soxr

from benchmarks.demo_cer import BLOCK_BYTES, Heard, Spoken, compare
from benchmarks.webrtc import bad_network, cost
from stream_client import Final, transcribe
from tests.support.server import Server, running_server

SEED = 1
RATE = 16_000
MICROPHONE_RATE = 48_000
LEAD_S = 4.0
"""Silence before the first sentence: by then the page is connected."""
PAUSE_S = 1.0
PARTS = ("page", "network", "cost", "rooms")
WINDOW_S = 10.0
BLOCK = 960
"""Samples in a message of the page's worklet."""

RECORD = (Path(__file__).parent / "browser.js").read_text("utf-8")


@dataclass(frozen=True)
class Track:
    """What the microphone hears, at 16 kHz, and what is said in it."""

    samples: np.ndarray
    text: str


@dataclass(frozen=True)
class Seen:
    """What the page showed. `sound` is what the worklet heard, `stamps` when each of its blocks of BLOCK samples was
    complete; `changes` are [ms of the change, partial]; times are the page's performance.now().

    `ready`: the server's message; `finals`: its finals; `text`: of the page's final lines.
    """

    sound: np.ndarray
    stamps: np.ndarray
    changes: list[tuple[float, dict]]
    ready: dict
    finals: list[dict]
    text: str


def main(argv: Sequence[str]) -> int:
    """Measures and prints; returns the exit code."""
    options = _options(argv)
    found: dict[str, object] = {"load": round(os.getloadavg()[0], 1)}
    with tempfile.TemporaryDirectory() as folder, running_server(Path(folder) / "log") as server:
        if "page" in options.only:
            found |= measure_page(server, options.utterances, Path(folder))
        if "network" in options.only:
            lossy = asyncio.run(bad_network(server, options.rounds))
            found |= {"lossy_cer": lossy["lossy_cer"], "lossy_time_error_ms": lossy["lossy_time_error_p95_ms"],
                      "lossy_without_cer": lossy["webrtc_cer"]}
        if "cost" in options.only:
            found |= asyncio.run(cost(server, options.sessions, options.minutes))
    if "rooms" in options.only:
        found |= _rooms(options.viewers)
    if not options.json:
        for name, value in found.items():
            print(f"{name:24} {value}")
    print(json.dumps(found))
    return 0


def _rooms(viewers: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks", "rooms", "--viewers", str(viewers), "--json"]
    report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])
    return {name: report[name] for name in ("viewers", "captions", "captions_missing", "viewer_p99_ms")}


def measure_page(server: Server, utterances: int, folder: Path) -> dict[str, float]:
    """Text and delay of the page that hears so many sentences."""
    track = _track(utterances)
    seen = _watch(server, track, folder)
    # Playwright's loop has ended: this one is ours.
    by_socket = "".join(final.text for final in asyncio.run(_finals(server, track.samples)))
    same = [token for final in asyncio.run(_finals(server, seen.sound)) for token in final.tokens]
    found, spread = delays(seen, same)
    return {
        "page_cer": _rate(track.text, seen.text),
        "websocket_cer": _rate(track.text, by_socket),
        "utterances": utterances,
        "partial_p50_ms": round(float(np.percentile(found, 50))),
        "partial_p95_ms": round(float(np.percentile(found, 95))),
        "partial_max_ms": round(float(max(found))),
        "partials": len(found),
        "shift_spread_ms": round(spread, 1),
    }


def _rate(wanted: str, given: str) -> float:
    heard: Heard = compare(Spoken(b"", wanted, ""), given)
    return round(100 * heard.edits / len(wanted), 2)


def _track(utterances: int) -> Track:
    from recipes.demo.speech import synthesise_held_out

    pieces, said = [np.zeros(round(LEAD_S * RATE), np.int16)], []
    for samples, text, _ in synthesise_held_out(utterances, SEED):
        pieces += [samples, np.zeros(round(PAUSE_S * RATE), np.int16)]
        said.append(text)
    return Track(np.concatenate(pieces), "".join(said))


# ---- the page


def _watch(server: Server, track: Track, folder: Path) -> Seen:
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        raise SystemExit("there is no Chromium: on Debian, apt install chromium")
    flags = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
             f"--use-file-for-fake-audio-capture={_recording(track, folder)}%noloop"]
    seconds = len(track.samples) / RATE
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=chromium, args=flags) as browser:
        page = browser.new_page(locale="en")
        page.add_init_script(RECORD)
        page.goto(server.http)
        page.click("#speak")
        _wait_for(page, "Listening")
        if page.inner_text("#by") != "WebRTC":
            raise SystemExit("WebRTC did not connect: " + page.inner_text("#note"))
        page.wait_for_timeout(1000 * (seconds + 2))
        page.click("#speak")
        _wait_for(page, "Stopped")
        record = page.evaluate("() => window.record.take()")
        text = "".join(page.locator("#segments li.final p").all_inner_texts())
    sound = np.frombuffer(base64.b64decode(record["sound"]), "<i2")
    return Seen(sound, np.array(record["stamps"]), [tuple(each) for each in record["changes"]],
                record["ready"], record["finals"], text)


def _wait_for(page, state: str) -> None:
    page.locator("#state-text").filter(has_text=state).wait_for()


def _recording(track: Track, folder: Path) -> Path:
    sound = soxr.resample(track.samples.astype(np.float32), RATE, MICROPHONE_RATE).clip(-32768, 32767)
    path = folder / "microphone.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, MICROPHONE_RATE, 0, "NONE", ""))
        file.writeframes(sound.astype(np.int16).tobytes())
    return path


async def _finals(server: Server, samples: np.ndarray) -> list[Final]:
    async def blocks() -> AsyncIterator[bytes]:
        audio = samples.astype("<i2").tobytes()
        for start in range(0, len(audio), BLOCK_BYTES):
            yield audio[start:start + BLOCK_BYTES]

    return [event async for event in transcribe(blocks(), url=server.url) if isinstance(event, Final)]


# ---- the delay


def delays(seen: Seen, same: list[tuple[str, int, int]]) -> tuple[list[float], float]:
    """In ms, of each change by a partial; and how far the shift's estimates of the segments are apart (their standard
    deviation).

    A partial that hears no more than the segment's beginning is left out: its `end_ms` is that of the beginning.
    """
    shifts = _shifts(seen.finals, same)
    shift_ms, captured = float(np.median(shifts)), _clock(seen)
    look_ahead_ms = seen.ready["window"]["look_ahead_ms"]
    found, known = [], set()
    for at, partial in seen.changes:
        name = partial["segment"], partial["revision"]
        if name in known or partial["end_ms"] <= partial["start_ms"]:
            continue
        known.add(name)
        found.append(at - captured(partial["end_ms"] + look_ahead_ms + shift_ms))
    return found, float(np.std(shifts))


def _shifts(finals: list[dict], same: list[tuple[str, int, int]]) -> list[float]:
    """By how many ms the worklet's time is ahead of the session's: of each final, the mean over its words.

    A word's time is a whole number of frames since its segment began; over many words that makes no difference.
    """
    ours = [(number, *token) for number, final in enumerate(finals) for token in final["tokens"]]
    matcher = SequenceMatcher(None, [token[1] for token in ours], [token[0] for token in same], autojunk=False)
    apart: dict[int, list[float]] = {}
    for block in matcher.get_matching_blocks():
        for place in range(block.size):
            number, _, start, end = ours[block.a + place]
            _, other_start, other_end = same[block.b + place]
            apart.setdefault(number, []).append((other_start + other_end - start - end) / 2)
    return [float(np.mean(each)) for each in apart.values() if len(each) > 4]


def _clock(seen: Seen):
    """When a sample was captured, by its ms in the worklet's time.

    Messages of the worklet come late at times and never early: the earliest of each stretch of time says when.
    """
    ends_ms = 1000 * BLOCK * np.arange(1, len(seen.stamps) + 1) / RATE
    late = seen.stamps - ends_ms
    size = max(1, round(WINDOW_S * RATE / BLOCK))
    lows = [late[start:start + size].min() for start in range(0, len(late), size)]

    def captured(ms: float) -> float:
        return ms + lows[min(int(ms * RATE / 1000 / BLOCK / size), len(lows) - 1)]

    return captured


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks browser", description=__doc__.partition("\n")[0])
    parser.add_argument("--utterances", type=int, default=40, help="that the page hears (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of the recordings over the bad network")
    parser.add_argument("--sessions", type=int, default=12, help="speakers at once while the cost is measured")
    parser.add_argument("--minutes", type=float, default=3, help="for which they speak")
    parser.add_argument("--viewers", type=int, default=300, help="of a meeting")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts (default: all)")
    parser.add_argument("--json", action="store_true", help="only the last line")
    return parser.parse_args(argv)
