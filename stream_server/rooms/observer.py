"""What is worth counting of rooms, told as it happens."""

from __future__ import annotations

from typing import Protocol


class RoomObserver(Protocol):
    """Told by the rooms of a door."""

    def rooms(self, count: int) -> None:
        """So many rooms there are, at all doors."""

    def viewers(self, change: int) -> None:
        """So many more viewers are at this door, or fewer."""

    def captions(self, count: int) -> None:
        """So many finals were written."""

    def captions_lost(self, count: int) -> None:
        """So many finals were not, as the store has long taken nothing."""

    def viewer_cut(self) -> None:
        """A viewer that took nothing was cut off."""
