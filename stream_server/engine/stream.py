"""The engine's view of a segment being recognised, and of the session that it belongs to."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np

from stream_server.audio.ring import Ring
from stream_server.audio.windows import Window
from stream_server.engine.runner import Row
from stream_server.engine.slots import Lease
from stream_server.speech.context_graph import ContextGraph
from stream_server.speech.decoding import Progress
from stream_server.speech.hotwords import HotwordList
from stream_server.speech.recognition import Span

TenantKey = tuple[bytes, str]
"""Routing id of the door, name of the session within that door."""


class Lane(enum.IntEnum):
    """Which work goes first: the lower number."""

    LIVE = 0
    FINAL = 1
    FILE = 2


@dataclass(slots=True, eq=False)
class Pending:
    """A chunk that waits for its step. Times are seconds of the engine's clock; `samples` are int16 at 16 kHz.
    `unspelt`: see Hypothesis; `closed` is what the second pass is to hear once the step is done."""

    sequence: int
    samples: np.ndarray
    last: bool
    arrived: float
    deadline: float
    unspelt: list[str] | None = None
    closed: Span | None = None


@dataclass(slots=True, eq=False)
class Stream:
    """A segment being recognised: at most one chunk pending, a lease from its first chunk to its last result.

    `stepping`: a step with its pending chunk has begun and not ended; its slot is being written. `graph` is of its
    `hotwords`, if it has any; `progress`: see Row. `audio`: what the second pass may want of it, or None where it is
    not to be kept.
    """

    tenant: TenantKey
    generation: int
    window: Window
    lane: Lane = Lane.LIVE
    lease: Lease | None = None
    next_sequence: int = 0
    pending: Pending | None = None
    stepping: bool = False
    hotwords: HotwordList | None = None
    graph: ContextGraph | None = None
    progress: Progress | None = None
    audio: Ring | None = None

    def row(self) -> Row:
        """The pending chunk as a row of a step; the stream must have both a chunk and a lease."""
        if self.pending is None or self.lease is None:
            raise AssertionError(f"stream {self.generation} of {self.tenant[1]} has no chunk or no slot")
        pending = self.pending
        return Row(self.lease.slot, pending.samples, pending.sequence == 0, pending.last, self.graph, self.progress)


@dataclass(slots=True, eq=False)
class Tenant:
    """An admitted session. `generation` is that of its latest stream, -1 before the first."""

    key: TenantKey
    generation: int = -1
    stream: Stream | None = None
