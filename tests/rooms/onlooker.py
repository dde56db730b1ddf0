"""What rooms tell an observer, as it was told."""

from __future__ import annotations


class Onlooker:
    """Counts."""

    def __init__(self) -> None:
        self.counted = 0
        """How often it was told how many rooms there are."""
        self.present = 0
        self.written = 0
        self.lost = 0
        self.cut = 0

    def rooms(self, count: int) -> None:
        self.counted += 1

    def viewers(self, change: int) -> None:
        self.present += change

    def captions(self, count: int) -> None:
        self.written += count

    def captions_lost(self, count: int) -> None:
        self.lost += count

    def viewer_cut(self) -> None:
        self.cut += 1
