"""How long finals of a running server are waited for, by sessions that say recording after recording.

With voice detection a session says a recording and then silence at the pace of speech; what it waits is the time from
the last sample of speech to the final, less the silence that is set to end a segment. The silence is without any sound,
and a message of it is sent when it is over: the sample that ends the silence waits for the rest of its message, half of
one on average. With `flush` it flushes behind the last sample, and the wait is from there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.stability import Watch
from stream_client import Final, Flushed, Wishes, connect
from stream_server.audio.pcm import SAMPLE_BYTES
from stream_server.bench.report import percentile
from stream_server.units import SAMPLE_RATE

BEGINS, ENDS = 0.03, 0.25
"""Parts of a recording's loudest 10 ms, in amplitude, from which on 10 ms are speech: at its beginning, and at its end,
where breath and noise for which no detector waits would count as time won."""

NEAR_MS = 500
"""A segment that ends so long before its recording has a last word that the detector did not hear: its final is waited
for from its own end."""

PATIENCE_S = 12.0
"""Of silence behind an utterance; what has no final by then counts as missed."""


@dataclass
class Waits:
    """Seconds that finals were waited for, and how many of these were a second pass's, and of segments that ended
    `early`, NEAR_MS before their recording; `missed`: no final came; `taken_back`: characters that were called stable
    and changed without a second pass."""

    seconds: list[float] = field(default_factory=list)
    second_passes: int = 0
    early: int = 0
    missed: int = 0
    taken_back: int = 0

    def row(self, name: str) -> dict[str, object]:
        return {"of": name, "finals": len(self.seconds), "second passes": self.second_passes, "early": self.early,
                "missed": self.missed, "taken back": self.taken_back,
                **{f"p{percent} ms": 1000 * percentile(self.seconds or [np.nan], percent)
                   for percent in (50, 95, 99, 100)}}

    def add(self, other: Waits) -> None:
        """Those of other sessions."""
        self.seconds += other.seconds
        self.second_passes += other.second_passes
        self.early += other.early
        self.missed += other.missed
        self.taken_back += other.taken_back

    def note(self, final: Final, seconds: float) -> None:
        self.seconds.append(seconds)
        self.second_passes += final.second_pass


@dataclass(frozen=True)
class Manner:
    """How sessions send and end their utterances: messages of `message_ms`, and `end_silence_ms` of silence, or `flush`
    at once."""

    flush: bool
    end_silence_ms: int
    message_ms: int = 60

    def wishes(self, second_pass: bool) -> Wishes:
        vad = "none" if self.flush else "webrtc"
        return Wishes(vad=vad, second_pass=second_pass, max_segment_ms=60_000, end_silence_ms=self.end_silence_ms)


def trimmed(samples: np.ndarray) -> np.ndarray:
    """A recording from its first to its last 10 ms that are surely speech."""
    step = SAMPLE_RATE // 100
    loudness = np.abs(samples[: len(samples) // step * step].astype(float)).reshape(-1, step).mean(1)
    first, last = (np.flatnonzero(loudness >= part * loudness.max()) for part in (BEGINS, ENDS))
    return samples[first[0] * step : (last[-1] + 1) * step]


class Speaker:
    """Says samples at the pace of speech; what the server says meanwhile waits, and is little."""

    def __init__(self, stream: object, message_ms: int) -> None:
        self.sent = 0
        self._stream = stream
        self._message_bytes = SAMPLE_RATE * message_ms // 1000 * SAMPLE_BYTES["pcm_s16le"]

    async def say(self, samples: np.ndarray, stop: asyncio.Event | None = None) -> None:
        """All of them, or until `stop`."""
        began = time.monotonic()
        audio = samples.astype("<i2").tobytes()
        for start in range(0, len(audio), self._message_bytes):
            block = audio[start : start + self._message_bytes]
            due = began + (start + len(block)) / SAMPLE_BYTES["pcm_s16le"] / SAMPLE_RATE
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if stop is not None and stop.is_set():
                return
            await self._stream.send(block)
            self.sent += len(block) // SAMPLE_BYTES["pcm_s16le"]


async def speak(address: str, waits: Waits, utterances: Sequence[np.ndarray], manner: Manner, second_pass: bool,
                seconds: float, number: int) -> None:
    """One session that says one utterance after the other until its time is over."""
    # Not all at once: sessions that begin together would end their utterances together too.
    await asyncio.sleep(0.37 * number % 3.0)
    end = time.monotonic() + seconds
    async with connect(address, wishes=manner.wishes(second_pass)) as stream:
        speaker, place = Speaker(stream, manner.message_ms), 0
        watch = Watch()
        while time.monotonic() < end:
            await speaker.say(utterances[place % len(utterances)])
            place += 1
            if manner.flush:
                await _flushed(stream, watch, waits)
            else:
                await _ended(stream, speaker, watch, waits, manner)
        await stream.stop()
        async for event in stream:
            watch.receive(event)
        waits.taken_back += watch.taken_back


async def _flushed(stream: object, watch: Watch, waits: Waits) -> None:
    await stream.flush()
    said, missed = time.monotonic(), True
    async for event in stream:
        watch.receive(event)
        if isinstance(event, Final):
            missed = False
            waits.note(event, time.monotonic() - said)
        if isinstance(event, Flushed):
            break
    waits.missed += missed


async def _ended(stream: object, speaker: Speaker, watch: Watch, waits: Waits, manner: Manner) -> None:
    said, stop = time.monotonic(), asyncio.Event()
    length_ms = speaker.sent * 1000 // SAMPLE_RATE
    silence = asyncio.create_task(speaker.say(np.zeros(round(PATIENCE_S * SAMPLE_RATE), np.int16), stop))
    try:
        async with asyncio.timeout(PATIENCE_S):
            async for event in stream:
                watch.receive(event)
                # A pause within the recording may have ended a segment too: that of the last word is meant.
                if isinstance(event, Final) and event.end_ms >= length_ms - max(NEAR_MS, manner.end_silence_ms):
                    unheard = length_ms - event.end_ms if event.end_ms < length_ms - NEAR_MS else 0
                    waits.early += unheard > 0
                    waits.note(event, time.monotonic() - said + (unheard - manner.end_silence_ms) / 1000)
                    break
            else:
                waits.missed += 1
    except TimeoutError:
        waits.missed += 1
    stop.set()
    await silence
