"""A runner without a model, whose every result depends on all that its stream was fed so far, and on nothing else.

A slot's state is a running hash. Where rows or slots get mixed up, a chunk is lost, repeated or out of order, or a
former tenant's state survives, some later piece differs from what `expected_pieces` says of the same audio alone.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterable, Sequence

import numpy as np

from stream_server.audio.windows import DEFAULT_WINDOWS, Window
from stream_server.engine.runner import Row, RowResult
from stream_server.speech.decoding import Progress

POISON = 31_000
"""A first sample that makes `run` raise, whoever else is in the batch."""

VENOM = 30_000
"""A first sample that makes its own row fail, and no other."""


VOCABULARY = ["<blank>", "<s>", "</s>", "你", "好"]


class ScriptedRunner:
    """Implements Runner. Each row gives one piece, the hash of its stream's audio so far in hexadecimal."""

    def __init__(self, slots: int = 8, windows: Sequence[Window] = DEFAULT_WINDOWS, step_seconds: float = 0.0,
                 workers: int = 1) -> None:
        self.slots = self.max_batch = slots
        self.workers = workers
        self.windows = tuple(windows)
        self.vocabulary = VOCABULARY
        self.broken = False
        self.memory = slots
        """Rows beyond which a step raises."""
        self.batches: list[tuple[Window, list[Row]]] = []
        self._step_seconds = step_seconds
        self._hashes = [0] * slots
        self._hops = [0] * slots

    def warm_up(self) -> None:
        """There is nothing to warm."""

    def run(self, window: Window, rows: Sequence[Row]) -> list[RowResult]:
        self._check(window, rows)
        self.batches.append((window, list(rows)))
        time.sleep(self._step_seconds)
        if self.broken or any(_begins_with(row, POISON) for row in rows):
            raise RuntimeError("the device is broken" if self.broken else "a row is poisoned")
        if len(rows) > self.memory:
            raise MemoryError(f"out of memory for {len(rows)} rows")
        return [self._advance(window, row) for row in rows]

    def _advance(self, window: Window, row: Row) -> RowResult:
        if _begins_with(row, VENOM):
            return RowResult(error="venom")
        before = 0 if row.first else self._hashes[row.slot]
        hops = 0 if row.first else self._hops[row.slot]
        self._hashes[row.slot] = digest(before, row.samples)
        self._hops[row.slot] = hops + 1
        return RowResult([f"{self._hashes[row.slot]:08x}"], [hops * window.hop], [100],
                         progress=Progress(row.graph) if row.graph is not None and not row.last else None)

    def _check(self, window: Window, rows: Sequence[Row]) -> None:
        assert window in self.windows
        assert rows, "a step of no rows"
        taken = [row.slot for row in rows]
        assert len(set(taken)) == len(taken), f"slots repeat in {taken}"
        assert all(0 <= slot < self.slots for slot in taken), f"no such slot in {taken}"
        for row in rows:
            assert row.samples.dtype == np.int16
            assert len(row.samples) == window.hop_samples or (row.last and len(row.samples) < window.hop_samples)


def digest(before: int, samples: np.ndarray) -> int:
    """The hash of a stream after `samples`, given the hash before them."""
    return zlib.crc32(samples.astype("<i2").tobytes(), before)


def expected_pieces(chunks: Iterable[np.ndarray]) -> list[str]:
    """What a stream of these chunks gives, one piece a chunk."""
    pieces, state = [], 0
    for samples in chunks:
        state = digest(state, samples)
        pieces.append(f"{state:08x}")
    return pieces


def _begins_with(row: Row, value: int) -> bool:
    return len(row.samples) > 0 and int(row.samples[0]) == value
