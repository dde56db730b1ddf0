"""Where the sound of a packet belongs among the samples: by the sender's clock, never by when it arrived."""

from __future__ import annotations

from typing import NamedTuple

SLACK_S = 5.0
"""A stream may be so much further on than the time that has passed, or a packet so much back; beyond, the sender's
clock was set anew."""

DRIFT = 1e-3
"""A sender's clock may be so much too fast for ever without using up the slack."""

QUIET_S = 2.0
"""Without packets for so long, silence is put in their place, so that what was said last gets its end."""

LONGEST_QUIET_S = 12.0
"""No more silence is put in after that: the longest silence that a session may ask for has then passed."""


class Place(NamedTuple):
    """In samples: silence that is missing before the packet, and how much of its beginning is there already."""

    silence: int
    overlap: int


class Timeline:
    """The samples of one stream, one after the other from its first packet on; `written` of them are there."""

    def __init__(self, rate: int) -> None:
        """`rate`: ticks of the sender's clock a second, which are samples a second too."""
        self.written = 0
        self._rate = rate
        self._timestamp: int | None = None
        self._position = 0
        self._heard_at = 0.0
        self._filled = 0
        self._slack_s = SLACK_S
        self._counted = 0

    def place(self, timestamp: int, now: float) -> Place:
        """Where the next packet in order belongs; `timestamp` has 32 bits and wraps, `now` is in seconds.

        What was lost or never sent becomes silence of the same length. Where silence was put in meanwhile and the
        packet goes on where the last one ended (it was on its way for long, or the sender's clock had stopped), it is
        placed after that silence: a word at a later time is better than no word.
        """
        if self._timestamp is None:
            self._timestamp, self._heard_at, self._position = timestamp, now, self.written
        self._position += (timestamp - self._timestamp + 0x80000000 & 0xFFFFFFFF) - 0x80000000
        gap = self._position - self.written
        # The slack is given once and comes back with time alone: packets do not buy silence by being many.
        slack_s = self._slack_s + (now - self._heard_at) * (1 + DRIFT) - (self.written - self._counted) / self._rate
        if gap > max(slack_s, 0) * self._rate or gap < -SLACK_S * self._rate or (gap < 0 and self._filled):
            self._position, gap = self.written, 0
        self._timestamp, self._heard_at, self._filled = timestamp, now, 0
        self._slack_s = min(max(slack_s - max(gap, 0) / self._rate, 0), SLACK_S)
        self._counted = self.written + max(gap, 0)
        return Place(max(gap, 0), max(-gap, 0))

    def restart(self) -> None:
        """Another sender speaks from now on: its first packet follows what is there."""
        self._timestamp = None

    def advance(self, samples: int) -> None:
        """So many samples were put at the end."""
        self.written += samples

    def fill(self, now: float) -> int:
        """The silence to be put at the end because nothing has come for long; it counts as put there."""
        quiet = min(now - self._heard_at, LONGEST_QUIET_S)
        if self._timestamp is None or quiet < QUIET_S:
            return 0
        # Half of the pause before it began is left for packets that are only late.
        missing = round((quiet - QUIET_S / 2) * self._rate) - self._filled
        self._filled += missing
        self.advance(missing)
        return missing
