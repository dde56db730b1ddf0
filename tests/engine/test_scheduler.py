from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_server.audio.windows import Window
from stream_server.engine.scheduler import PATIENCE, Scheduler
from stream_server.engine.stream import Lane, Pending, Stream
from stream_server.units import SAMPLE_RATE

WINDOWS = (Window(10, 5), Window(8, 4), Window(4, 4))
NOTHING = np.zeros(0, np.int16)


def ready(deadline: float, window: Window = WINDOWS[0], lane: Lane = Lane.LIVE) -> Stream:
    pending = Pending(0, NOTHING, last=True, arrived=0.0, deadline=deadline)
    return Stream((b"door", "session"), 0, window, lane, pending=pending)


streams = st.lists(st.builds(ready, st.integers(0, 20).map(float), st.sampled_from(WINDOWS), st.sampled_from(Lane)),
                   max_size=40)


def urgency(stream: Stream) -> tuple[Lane, float]:
    return stream.lane, stream.pending.deadline


@settings(deadline=None)
@given(added=streams, max_batch=st.integers(1, 9))
def test_every_chunk_is_served_once_and_the_most_urgent_first(added: list[Stream], max_batch: int) -> None:
    scheduler = Scheduler(max_batch)
    for stream in added:
        scheduler.add(stream)
    waiting = list(added)
    while (batch := scheduler.schedule()) is not None:
        assert 1 <= len(batch.streams) <= max_batch
        assert urgency(batch.streams[0]) == min(map(urgency, waiting))
        alike = [stream for stream in waiting if (stream.lane, stream.window) == (batch.lane, batch.window)]
        assert batch.streams == sorted(alike, key=urgency)[:max_batch]
        waiting = [stream for stream in waiting if stream not in batch.streams]
        assert len(scheduler) == len(waiting)
    assert waiting == []


@settings(deadline=None)
@given(added=streams, removed=st.lists(st.integers(0, 39), max_size=40))
def test_what_was_removed_is_not_served(added: list[Stream], removed: list[int]) -> None:
    scheduler = Scheduler(100)
    for stream in added:
        scheduler.add(stream)
    gone = {added[index] for index in removed if index < len(added)}
    for stream in gone:
        scheduler.remove(stream)
        scheduler.remove(stream)
    served: list[Stream] = []
    while (batch := scheduler.schedule()) is not None:
        served += batch.streams
    assert len(served) == len(set(served))
    assert set(served) == set(added) - gone


def test_equal_deadlines_are_served_in_turn() -> None:
    scheduler = Scheduler(2)
    first, second, third = (ready(1.0) for _ in range(3))
    for stream in (first, second, third):
        scheduler.add(stream)
    assert scheduler.schedule().streams == [first, second]
    scheduler.add(first)
    assert scheduler.schedule().streams == [third, first]


def test_a_stream_is_queued_once() -> None:
    scheduler = Scheduler(2)
    stream = ready(1.0)
    scheduler.add(stream)
    with pytest.raises(AssertionError, match="at most one chunk"):
        scheduler.add(stream)
    stream.pending = None
    with pytest.raises(AssertionError, match="nothing to schedule"):
        scheduler.add(stream)


def test_nothing_ready_is_no_batch() -> None:
    assert Scheduler(1).schedule() is None
    with pytest.raises(ValueError, match="at least one row"):
        Scheduler(0)


def test_chunks_press_once_a_batch_is_full_or_their_patience_is_over() -> None:
    scheduler, hop = Scheduler(2), WINDOWS[0].hop_samples / SAMPLE_RATE
    assert not scheduler.presses(0.0)
    scheduler.add(ready(hop))
    scheduler.add(ready(2 * hop, WINDOWS[1]))
    assert not scheduler.presses(0.99 * PATIENCE * hop) and scheduler.presses(1.01 * PATIENCE * hop)
    scheduler.add(ready(9 * hop))
    assert scheduler.presses(0.0)
