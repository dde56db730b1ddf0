"""What the second pass is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from stream_server.engine.runner import Heard, Segment
from stream_server.engine.stream import TenantKey


@dataclass(slots=True, eq=False)
class Job:
    """A segment that was closed, or with `guess` one that may soon be. `begin`: its first sample within its stream.
    Times are seconds of the engine's clock: when it is `due`, and when nobody waits for it any more. `wanted` becomes
    false where its session goes away, or the guess was wrong; `heard` is what came of a guess."""

    tenant: TenantKey
    generation: int
    sequence: int
    begin: int
    segment: Segment
    due: float
    too_late: float
    wanted: bool = True
    guess: bool = False
    heard: Heard | None = None

    @property
    def length(self) -> int:
        return len(self.segment.samples)
