"""How long a session took, as its user felt it."""

from __future__ import annotations

import time
from array import array
from collections.abc import AsyncIterable, AsyncIterator, Callable
from dataclasses import dataclass

from stream_client.events import Event, Final, Partial
from stream_client.wishes import SAMPLE_BYTES, SAMPLE_RATE

SOUND = 328
"""A block counts as sound if a sample exceeds this: 1 % of full scale, -40 dBFS."""


@dataclass(frozen=True, slots=True)
class Timings:
    """None where it did not happen."""

    first_partial_ms: int | None
    """From sending the first block with sound to the first partial with text."""
    final_ms: int | None
    """From sending the last block to the last final."""
    audio_s: float
    elapsed_s: float

    def __str__(self) -> str:
        return (
            f"first partial {_shown(self.first_partial_ms)} after the first sound, "
            f"last final {_shown(self.final_ms)} after the last sample; "
            f"{self.audio_s:.1f} s of audio in {self.elapsed_s:.1f} s"
        )


class Stopwatch:
    """Watches what is sent and what comes back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._start = clock()
        self._sent_bytes = 0
        self._first_sound: float | None = None
        self._last_sent: float | None = None
        self._first_partial: float | None = None
        self._last_final: float | None = None

    @property
    def started(self) -> bool:
        """Whether anything was sent."""
        return self._last_sent is not None

    async def watch_sent(self, blocks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
        """The same blocks."""
        async for block in blocks:
            now = self._clock()
            if self._first_sound is None and _has_sound(block):
                self._first_sound = now
            self._sent_bytes += len(block)
            self._last_sent = now
            yield block

    def received(self, event: Event) -> None:
        now = self._clock()
        if isinstance(event, Partial) and event.text and self._first_partial is None:
            self._first_partial = now
        elif isinstance(event, Final):
            self._last_final = now

    def timings(self) -> Timings:
        return Timings(
            _milliseconds(self._first_sound, self._first_partial),
            _milliseconds(self._last_sent, self._last_final),
            round(self._sent_bytes / (SAMPLE_BYTES * SAMPLE_RATE), 2),
            round(self._clock() - self._start, 2),
        )


def _has_sound(block: bytes) -> bool:
    samples = array("h", block[: len(block) - len(block) % SAMPLE_BYTES])
    return bool(samples) and max(max(samples), -min(samples)) > SOUND


def _milliseconds(begin: float | None, end: float | None) -> int | None:
    return None if begin is None or end is None else round((end - begin) * 1000)


def _shown(milliseconds: int | None) -> str:
    return "never" if milliseconds is None else f"{milliseconds} ms"
