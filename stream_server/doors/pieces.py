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
        self._pieces: list[str] = []
        self._length = 0

    def receive(self, piece: str) -> str | None:
        """The message that `piece` completes. Raises ClientError where one is too long; its pieces are forgotten."""
        if not piece.startswith((_MORE, _LAST)):
            return piece
        self._pieces.append(piece[1:])
        self._length += len(piece) - 1
        if self._length > self._longest:
            length = self._length
            self._forget()
            raise ClientError("too_large", "the message is too long", value=f"{length} characters",
                              allowed=f"{self._longest} characters", fatal=True)
        if piece.startswith(_MORE):
            return None
        whole = "".join(self._pieces)
        self._forget()
        return whole

    def _forget(self) -> None:
        self._pieces, self._length = [], 0
