"""Work in pieces: a generator that yields wherever it may be put off, and returns its result at the end.

What it yields is None where a piece has ended; or, within one, parts that are to be done before it is gone on with, in
any order, by as many threads as like.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

Result = TypeVar("Result")
Parts = Sequence[Callable[[], object]]
Pieces = Generator[Parts | None, None, Result]


def finished(pieces: Pieces[Result]) -> Result:
    """The result of all pieces, one after the other."""
    while True:
        try:
            for part in next(pieces) or ():
                part()
        except StopIteration as end:
            return end.value
