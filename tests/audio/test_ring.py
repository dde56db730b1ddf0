"""Audio by absolute index."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_server.audio.ring import BLOCK, Ring


def counted(start: int, count: int) -> np.ndarray:
    return (np.arange(start, start + count) % 30_000).astype(np.int16)


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(0, 40_000), st.integers(0, 90_000)), max_size=12), seed=st.integers(0, 9))
def test_what_is_read_is_what_was_appended(steps, seed):
    ring, random = Ring(100_000), np.random.default_rng(seed)
    for count, before in steps:
        if count > ring.room:
            with pytest.raises(BufferError):
                ring.append(counted(ring.end, count))
        else:
            ring.append(counted(ring.end, count))
        ring.forget(before)
        assert 0 <= ring.start <= ring.end and ring.end - ring.start + ring.room == 100_000
        start, end = sorted(random.integers(ring.start, ring.end + 1, 2))
        assert np.array_equal(ring.read(start, end), counted(start, end - start))


def test_what_was_forgotten_or_has_not_come_cannot_be_read():
    ring = Ring(1_000)
    ring.append(counted(0, 100))
    ring.forget(50)
    for start, end in [(49, 60), (60, 101), (70, 60)]:
        with pytest.raises(IndexError):
            ring.read(start, end)
    assert len(ring.read(100, 100)) == 0


def test_samples_yet_to_come_are_not_forgotten():
    ring = Ring(1_000)
    ring.append(counted(0, 10))
    ring.forget(500)
    ring.append(counted(10, 10))
    assert ring.start == 10 and np.array_equal(ring.read(10, 20), counted(10, 10))


def test_memory_follows_what_is_held_not_what_has_passed():
    ring = Ring(10 * BLOCK)
    for _ in range(2_000):
        ring.append(counted(0, 7_777))
        ring.forget(ring.end - 20_000)
        assert ring.blocks <= 4
    assert ring.end == 2_000 * 7_777


def test_a_copy_is_given():
    ring = Ring(10)
    ring.append(counted(1, 3))
    ring.read(0, 3)[:] = 0
    assert ring.read(0, 3).tolist() == [1, 2, 3]
