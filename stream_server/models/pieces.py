"""Work in pieces: a generator that yields wherever it may be put off, and returns its result at the end."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

Result = TypeVar("Result")
Pieces = Generator[None, None, Result]


def finished(pieces: Pieces[Result]) -> Result:
    """The result of all pieces, one after the other."""
    while True:
        try:
            next(pieces)
        except StopIteration as end:
            return end.value
