"""How often a client may have something that costs others time."""

from __future__ import annotations

HOTWORDS_EVERY_S = 0.1
"""A list of the longest kind takes a door some 4 ms to read: a client that sends list after list is read slower."""


class Pace:
    """Once in `every_s`; who comes sooner waits."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._next = float("-inf")

    def wait(self, now: float) -> float:
        """It was had once more, at `now` in seconds: how long the client is to be kept waiting."""
        wait = max(0.0, self._next - now)
        self._next = now + wait + self._every_s
        return wait
