"""Judges what the sessions of a door have heard, all that waits at once: a network costs little more for many.

A session that has heard something waits at most GATHER_S for others to join it. One that sends faster than speech gets
its scores a second at a time or less, and in between the loop does its other work.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from stream_server.speech.detectors import Detectors
from stream_server.speech.vad import Vad

log = logging.getLogger(__name__)

GATHER_S = 0.02
MOST_AT_ONCE = 64
"""Sessions in one pass."""


class Party(Protocol):
    """Whose audio is judged."""

    @property
    def unjudged(self) -> Vad | None:
        """What waits to be judged, if anything does."""

    def receive_scores(self) -> None:
        """It has been judged, as far as it was."""

    def fail(self) -> None:
        """It cannot be judged: the exception that is being handled says why."""


class Jury:
    """Called by those who wait; tells each when it has been judged."""

    def __init__(self, detectors: Detectors) -> None:
        self.detectors = detectors
        self._waiting: dict[Party, None] = {}
        """In the order in which they came."""
        self._sitting: asyncio.Handle | None = None

    def call(self, party: Party) -> None:
        """Has `party` judged soon. To be called again while it waits changes nothing."""
        self._waiting[party] = None
        if self._sitting is None:
            self._sitting = asyncio.get_running_loop().call_later(GATHER_S, self._sit)

    def _sit(self) -> None:
        """One pass of one net, over the first who waits and others with the same net; then the next, if any wait."""
        try:
            self._judge_some()
        finally:
            loop = asyncio.get_running_loop()
            self._sitting = loop.call_soon(self._sit) if self._waiting else None

    def _judge_some(self) -> None:
        together: list[Party] = []
        vads: list[Vad] = []
        for party in list(self._waiting):
            vad = party.unjudged
            if vad is None:
                del self._waiting[party]
            elif not vads or vad.net is vads[0].net:
                together.append(party)
                vads.append(vad)
                if len(vads) == MOST_AT_ONCE:
                    break
        for party in together:
            del self._waiting[party]
        if not vads:
            return
        try:
            vads[0].net.judge(vads)
        except Exception:
            log.exception("judging %d sessions failed%s", len(vads), "; each is judged alone" if len(vads) > 1 else "")
            self._judge_each(together, vads)
        else:
            # Whoever has more that waits calls again, and comes after all others.
            for party in together:
                party.receive_scores()

    def _judge_each(self, together: list[Party], vads: list[Vad]) -> None:
        """After a pass that failed: one session's sound must not end the others."""
        for party, vad in zip(together, vads, strict=True):
            try:
                # What the pass that failed did for a session is done: judging it again gives it what comes next.
                if vad.outstanding:
                    vad.net.judge([vad])
            except Exception:
                party.fail()
            else:
                party.receive_scores()
