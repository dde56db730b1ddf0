"""What a door must offer of a connection, whatever carries it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from stream_server.doors.hold import Hold

Take = Callable[[bytes], Hold | None]
"""Handles a binary message, unless it returns None. Further ones may be put into what it returns instead, the moment
they come and as long as that takes them."""


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

    @property
    def left(self) -> bool:
        """The client said goodbye or broke the protocol: its connection was not just lost, and it will not be back."""

    def offer_bytes(self, take: Take) -> None:
        """Binary messages are offered to `take` the moment they come, while `receive` waits and none is before them.

        What `take` returns None for is received as usual. It never raises.
        """

    @property
    def free(self) -> bool:
        """Whether a text can be sent without waiting."""

    def send_now(self, text: str) -> bool:
        """Sends if that needs no waiting; False where it does, or where the client is gone: nothing is sent then."""

    async def send(self, text: str) -> None:
        """Returns once the network has taken most of it. Raises LinkLost."""

    async def close(self, code: int, reason: str) -> None:
        """Says goodbye and waits, within bounds, until the client has heard it. Does nothing where it is gone."""

    def abort(self) -> None:
        """Ends the connection at once, with whatever it still holds."""
