"""Long text messages in pieces, for channels that carry short ones.

A message as it is begins with `{`. One that is longer than LONGEST_PIECE characters comes in pieces: each but the last
begins with `+`, the last with `.`; without these first characters, joined, they are the message.
"""

from __future__ import annotations

from collections.abc import Iterator

from stream_server.errors import ClientError

LONGEST_PIECE = 16_000
"""Characters: at most 48,000 bytes, which every browser takes in one message."""

_MORE, _LAST = "+", "."


def split(text: str) -> Iterator[str]:
    """The pieces that carry `text`, which does not begin with `+` or `.`: JSON never does."""
    if len(text) <= LONGEST_PIECE:
        yield text
        return
    last = (len(text) - 1) // LONGEST_PIECE * LONGEST_PIECE
    for start in range(0, last, LONGEST_PIECE):
        yield _MORE + text[start:start + LONGEST_PIECE]
    yield _LAST + text[last:]


class Joiner:
    """Puts the pieces of one direction of a channel together."""

    def __init__(self, longest: int) -> None:
        """`longest`: characters of a whole message."""
        self._longest = longest
        # Each piece counts with its first character, so that pieces with nothing in them are not kept for ever.
        self._longest_pieces = longest + -(-longest // LONGEST_PIECE)
        self._pieces: list[str] = []
        self._length = 0

    def receive(self, piece: str) -> str | None:
        """The message that `piece` completes. Raises ClientError where one is too long; its pieces are forgotten."""
        whole_already = not piece.startswith((_MORE, _LAST))
        length = len(piece) if whole_already else self._length + len(piece)
        if length > (self._longest if whole_already else self._longest_pieces):
            self._forget()
            raise ClientError("too_large", "the message is too long", value=f"{length} characters",
                              allowed=f"{self._longest} characters", fatal=True)
        if whole_already:
            return piece
        self._pieces.append(piece[1:])
        self._length = length
        if piece.startswith(_MORE):
            return None
        whole = "".join(self._pieces)
        self._forget()
        return whole

    def _forget(self) -> None:
        self._pieces, self._length = [], 0
