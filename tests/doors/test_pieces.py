"""Long messages in pieces, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_server.doors.pieces import LONGEST_PIECE, Joiner, split
from stream_server.errors import ClientError


@given(length=st.integers(1, 4 * LONGEST_PIECE), short=st.text(max_size=5))
def test_what_is_split_comes_together_again_and_leaves_nothing(length: int, short: str) -> None:
    joiner = Joiner(4 * LONGEST_PIECE)
    for text in ("{" + "字" * (length - 1), "{" + short):
        pieces = list(split(text))
        assert max(map(len, pieces)) <= LONGEST_PIECE + 1
        joined = [joiner.receive(piece) for piece in pieces]
        assert joined == [None] * (len(pieces) - 1) + [text]


def test_a_message_of_too_many_pieces_is_refused_and_forgotten() -> None:
    joiner = Joiner(10)
    joiner.receive("+" + "a" * 8)
    with pytest.raises(ClientError, match="too long"):
        joiner.receive("+abc")
    assert joiner.receive(".{}") == "{}"


def test_pieces_with_nothing_in_them_are_not_kept_for_ever() -> None:
    joiner = Joiner(10)
    with pytest.raises(ClientError, match="too long"):
        for _ in range(100):
            joiner.receive("+")


def test_a_message_in_one_piece_is_held_to_the_same_length() -> None:
    joiner = Joiner(10)
    assert joiner.receive("{" + "a" * 9) == "{" + "a" * 9
    for piece in ("{" + "a" * 10, "." + "a" * 11):
        with pytest.raises(ClientError, match="too long"):
            joiner.receive(piece)
