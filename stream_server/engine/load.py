"""How busy the engine's workers are."""

from __future__ import annotations

import math

MEMORY_S = 4.0
"""What has been done so long ago counts e times less than what is done now: about as long as a segment lasts."""


class Load:
    """Share of the workers' time that work has taken of late, 0 to about 1, as far as it is counted."""

    def __init__(self, workers: int) -> None:
        self._whole = MEMORY_S * workers
        self._busy = 0.0
        self._now = 0.0

    def add(self, seconds: float) -> None:
        """A worker has been at something for so long, or so much of it counts."""
        self._busy += seconds

    def tick(self, now: float) -> None:
        """It is `now`, in seconds; to be called often."""
        self._busy *= math.exp(min(0.0, self._now - now) / MEMORY_S)
        self._now = max(self._now, now)

    @property
    def share(self) -> float:
        return self._busy / self._whole
