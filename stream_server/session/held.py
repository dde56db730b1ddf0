"""Audio that waits to be heard: bytes as a client sends them, from which nothing can follow yet."""

from __future__ import annotations


class Held:
    """What a session has taken without hearing it. It is for the session to say how much that may be."""

    __slots__ = ("room", "fresh", "at", "size", "_parts")

    def __init__(self) -> None:
        self.room = 0
        """Bytes that may still be taken."""
        self.fresh = True
        """Something was taken since this was last set to False."""
        self.at = 0.0
        """When that was, by whoever knows a clock."""
        self.size = 0
        """Bytes that wait."""
        self._parts: list[bytes] = []

    def take(self, audio: bytes) -> bool:
        """Takes a message of audio. False where there is no room for it, or nothing in it: nothing is taken then."""
        size = len(audio)
        if not 0 < size <= self.room:
            return False
        self.room -= size
        self.size += size
        self.fresh = True
        self._parts.append(bytes(audio))
        return True

    def drain(self, more: bytes = b"") -> bytes:
        """All that waits, and `more` behind it; nothing waits any more. The room is not changed."""
        whole = b"".join((*self._parts, more))
        self._parts.clear()
        self.size = 0
        return whole
