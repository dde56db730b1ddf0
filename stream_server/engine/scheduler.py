"""Which streams step next. Holds no tensors and no clock."""

from __future__ import annotations

from dataclasses import dataclass

from stream_server.audio.windows import Window
from stream_server.engine.stream import Lane, Stream
from stream_server.units import SAMPLE_RATE

PATIENCE = 0.25
"""Part of a hop that a chunk may wait for others where waiting pays: text while people speak comes first."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Streams that step together: distinct, all of one lane and one window, the earliest deadline first."""

    lane: Lane
    window: Window
    streams: list[Stream]


class Scheduler:
    """Serves the highest lane with work; within it the window of the earliest deadline, earliest deadlines first.

    A batch is whatever is ready: while the device is idle, waiting only adds latency, and while it is busy the next
    batch fills by itself. Lanes are not mixed, so that a live step never pays for rows of files.
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
        queue = self._queues.setdefault((stream.lane, stream.window), {})
        if stream in queue:
            raise AssertionError("a stream has at most one chunk queued")
        self._arrivals += 1
        queue[stream] = (stream.pending.deadline, self._arrivals)

    def remove(self, stream: Stream) -> None:
        """Takes a stream out where it is queued, as when its session went away."""
        key = (stream.lane, stream.window)
        queue = self._queues.get(key)
        if queue is not None and queue.pop(stream, None) is not None and not queue:
            del self._queues[key]

    def presses(self, now: float) -> bool:
        """Whether to wait brings nothing more, or takes too long: a batch is full, or PATIENCE of some hop is over."""
        return any(len(queue) >= self.max_batch
                   or min(queue.values())[0] - now < (1 - PATIENCE) * window.hop_samples / SAMPLE_RATE
                   for (_, window), queue in self._queues.items())

    def schedule(self, sharers: int = 1) -> Batch | None:
        """The next batch, which leaves the queue; None where nothing is ready. One of several who step at once takes
        its share of what is ready."""
        if not self._queues:
            return None
        lane, window = min(self._queues, key=lambda queue: (queue[0], min(self._queues[queue].values())))
        queue = self._queues[lane, window]
        rows = min(self.max_batch, -(-len(queue) // sharers))
        # Chunks come nearly in the order of their deadlines, and what is nearly sorted is quickly sorted.
        streams = sorted(queue, key=queue.__getitem__)[:rows]
        for stream in streams:
            del queue[stream]
        if not queue:
            del self._queues[lane, window]
        return Batch(lane, window, streams)


_Place = tuple[float, int]
"""Deadline, then order of arrival: ties are served in turn."""
