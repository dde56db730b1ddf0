"""What a load run is to be like, and what follows from that: who says what, and when each stream begins."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stream_client.connection import DEFAULT_URL
from stream_client.load.speech import compose, find_files, read_stretches
from stream_client.load.wire import PROTOCOLS, Target
from stream_client.load.worker import Stream
from stream_client.wishes import Wishes

HOP_S = 0.6
"""The servers' usual step; streams are spread over one so that not all are due together."""
CORES_PER_PROCESS = 4
STARTS = ("spread", "burst")
GREETING_S = 3.0
"""Speech that the slow run begins with."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """A load run. Raises ValueError, with the field, its value and what is allowed."""

    url: str = DEFAULT_URL
    dialect: str = "native"
    streams: int = 1
    seconds: float = 30.0
    """Audio of each stream."""
    files: tuple[str | Path, ...] = ("samples",)
    """Recordings, or directories of them."""
    silence: float = 0.0
    """Share of each stream that is silence, put between stretches of speech."""
    start: str = "spread"
    ramp_s: float = HOP_S
    """`spread`: streams begin at random moments of the run's first `ramp_s` seconds. `burst`: all at once."""
    seed: int = 0
    message_ms: int = 60
    distinct: int = 4
    """Different contents among the streams; each needs a slow run of its own."""
    processes: int | None = None
    """None: one for every four cores that may be used."""
    patience_s: float = 30.0
    """How long a stream waits for its end after its last message."""
    wishes: Wishes = Wishes()
    insecure: bool = False
    cafile: str | None = None
    ruler: Path | None = None
    """Where the rulers are kept for further runs with the same audio against the same server."""

    def __post_init__(self) -> None:
        _check("dialect", self.dialect, self.dialect in PROTOCOLS, f"one of {', '.join(sorted(PROTOCOLS))}")
        _check("streams", self.streams, 1 <= self.streams <= 100_000, "1 to 100000")
        _check("seconds", self.seconds, 1 <= self.seconds <= 3600, "1 to 3600")
        _check("silence", self.silence, 0 <= self.silence <= 0.95, "0 to 0.95")
        _check("start", self.start, self.start in STARTS, " or ".join(STARTS))
        _check("ramp_s", self.ramp_s, 0 <= self.ramp_s <= 3600, "0 to 3600")
        _check("message_ms", self.message_ms, 10 <= self.message_ms <= 1000, "10 to 1000")
        _check("distinct", self.distinct, 1 <= self.distinct <= 64, "1 to 64")
        _check("processes", self.processes, self.processes is None or 1 <= self.processes <= 256, "1 to 256")
        _check("patience_s", self.patience_s, 1 <= self.patience_s <= 3600, "1 to 3600")
        self.target.speak()

    @property
    def target(self) -> Target:
        return Target(self.url, self.dialect, self.wishes, self.insecure, self.cafile)

    @property
    def worker_count(self) -> int:
        """Processes, never more than streams."""
        wanted = self.processes or max(1, _usable_cores() // CORES_PER_PROCESS)
        return min(wanted, self.streams)

    def contents(self) -> tuple[list[bytes], bytes]:
        """The audio of each distinct stream, and some seconds of plain speech. Raises MediaError."""
        count = min(self.distinct, self.streams)
        stretches = read_stretches(find_files(self.files), longest_s=count * self.seconds)
        audios = [compose(stretches, seconds=self.seconds, silence=self.silence, part=number / count,
                          seed=self.seed + number) for number in range(count)]
        return audios, compose(stretches, seconds=GREETING_S, silence=0, part=0, seed=self.seed)

    def plan(self) -> list[Stream]:
        """Every stream: what it says, and when it begins."""
        moments = random.Random(self.seed)
        count = min(self.distinct, self.streams)
        ramp_s = self.ramp_s if self.start == "spread" else 0.0
        return [Stream(number % count, moments.uniform(0.0, ramp_s)) for number in range(self.streams)]


def _check(name: str, value: object, holds: bool, allowed: str) -> None:
    if not holds:
        raise ValueError(f"{name} cannot be {value}; allowed: {allowed}")


def _usable_cores() -> int:
    affinity: Callable[[int], set[int]] | None = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1
