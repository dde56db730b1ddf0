"""What a door must offer of a connection, whatever carries it."""

from __future__ import annotations

import asyncio
from typing import Protocol


class LinkLost(Exception):
    """The client is gone; nothing more can be sent."""


class Link(Protocol):
    """A client's connection: whole messages in, text messages out. One reader and one writer at a time."""

    peer: str
    """The client's address, for the log."""

    @property
    def lost(self) -> asyncio.Future[None]:
        """Done once no message can come any more: the client closed, broke the protocol or vanished."""

    async def receive(self) -> str | bytes:
        """The next message. Nothing is read from the network while nobody asks. Raises LinkLost."""

    async def send(self, text: str) -> None:
        """Returns once the network has taken most of it. Raises LinkLost."""

    async def close(self, code: int, reason: str) -> None:
        """Says goodbye and waits, within bounds, until the client has heard it. Does nothing where it is gone."""

    def abort(self) -> None:
        """Ends the connection at once, with whatever it still holds."""
