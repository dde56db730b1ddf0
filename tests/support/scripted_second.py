"""A second pass without a model: what it hears in a segment is the hash of its samples, and of its hotwords."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from stream_server.engine.pieces import Parts, Pieces
from stream_server.engine.runner import Heard, Segment
from stream_server.speech.recognition import Span
from tests.support.scripted_runner import POISON, VENOM, digest


class ScriptedSecond:
    """Implements SecondRunner: `pieces` pieces of work for each pass, each of which does `work` first, and all but the
    last of which have `parts`, a function of the piece's number."""

    def __init__(self, pieces: int = 2, work: Callable[[], object] = lambda: None, max_batch: int = 8,
                 parts: Callable[[int], Parts | None] = lambda piece: None) -> None:
        self.max_batch = max_batch
        self.pieces = pieces
        self.work = work
        self.parts = parts
        self.memory = max_batch
        """Segments beyond which a pass raises."""
        self.batches: list[list[int]] = []
        """The lengths of the segments that were heard together."""

    def warm_up(self) -> None:
        """There is nothing to warm."""

    def hear(self, segments: Sequence[Segment]) -> Pieces[list[Heard]]:
        assert segments
        self.batches.append([len(segment.samples) for segment in segments])
        if len(segments) > self.memory:
            raise MemoryError(f"out of memory for {len(segments)} segments")
        for piece in range(self.pieces - 1):
            self.work()
            yield self.parts(piece)
        self.work()
        if any(segment.samples[0] == POISON for segment in segments):
            raise RuntimeError("a segment is poisoned")
        return [_heard(segment) for segment in segments]


def expected(samples: np.ndarray, hotwords: object = None) -> str:
    """What is heard in a segment."""
    return f"{digest(hash(hotwords) & 0xFFFF if hotwords else 0, samples):08x}"


def _heard(segment: Segment) -> Heard:
    if segment.samples[0] == VENOM:
        return Heard(error="venom")
    length = len(segment.samples)
    return Heard([expected(segment.samples, segment.hotwords)], [Span(length // 2, length)], [50])
