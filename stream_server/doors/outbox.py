"""Messages on their way to one client: ordered, finals kept, of a segment's partials only the latest."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import NamedTuple

from stream_server.session.messages import Final, Partial, ServerMessage

FULL = 64
"""Messages from which on nothing more is read from the client, so that what it is told stays bounded."""


class Goodbye(NamedTuple):
    """How the server closes the connection."""

    code: int
    reason: str


class Rest(NamedTuple):
    """What is left to be sent of a message: texts of the client's dialect."""

    message: ServerMessage
    texts: list[str]


class Outbox:
    """Filled by whoever has something to say, emptied by one writer."""

    def __init__(self) -> None:
        self.goodbye: Goodbye | None = None
        self.awaited = False
        """The writer waits, and nothing is in here: a message may go past it."""
        self._messages: deque[ServerMessage | Rest] = deque()
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def full(self) -> bool:
        return len(self._messages) >= FULL

    def put(self, message: ServerMessage) -> None:
        """Adds a message. An unsent partial of the same segment gives way to a newer one and to the final."""
        if isinstance(message, Partial | Final):
            self._drop_partial(message.segment)
        self.awaited = False
        self._messages.append(message)
        self._filled.set()

    def put_rest(self, rest: Rest) -> None:
        """Adds what could not be sent at once of a message that went past: before all others."""
        self.awaited = False
        self._messages.appendleft(rest)
        self._filled.set()

    def close(self, code: int, reason: str) -> None:
        """No more after what is in here now; the first goodbye counts."""
        if self.goodbye is None:
            self.goodbye = Goodbye(code, reason)
        self.awaited = False
        self._filled.set()

    def finish(self, code: int, reason: str) -> None:
        """No more at all: what is still in here has come too late."""
        self._messages.clear()
        self.close(code, reason)

    async def take(self) -> ServerMessage | Rest | None:
        """The next message; None once closed and empty."""
        while not self._messages:
            if self.goodbye is not None:
                return None
            self._filled.clear()
            self.awaited = True
            await self._filled.wait()
        return self._messages.popleft()

    def _drop_partial(self, segment: int) -> None:
        # At most one is in here, and near the end: segments come in order.
        for message in reversed(self._messages):
            if isinstance(message, Partial) and message.segment == segment:
                self._messages.remove(message)
                return
