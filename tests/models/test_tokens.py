"""What rows without hotwords say, from the numbers that the device gave."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from stream_server.engine.runner import Row
from stream_server.models.architecture import UNSPOKEN
from stream_server.models.tokens import OVERFLOW, Said, answers

ROOM = 6
VOCABULARY = [f"piece {number}" for number in range(12)]

Token = tuple[int, int, int]
"""Id, frame, confidence."""

tokens = st.lists(st.tuples(st.integers(0, len(VOCABULARY) - 1), st.integers(0, 40), st.integers(0, 100)),
                  max_size=ROOM)


def packed(said: list[Token], fine: bool = True) -> list[int]:
    """As `program.pack` has it; behind the row's tokens is what others left there."""
    padded = [*said, *[(7, 7, 7)] * (ROOM - len(said))]
    return [len(said), int(fine), *(value for column in zip(*padded, strict=True) for value in column)]


@given(rows=st.lists(st.tuples(tokens, st.booleans()), min_size=1, max_size=5))
def test_a_row_says_its_tokens_but_those_that_nobody_speaks(rows: list[tuple[list[Token], bool]]) -> None:
    scores = torch.zeros(len(rows), ROOM, len(VOCABULARY))
    said = [Said(packed(each, fine), scores, place) for place, (each, fine) in enumerate(rows)]
    results = answers([Row(slot, np.zeros(0, np.int16)) for slot in range(len(rows))], said, VOCABULARY)
    for (each, fine), result in zip(rows, results, strict=True):
        if not fine:
            assert result == OVERFLOW
            continue
        spoken = [token for token in each if token[0] >= UNSPOKEN]
        assert result.pieces == [VOCABULARY[id_] for id_, _, _ in spoken]
        assert result.frames == [frame for _, frame, _ in spoken]
        assert result.confidences == [confidence for _, _, confidence in spoken]
        assert (result.error, result.undecided, result.progress) == (None, 0, None)
