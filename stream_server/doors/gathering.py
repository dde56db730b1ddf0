"""A busy door handles messages many at a time: between its turns it rests, and they gather in the kernel.

To wake for each message costs more than to handle it: by the time the next one comes, other processes have had the
core and its caches. So while many come, the loop sleeps at the end of a turn, at most `most_s` after the end of the
sleep before, and at most until an engine has something to say. While few come it never does.
"""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import Callable, Iterable

WINDOW_S = 0.1
BUSY_PER_S = 500
"""Messages a second from which on it pays: fewer cost less than a tenth of a core, however they come."""


class Traffic:
    """Whether many messages come, judged by windows of WINDOW_S. Times are seconds of any one clock."""

    def __init__(self) -> None:
        self._busy = False
        self._before = 0
        self._window_ends = 0.0

    def is_busy(self, messages: int, now: float) -> bool:
        """`messages`: those that came up to `now`, from the beginning. To be asked when one has come."""
        if now >= self._window_ends:
            self._busy = messages - self._before > BUSY_PER_S * WINDOW_S and now < self._window_ends + WINDOW_S
            self._before = messages
            self._window_ends = now + WINDOW_S
        return self._busy


class Gathering:
    """The rests of one loop."""

    def __init__(self, most_s: float, descriptors: Callable[[], Iterable[int]]) -> None:
        """`most_s`: the longest rest in seconds, 0 for none; `descriptors`: one that can be read ends a rest."""
        self._most_s = most_s
        self._descriptors = descriptors
        self._loop = asyncio.get_running_loop()
        self._traffic = Traffic()
        self._messages = 0
        self._rested_at = 0.0
        self._turn_ends = False

    def heard(self) -> None:
        """A message came; to be called within the turn of the loop that handles it."""
        self._messages += 1
        if not self._turn_ends and self._traffic.is_busy(self._messages, self._loop.time()) and self._most_s:
            self._turn_ends = True
            self._loop.call_soon(self._end_turn)

    def _end_turn(self) -> None:
        # What this turn has for engines and clients is sent by callbacks that wait behind this one.
        self._loop.call_soon(self._rest)

    def _rest(self) -> None:
        self._turn_ends = False
        left_s = self._rested_at + self._most_s - time.monotonic()
        if left_s > 0:
            early = select.poll()
            for descriptor in self._descriptors():
                early.register(descriptor, select.POLLIN)
            early.poll(1000 * left_s)
        self._rested_at = time.monotonic()
