"""What the engine asks of models: one step over rows of slots; and, of the second pass's, whole segments. Knows no
tensors and no queues."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec
import numpy as np

from stream_server.audio.windows import Window
from stream_server.engine.pieces import Pieces
from stream_server.speech.context_graph import ContextGraph
from stream_server.speech.decoding import Progress
from stream_server.speech.hotwords import HotwordList
from stream_server.speech.recognition import Span


class Row(msgspec.Struct, frozen=True):
    """One stream's part in a step.

    `samples` are int16 at 16 kHz: exactly a hop, or 0 to a hop of them where `last` is set. `first` says that
    the slot's state belongs to a former tenant and is to be forgotten before this step. `graph` is of the stream's
    hotwords, if it has any; `progress` is what its last step gave, None at first.
    """

    slot: int
    samples: np.ndarray
    first: bool = False
    last: bool = False
    graph: ContextGraph | None = None
    progress: Progress | None = None


class RowResult(msgspec.Struct, frozen=True):
    """What a row's step recognised, oldest first.

    `pieces` are vocabulary entries (`@@` at the end of an unfinished English word); `frames[i]` is the frame of
    60 ms, counted from the stream's first sample, in which `pieces[i]` fired; `confidences[i]` is in percent. Of them
    the last `undecided` are as a search for hotwords has them as of now: the next step, which is to be given
    `progress`, begins with these positions again. `error` says that this row failed (its slot's state is then
    worthless) while its neighbours did not.
    """

    pieces: list[str] = []
    frames: list[int] = []
    confidences: list[int] = []
    error: str | None = None
    undecided: int = 0
    progress: Progress | None = None


def batch_sizes(most: int) -> list[int]:
    """The powers of two below `most`, and that: sizes of steps worth telling apart, the smallest first."""
    return [2**n for n in range(most.bit_length()) if 2**n < most] + [most]


class Runner(Protocol):
    """A model with its slots on one device. `run` is called by `workers` threads at once, for other slots each."""

    windows: Sequence[Window]
    slots: int
    max_batch: int
    """Rows that a step may have."""
    vocabulary: Sequence[str]
    """The piece of each id."""
    workers: int
    """Steps that may run at once."""

    def warm_up(self) -> None:
        """Run every window once, so that the first client pays for nothing. Raises EngineError."""

    def run(self, window: Window, rows: Sequence[Row]) -> list[RowResult]:
        """One step of all `rows`, which are in distinct slots; results in their order.

        May raise anything; then every row's state is as it was, and the same rows may be run again.
        """


@dataclass(frozen=True, slots=True)
class Segment:
    """A closed segment for the second pass: int16 at 16 kHz, and its session's hotwords, if it has any."""

    samples: np.ndarray
    hotwords: HotwordList | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """What the second pass heard in a segment: pieces as in RowResult, their spans in samples since the segment's
    first one, and their probabilities in percent. `error` says that this segment failed while its neighbours did not.
    """

    pieces: list[str] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    confidences: list[int] = field(default_factory=list)
    error: str | None = None


class SecondRunner(Protocol):
    """The second pass's model on one device; it keeps nothing of a segment, so that any number may be under way."""

    max_batch: int
    """Segments that may be heard together."""

    def warm_up(self) -> None:
        """So that the first segment pays for nothing. Raises EngineError."""

    def hear(self, segments: Sequence[Segment]) -> Pieces[list[Heard]]:
        """The segments' results in their order, in pieces of work: whoever runs it may leave it at a `yield`, or
        between parts, for as long as they like, and go on in another thread. May raise anything."""
