"""Dialects: wire protocols in, session commands out; session messages in, wire messages out. Pure, like the session."""

from __future__ import annotations

from typing import Protocol

from stream_server.session.messages import Command, ServerMessage


class Dialect(Protocol):
    """Translates for one connection. Holds what the wire protocol must remember, never audio or text to recognise."""

    def receive_text(self, text: str) -> list[Command]:
        """What a text message asks for. Raises ClientError; the dialect is then as it was before."""

    def receive_bytes(self, data: bytes) -> tuple[list[Command], bytes]:
        """What must be said to the session before these bytes (an implied Start, say), and the audio in them."""

    def send(self, message: ServerMessage) -> list[str]:
        """The text messages that tell a client `message`; none where the protocol has no word for it."""

    @property
    def ended(self) -> bool:
        """The protocol says that the server closes the connection now."""
