"""Slots: rows of the runner's state, leased to one stream at a time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to a slot. `generation` counts the slot's tenants, so that a former tenant is known as such."""

    slot: int
    generation: int


class Slots:
    """Which slots are taken, and by which lease."""

    def __init__(self, count: int) -> None:
        if count < 1:
            raise ValueError(f"an engine needs at least one slot, not {count}")
        self._generations = [0] * count
        self._held = [False] * count
        self._free = list(range(count - 1, -1, -1))

    @property
    def count(self) -> int:
        return len(self._held)

    @property
    def in_use(self) -> int:
        return len(self._held) - len(self._free)

    def lease(self) -> Lease | None:
        """A lease of a free slot, or None where all are taken."""
        if not self._free:
            return None
        slot = self._free.pop()
        self._held[slot] = True
        self._generations[slot] += 1
        return Lease(slot, self._generations[slot])

    def holds(self, lease: Lease) -> bool:
        """Whether the lease is still its slot's tenant."""
        return self._held[lease.slot] and self._generations[lease.slot] == lease.generation

    def give_back(self, lease: Lease) -> None:
        """Ends a lease. Giving back what is not held is a bug of the caller: AssertionError."""
        if not self.holds(lease):
            raise AssertionError(f"slot {lease.slot} is not held by its tenant {lease.generation}")
        self._held[lease.slot] = False
        self._free.append(lease.slot)
