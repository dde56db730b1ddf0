"""The second pass's tokens beside those of FunASR's SeacoParaformer: same weights, same recordings, same hotwords."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence

import numpy as np

from stream_server.models.architecture import UNSPOKEN
from stream_server.models.offline_architecture import SEACO_LARGE
from stream_server.models.offline_checkpoint import random_offline_model
from tests.support.offline_reference import OfflineReference

LISTS = (None, 0, 10, 60)
"""Hotwords of the rows of a batch."""

LAYERS = {"encoder_layers": 4, "decoder_layers": 2}
RECORDINGS = {False: 8, True: 48}


def compare(shares: Sequence[np.ndarray], full: bool) -> dict[str, int]:
    """Segments in batches, each with a list of its own, against FunASR one by one; at full size or with few layers."""
    base = SEACO_LARGE.base if full else dataclasses.replace(SEACO_LARGE.base, **LAYERS)
    network = random_offline_model(dataclasses.replace(SEACO_LARGE, base=base)).network
    reference, random_ = OfflineReference(network), random.Random(7)
    tokens = wrong = times = 0
    shares = shares[:: max(1, len(shares) // RECORDINGS[full])][: RECORDINGS[full]]
    for start in range(0, len(shares), len(LISTS)):
        part = shares[start : start + len(LISTS)]
        lists = [None if count is None else [_word(random_, base.vocabulary) for _ in range(count)]
                 for count in LISTS[: len(part)]]
        ours = network.recognise(part, [None if words is None else network.encode_words(words) for words in lists])
        for samples, words, one in zip(part, lists, ours, strict=True):
            theirs = reference.recognise(samples, words)
            tokens += len(theirs.ids)
            wrong += sum(a != b for a, b in zip(theirs.ids, one.ids, strict=False))
            wrong += abs(len(theirs.ids) - len(one.ids))
            times += _apart(one.times, theirs.times)
    return {"offline_segments": len(shares), "offline_tokens": tokens, "offline_mismatched_tokens": wrong,
            "offline_segments_with_other_times": times}


def _apart(ours: Sequence[Sequence[int]], theirs: Sequence[Sequence[int]]) -> bool:
    """Whether times differ but for what is known: FunASR's may lie before the segment, and be a millisecond early."""
    return len(ours) != len(theirs) or any(abs(a - max(b, 0)) > 1 for one, other in zip(ours, theirs, strict=True)
                                           for a, b in zip(one, other, strict=True))


def _word(random_: random.Random, vocabulary: int) -> list[int]:
    return [random_.randrange(UNSPOKEN, vocabulary) for _ in range(random_.randint(1, 4))]
