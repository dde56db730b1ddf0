"""Packets of a real-time stream back in order: what is late is waited for, what is lost is not."""

from __future__ import annotations

from typing import NamedTuple

WAIT_S = 0.1
"""How long a missing packet is waited for, since one after it has come."""

MOST_WAITING = 64
"""Packets behind a missing one beyond which it is waited for no more."""

FURTHEST = 3_000
"""A sequence number further off than this is a sender that counts anew: a minute of packets of 20 ms."""


class Packet(NamedTuple):
    """One packet of RTP (RFC 3550): 16 bits of sequence number, 32 bits of time by the sender's clock."""

    sequence: int
    timestamp: int
    payload: bytes


class JitterBuffer:
    """Orders one stream. Nothing is held back while nothing is missing."""

    def __init__(self, wait_s: float = WAIT_S) -> None:
        self.lost = 0
        """Packets that had not come when they were waited for no more."""
        self.late = 0
        """Packets that came after that, or twice."""
        self._wait_s = wait_s
        self._next: int | None = None
        self._waiting: dict[int, tuple[Packet, float]] = {}

    def receive(self, packet: Packet, now: float) -> list[Packet]:
        """A packet came; those whose turn it is, in order. `now` is in seconds of any clock that does not jump."""
        if self._next is None:
            self._next = packet.sequence
        ahead = (packet.sequence - self._next + 0x8000 & 0xFFFF) - 0x8000
        before: list[Packet] = []
        if abs(ahead) > FURTHEST:
            before, self._next, ahead = self.take_all(), packet.sequence, 0
        sequence = self._next + ahead
        if ahead < 0 or sequence in self._waiting:
            self.late += 1
        else:
            self._waiting[sequence] = packet, now
        return before + self.take(now)

    def take(self, now: float) -> list[Packet]:
        """The packets whose turn it is by `now`."""
        ready = []
        while self._waiting:
            found = self._waiting.pop(self._next, None)
            if found is not None:
                ready.append(found[0])
                self._next += 1
            elif len(self._waiting) > MOST_WAITING or now - self._oldest >= self._wait_s:
                self._skip()
            else:
                break
        return ready

    def take_all(self) -> list[Packet]:
        """All packets that are there, in order, whatever is missing between them."""
        packets = [self._waiting[sequence][0] for sequence in sorted(self._waiting)]
        if self._waiting:
            last = max(self._waiting)
            self.lost += last + 1 - self._next - len(self._waiting)
            self._next = last + 1
            self._waiting.clear()
        return packets

    @property
    def _oldest(self) -> float:
        return min(came for _, came in self._waiting.values())

    def _skip(self) -> None:
        first = min(self._waiting)
        self.lost += first - self._next
        self._next = first
