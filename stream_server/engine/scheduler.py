"""Which streams step next. Holds no tensors and no clock."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from stream_server.audio.windows import Window
from stream_server.engine.stream import Lane, Stream


@dataclass(frozen=True, slots=True)
class Batch:
    """Streams that step together: distinct, all of one lane and one window, the earliest deadline first."""

    lane: Lane
    window: Window
    streams: list[Stream]


class Scheduler:
    """Serves the highest lane with work; within it the window of the earliest deadline, earliest deadlines first.

    A batch is whatever is ready, never waited for: while the device is idle, waiting only adds latency, and while it is
    busy the next batch fills by itself. Lanes are not mixed, so that a live step never pays for rows of files.
    """

    def __init__(self, max_batch: int) -> None:
        if max_batch < 1:
            raise ValueError(f"a batch has at least one row, not {max_batch}")
        self.max_batch = max_batch
        self._queues: dict[tuple[Lane, Window], dict[Stream, _Place]] = {}
        self._arrivals = 0

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def __contains__(self, stream: Stream) -> bool:
        return stream in self._queues.get((stream.lane, stream.window), ())

    def add(self, stream: Stream) -> None:
        """Queues a stream's pending chunk. A stream is queued once at most: AssertionError otherwise."""
        if stream.pending is None:
            raise AssertionError("a stream without a chunk has nothing to schedule")
        if stream in self:
            raise AssertionError("a stream has at most one chunk queued")
        self._arrivals += 1
        place = (stream.pending.deadline, self._arrivals)
        self._queues.setdefault((stream.lane, stream.window), {})[stream] = place

    def remove(self, stream: Stream) -> None:
        """Takes a stream out where it is queued, as when its session went away."""
        self._take(stream)

    def schedule(self, sharers: int = 1) -> Batch | None:
        """The next batch, which leaves the queue; None where nothing is ready. One of several who step at once takes
        its share of what is ready."""
        if not self._queues:
            return None
        lane, window = min(self._queues, key=lambda queue: (queue[0], min(self._queues[queue].values())))
        queue = self._queues[lane, window]
        rows = min(self.max_batch, -(-len(queue) // sharers))
        streams = heapq.nsmallest(rows, queue, key=queue.__getitem__)
        for stream in streams:
            self._take(stream)
        return Batch(lane, window, streams)

    def _take(self, stream: Stream) -> None:
        key = (stream.lane, stream.window)
        queue = self._queues.get(key)
        if queue is not None and queue.pop(stream, None) is not None and not queue:
            del self._queues[key]


_Place = tuple[float, int]
"""Deadline, then order of arrival: ties are served in turn."""
