"""The sessions of a door that can be resumed: who holds each, and how long those wait whose connection was lost."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Protocol

from stream_server.doors.observer import Observer
from stream_server.errors import ClientError

TOKEN_BYTES = 24


class Holder(Protocol):
    """Who holds a session."""

    token: str

    @property
    def over(self) -> bool:
        """The session has ended; what it said is kept for a client that may not have heard it."""

    def drain(self) -> None:
        """The server ends: the session is finished."""

    def leave(self) -> None:
        """The server ends now."""

    def expire(self) -> None:
        """Nobody came back in time. It leaves, perhaps not before what was begun is finished; at once if told again."""


class Parking:
    """A token has exactly one holder, the last that took it; a holder is parked between two connections."""

    def __init__(self, door: str, observer: Observer, *, resume_s: float, most: int) -> None:
        """`resume_s`: how long a session waits, 0 for not at all; `most`: how many may wait at once, and how many be
        finished after that."""
        self.resume_s = resume_s
        self.forget: Callable[[Holder], None] = lambda holder: None
        """Called when a parked session has gone, taken over or not."""
        self._door = door
        self._observer = observer
        self._most = most
        self._holders: dict[str, Holder] = {}
        self._waiting: dict[str, asyncio.TimerHandle] = {}
        self._ending: dict[str, asyncio.TimerHandle] = {}

    def __len__(self) -> int:
        """Sessions without a connection."""
        return len(self._waiting) + len(self._ending)

    def enter(self, holder: Holder) -> str:
        """A token for the holder's session, which names this door; empty where nothing can be resumed here."""
        if not self.resume_s:
            return ""
        token = f"{self._door}.{secrets.token_urlsafe(TOKEN_BYTES)}"
        self._holders[token] = holder
        return token

    def holder(self, token: str) -> Holder:
        """Who holds the session. Raises ClientError where nobody does, whether or not anybody ever did."""
        try:
            return self._holders[token]
        except KeyError:
            raise ClientError("bad_field", "no session can be resumed by this token", field="token", value=token,
                              allowed=f"the `resume` of a ready, within {self.resume_s:g} s after its connection was "
                                      "lost" if self.resume_s else "nothing is resumed here", fatal=True) from None

    def take_over(self, holder: Holder, token: str) -> None:
        """The token is `holder`'s from now on."""
        self._stop_waiting(token)
        self._holders[token] = holder
        self._observer.resumed()

    def park(self, holder: Holder) -> None:
        """The connection is lost. Where too many wait already, one is ended: of those whose session is over, else of
        all, the one that has waited longest."""
        if len(self._waiting) >= self._most:
            over = (token for token in self._waiting if self._holders[token].over)
            self._expire(next(over, next(iter(self._waiting))), "crowded")
        loop = asyncio.get_running_loop()
        self._waiting[holder.token] = loop.call_later(self.resume_s, self._expire, holder.token, "late")
        self._observer.parked(len(self))

    def leave(self, holder: Holder) -> None:
        """The session is over."""
        if self._holders.get(holder.token) is holder:
            del self._holders[holder.token]
            if self._stop_waiting(holder.token):
                self.forget(holder)

    def drain(self) -> None:
        """Parked sessions are finished, although nobody is told."""
        for token in [*self._waiting, *self._ending]:
            self._holders[token].drain()

    def end(self) -> None:
        """Parked sessions end now."""
        for token in [*self._waiting, *self._ending]:
            self._holders[token].leave()

    def _expire(self, token: str, why: str) -> None:
        self._observer.expired(why)
        self._holders[token].expire()
        if token not in self._waiting:
            return
        self._ending[token] = self._waiting.pop(token)
        self._ending[token].cancel()
        if len(self._ending) > self._most:
            self._holders[next(iter(self._ending))].expire()

    def _stop_waiting(self, token: str) -> bool:
        timer = self._waiting.pop(token, None) or self._ending.pop(token, None)
        if timer is None:
            return False
        timer.cancel()
        self._observer.parked(len(self))
        return True
