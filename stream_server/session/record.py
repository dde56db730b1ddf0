"""What a session has said, kept for a client that lost its connection before it had read all of it."""

from __future__ import annotations

from collections import deque

import msgspec

from stream_server.errors import ClientError
from stream_server.session.messages import (
    Ended,
    Final,
    Flushed,
    HotwordsTaken,
    Partial,
    ServerMessage,
    Speech,
)

MOST_MESSAGES = 256
"""Messages that are kept, the finals among them. What a client has not read although it was said is what was on its way
when the connection broke: 64 in the outbox, and what the buffers of two kernels held, for live speech seconds."""

Kept = Speech | Final | HotwordsTaken | Flushed | Ended

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Kept)


class Record:
    """The last messages of a session as plain data, and of each open segment the last partial."""

    def __init__(self) -> None:
        self.finals = 0
        """Finals said in all."""
        # Each with how many finals were said before it.
        self._messages: deque[tuple[int, bytes]] = deque()
        self._partials: dict[int, Partial] = {}
        self._gone = 0

    def note(self, message: ServerMessage) -> None:
        """Something is said. Ready, Resumed and errors are not kept: nothing is lost with them that is still needed."""
        if isinstance(message, Partial):
            self._partials[message.segment] = message
        elif isinstance(message, Kept):
            self._messages.append((self.finals, _encoder.encode(message)))
            if isinstance(message, Final):
                self._partials.pop(message.segment, None)
                self.finals += 1
            if len(self._messages) > MOST_MESSAGES:
                self._messages.popleft()
                self._gone = self._messages[0][0]

    def again(self, segments: int) -> list[ServerMessage]:
        """All that was said after the first `segments` finals, but of partials only those that still hold.

        Raises ClientError where so many were not said, or the next ones are not kept any more.
        """
        if not self._gone <= segments <= self.finals:
            raise ClientError("bad_field", "the finals after so many are not kept" if segments < self._gone else
                              "so many finals were not sent", field="segments", value=segments,
                              allowed=f"a whole number from {self._gone} to {self.finals}", fatal=True)
        after = [_decoder.decode(message) for finals_before, message in self._messages if finals_before >= segments]
        return [*after, *self._partials.values()]
