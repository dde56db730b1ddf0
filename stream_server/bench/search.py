"""The largest number that still holds, found by trying."""

from __future__ import annotations

from collections.abc import Callable

PRECISION = 0.05
"""The search ends where the number that failed is within this of the one that held."""


def most(holds: Callable[[int], bool], first: int, limit: int) -> int:
    """The largest number from 1 to `limit` that held, 0 where 1 did not; tried from `first` on.

    Doubles while it holds, halves while it does not, then closes in. `holds` may be noisy: what is returned has held
    once, and a number at most 5 % greater (or the next one) has not, unless it is the limit.
    """
    held, failed = 0, limit + 1
    number = min(max(1, first), limit)
    while failed - held > max(1, int(PRECISION * held)):
        if holds(number):
            held = number
        else:
            failed = number
        if not held:
            number = failed // 2
        elif failed > limit:
            number = min(2 * held, limit)
        else:
            number = (held + failed) // 2
    return held
