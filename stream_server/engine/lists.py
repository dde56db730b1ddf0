"""Lists of hotwords on their way to become graphs: in pieces between steps, so that nobody's step waits for them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from stream_server.engine.stream import Stream
from stream_server.speech.context_graph import ContextGraph, GraphCache
from stream_server.speech.hotwords import HotwordList

SHORTEST_WORK_S = 0.002
PART_OF_A_STEP = 0.1
"""So long a step may be kept waiting for lists: a tenth of what the last one took, or the shortest work."""


@dataclass(eq=False)
class _Job:
    hotwords: HotwordList
    pieces: Iterator[ContextGraph | None]
    streams: dict[Stream, None] = field(default_factory=dict)


class Lists:
    """Streams with lists in, by `give` the same streams with their graphs out.

    A stream has one list here at most, for its chunk waits with it; so as many wait as sessions are admitted. Lists
    that wait take turns, piece by piece: a long one keeps no short one waiting.
    """

    def __init__(self, graphs: GraphCache, give: Callable[[Stream, ContextGraph], None],
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._graphs = graphs
        self._give = give
        self._clock = clock
        self._jobs: deque[_Job] = deque()
        self.step_s = 0.0
        """What the last step took."""

    def __len__(self) -> int:
        """Streams that wait."""
        return sum(len(job.streams) for job in self._jobs)

    @property
    def ready(self) -> bool:
        """Whether `work` has any."""
        return bool(self._jobs)

    def ask(self, stream: Stream, hotwords: HotwordList) -> None:
        """Has `stream` given the graph of its list: now where it is known, else by `work`."""
        graph = self._graphs.find(hotwords)
        if graph is not None:
            self._give(stream, graph)
            return
        job = next((job for job in self._jobs if job.hotwords == hotwords), None)
        if job is None:
            job = _Job(hotwords, self._graphs.building(hotwords))
            self._jobs.append(job)
        job.streams[stream] = None

    def forget(self, stream: Stream) -> None:
        """Nobody wants a stream's graph any more."""
        if not self._jobs:
            return
        for job in self._jobs:
            job.streams.pop(stream, None)
        self._jobs = deque(job for job in self._jobs if job.streams)

    def work(self) -> None:
        """Builds for as long as a step may wait."""
        if not self._jobs:
            return
        until = self._clock() + max(SHORTEST_WORK_S, PART_OF_A_STEP * self.step_s)
        while self._jobs:
            job = self._jobs.popleft()
            graph = next(job.pieces)
            if graph is None:
                self._jobs.append(job)
            else:
                self._graphs.keep(job.hotwords, graph)
                for stream in job.streams:
                    self._give(stream, graph)
            if self._clock() >= until:
                return
