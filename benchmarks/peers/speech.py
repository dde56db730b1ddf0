"""What all are given to hear: the same real recordings, one after the other, in hops of 600 ms."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from tests.support import recordings

HOP_SAMPLES = 9600
STREAM_HOPS = 50
"""Half a minute: then a stream ends and another begins. FunASR's step grows dearer with a stream's length."""

CORPORA = ("aishell", "fleurs", "clips")


@dataclass(frozen=True, slots=True)
class Hop:
    """Samples, int16, and whether a stream begins with them."""

    samples: np.ndarray
    first: bool


@cache
def all_hops() -> list[np.ndarray]:
    """Every recording's samples, joined and cut into whole hops. Raises FileNotFoundError where there are none."""
    if not recordings.present():
        raise FileNotFoundError(recordings.ABSENT)
    joined = np.concatenate([samples for name in CORPORA for samples in recordings.corpus(name)])
    whole = len(joined) // HOP_SAMPLES
    return np.split(joined[: whole * HOP_SAMPLES], whole)


def speaker(hops: list[np.ndarray], number: int) -> Iterator[Hop]:
    """One stream after the other, without end. Speakers of neighbouring numbers hear other parts of the recordings,
    and their streams do not end together."""
    start = number * 37 % len(hops)
    yield Hop(hops[start], True)
    count = 1
    while True:
        yield Hop(hops[(start + count) % len(hops)], (count + number * 7) % STREAM_HOPS == 0)
        count += 1

