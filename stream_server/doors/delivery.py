"""What a connection's client is told: at once where its socket takes it, else in turn as it reads."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from stream_server.dialects import Dialect
from stream_server.doors.link import Link, LinkLost
from stream_server.doors.observer import Observer
from stream_server.doors.outbox import Outbox, Rest
from stream_server.session.messages import Error, ServerMessage

log = logging.getLogger(__name__)

INTERNAL_ERROR = (1011, "internal error; it was logged")


class Delivery:
    """`delivered` is called with each message that the link has taken whole."""

    def __init__(self, link: Link, dialect: Dialect, observer: Observer, timeout_s: float,
                 delivered: Callable[[ServerMessage], None]) -> None:
        """`timeout_s`: how long a client may leave a message unread before it is cut off."""
        self.outbox = Outbox()
        self._link = link
        self._dialect = dialect
        self._observer = observer
        self._timeout_s = timeout_s
        self._delivered = delivered

    def put(self, message: ServerMessage) -> None:
        """Says it now, or behind what waits; an error once it is known how the connection is closed after it."""
        if self.outbox.awaited and self._link.free and not isinstance(message, Error):
            self._deliver_now(message)
        else:
            self.outbox.put(message)

    async def run(self) -> None:
        """Says what waits, until the link is to be closed or lost."""
        try:
            while (message := await self.outbox.take()) is not None:
                await self._deliver(message)
        except LinkLost:
            return
        except TimeoutError:
            log.info("client %s read nothing for %g s: cut", self._link.peer, self._timeout_s)
            self._observer.failed("slow_reader")
            self._link.abort()
        except Exception:
            self._fail()

    def _deliver_now(self, message: ServerMessage) -> None:
        # Nearly always the client's socket takes it: to wake the writer would cost more than to send.
        try:
            texts = self._dialect.send(message)
            for place, text in enumerate(texts):
                if not self._link.send_now(text):
                    return self.outbox.put_rest(Rest(message, texts[place:]))
            self._delivered(message)
        except Exception:
            self._fail()

    async def _deliver(self, message: ServerMessage | Rest) -> None:
        message, texts = message if isinstance(message, Rest) else (message, self._dialect.send(message))
        for text in texts:
            if not self._link.send_now(text):
                async with asyncio.timeout(self._timeout_s):
                    await self._link.send(text)
        self._delivered(message)

    def _fail(self) -> None:
        log.exception("writing to %s failed", self._link.peer)
        self.outbox.close(*INTERNAL_ERROR)
