"""Dialects: wire protocols in, session commands out; session messages in, wire messages out. Pure, like the session."""

from __future__ import annotations

from typing import Protocol

from stream_server.session.messages import Command, ServerMessage


class Dialect(Protocol):
    """Translates for one connection. Holds what the wire protocol must remember, never text to recognise.

    What the driver may rely on, and what it must do:

    1. *Commands.* The first command is a Start; a Flush or Stop is only given out between a Start and its Stop.
       A Start's fields are in range (`ranges.py`); where a session refuses one all the same, the connection ends.
    2. *Order.* `receive_bytes` gives commands that come before its audio, `receive_text` audio that comes before
       its commands. The first bytes may be held back until it is plain whether they are a WAV header; they then
       come with the next.
    3. *Several sessions.* A connection may carry several sessions, one after another, never two at once. After
       a Stop the next command is a Start again, of a new session whose times begin at 0. A driver that sees it
       before the former session's Ended waits (and stops reading) until that Ended was sent, then opens the next.
    4. *Errors.* Where `receive_text` or `receive_bytes` raises ClientError, nothing of that message was done and
       the dialect is as it was before; the driver tells the client with `send(Error(...))` and goes on, unless
       the error is fatal.
    5. *Messages.* `send` is called with every message of every session, in order, the moment before it goes out,
       and exactly once: deltas are computed there. Ready is a session's first message, Ended its last. Errors that
       belong to no session (rule 4, Overloaded) are sent the same way. After a fatal Error the driver closes: at
       once where no session is open, otherwise after its Ended.
    6. *Plain audio.* Once a binary message has given a session audio, those that follow are its audio as they are,
       until its Stop: the driver need not ask.
    7. *The end.* `ended` is looked at after each `send`, once its texts are out.
    """

    resumes: bool
    """The protocol has a word for going on with a session whose connection was lost."""

    def receive_text(self, text: str) -> tuple[list[Command], bytes]:
        """What a text message asks for, and the audio in it where the protocol has audio in text messages.

        Raises ClientError; the dialect is then as it was before.
        """

    def receive_bytes(self, data: bytes) -> tuple[list[Command], bytes]:
        """What must be said to the session before these bytes (an implied Start, say), and the audio in them.

        Raises ClientError; the dialect is then as it was before.
        """

    def send(self, message: ServerMessage) -> list[str]:
        """The text messages that tell a client `message`; none where the protocol has no word for it."""

    @property
    def ended(self) -> bool:
        """The protocol says that the server closes the connection now."""
