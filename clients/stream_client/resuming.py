"""What has to be kept so that a session survives its connection: what was sent, and what was heard. No sockets here."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from stream_client.errors import ConnectionFailed
from stream_client.events import Event, Final, Flushed, Partial, Speech
from stream_client.wishes import SAMPLE_BYTES, SAMPLE_RATE

KEPT_S = 300
"""Audio that is kept to be sent again. For live sound a few seconds would do; of a file that is sent as fast as it
goes, the buffers of two kernels hold minutes."""

PAUSES_S = (0.0, 0.2, 0.5, 1.0, 2.0, 4.0)
"""Before each try to connect again; the last of them before all others too."""


def pauses() -> Iterator[float]:
    yield from PAUSES_S
    while True:
        yield PAUSES_S[-1]


@dataclass(frozen=True, slots=True)
class _Item:
    """`begin`: bytes of audio before it, `number`: text messages before it."""

    message: bytes | str
    begin: int
    number: int

    @property
    def end(self) -> int:
        return self.begin + (len(self.message) if isinstance(self.message, bytes) else 0)


class Sent:
    """Messages in the order in which they are sent: those still to go, and behind them those that may have to go again.

    What the server has of them is known only from what it says when the session is resumed.
    """

    def __init__(self, kept_s: float = KEPT_S) -> None:
        self._most = round(kept_s * SAMPLE_RATE) * SAMPLE_BYTES
        self._gone: deque[_Item] = deque()
        self._waiting: deque[_Item] = deque()
        self._bytes = 0
        self._texts = 0
        self._kept_from = 0

    def put(self, message: bytes | str) -> None:
        """To be sent after all others."""
        item = _Item(message, self._bytes, self._texts)
        self._waiting.append(item)
        self._bytes = item.end
        self._texts += isinstance(message, str)

    def take(self) -> bytes | str | None:
        """The next message to be sent; None where all are on their way."""
        if not self._waiting:
            return None
        item = self._waiting.popleft()
        self._gone.append(item)
        while item.end - self._gone[0].end > self._most:
            self._kept_from = self._gone.popleft().end
        return item.message

    def rewind(self, samples: int, messages: int) -> None:
        """The server has so many samples and text messages: what comes after them is to be sent, again or at last.

        Raises ConnectionFailed where that is not kept any more.
        """
        position = samples * SAMPLE_BYTES
        if position < self._kept_from:
            raise ConnectionFailed(f"more than {self._most // SAMPLE_RATE // SAMPLE_BYTES} s of audio would have to be "
                                   "sent again")
        every = (*self._gone, *self._waiting)
        self._gone.clear()
        self._waiting = deque(rest for item in every if (rest := _rest(item, position, messages)) is not None)


def _rest(item: _Item, position: int, messages: int) -> _Item | None:
    """What the server does not have of it."""
    if isinstance(item.message, str):
        return item if item.number >= messages else None
    if item.end <= position:
        return None
    return item if item.begin >= position else _Item(item.message[position - item.begin:], position, item.number)


class Heard:
    """Tells what is new from what the server says again because it cannot know that it was read."""

    def __init__(self) -> None:
        self.finals = 0
        self._segments = 0
        self._partial = (-1, 0)
        self._flushes: deque[str] = deque()

    def flush(self, id: str) -> None:
        """A flush is sent."""
        self._flushes.append(id)

    def is_new(self, event: Event) -> bool:
        """Whether the event was not heard before; it counts as heard from now on."""
        if isinstance(event, Final):
            new = event.segment >= self.finals
            self.finals = max(self.finals, event.segment + 1)
        elif isinstance(event, Speech):
            new = event.segment >= self._segments
            self._segments = max(self._segments, event.segment + 1)
        elif isinstance(event, Partial):
            place = (event.segment, event.revision)
            new = place > self._partial
            self._partial = max(self._partial, place)
        elif isinstance(event, Flushed):
            new = event.id in self._flushes
            # Those before it were refused: answers come in order.
            while new and self._flushes.popleft() != event.id:
                pass
        else:
            return True
        return new
