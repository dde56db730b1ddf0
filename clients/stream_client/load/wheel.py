"""The clock that audio goes out by: one loop for all streams of a process, rather than a sleeping task for each."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

from stream_client.load.client import Client

TICK_S = 0.002
"""The loop wakes at whole ticks, so that streams that are due at nearly the same time cost one turn of the loop."""
LATE_S = 0.010
"""Audio that goes out later than this after it was due counts as late."""


@dataclass
class Lateness:
    """How well the schedule was kept. Blocked: the socket took no more; the others were late by the tool's fault."""

    messages: int = 0
    late: int = 0
    late_blocked: int = 0
    longest_s: float = 0.0

    def sent(self, late_s: float, blocked: bool) -> None:
        self.messages += 1
        if late_s > LATE_S:
            self.late += 1
            self.late_blocked += blocked
        self.longest_s = max(self.longest_s, late_s)


class Sender:
    """One stream's audio: message i is due `start + i * message_s`, whatever became of the one before."""

    def __init__(self, client: Client, frames: Sequence[bytes], message_s: float, patience_s: float,
                 lateness: Lateness) -> None:
        self._client = client
        self._frames = frames
        self._message_s = message_s
        self._patience_s = patience_s
        self._lateness = lateness
        self._next = 0
        self._blocked = False
        self._start = 0.0

    def begin(self, start: float) -> float:
        """The schedule begins at `start`; returns when the first message is due."""
        self._start = start
        return start

    def send(self, now: float) -> float | None:
        """Sends all that is due; returns when to come again, None once there is no more to send."""
        due = self._start + self._next * self._message_s
        while due <= now:
            if self._client.finished:
                return None
            if not self._client.write(self._frames[self._next]):
                self._blocked = True
                return now + TICK_S
            self._lateness.sent(now - due, self._blocked)
            self._next += 1
            if self._next == len(self._frames):
                self._client.stop(self._patience_s)
                return None
            due += self._message_s
        self._blocked = False
        return due


async def turn(senders: Sequence[tuple[Sender, float]], clock: Callable[[], float] = time.monotonic) -> None:
    """Runs until every stream has sent all its audio. With each sender goes the moment at which it begins."""
    numbers = count()
    due = [(sender.begin(start), next(numbers), sender) for sender, start in senders]
    heapq.heapify(due)
    while due:
        now = clock()
        while due and due[0][0] <= now:
            again = due[0][2].send(now)
            if again is None:
                heapq.heappop(due)
            else:
                heapq.heapreplace(due, (again, next(numbers), due[0][2]))
        if due:
            ticks = max(0.0, due[0][0] - clock()) // TICK_S + 1
            await asyncio.sleep(ticks * TICK_S)
