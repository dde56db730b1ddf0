"""The text of a stream as tokens, and when each of them first appeared."""

from __future__ import annotations

import re
from collections.abc import Callable

from stream_client.events import Event, Final, Partial

_ALONE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
"""Kana and Chinese characters: tokens by themselves."""
_TOKEN = re.compile(rf"[{_ALONE}]|[^\W_{_ALONE}]+(?:['’][^\W_{_ALONE}]+)*")


def split(text: str) -> list[str]:
    """Chinese characters one by one, other words whole; neither spaces nor punctuation."""
    return _TOKEN.findall(text)


class Transcript:
    """The cumulative text of a stream: the finals so far, and the open segment behind them.

    `clock` says what the moment of an event is: a time, or how many messages had been sent.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.moments: list[float] = []
        """When the text first had as many tokens: `moments[i]` for token i."""
        self.finals: list[str] = []
        """The tokens that will not change any more."""
        self.last_final: float | None = None
        self._clock = clock
        self._open: list[str] = []

    @property
    def tokens(self) -> list[str]:
        return self.finals + self._open

    def receive(self, event: Event) -> bool:
        """Whether the event said anything of the text."""
        if isinstance(event, Partial):
            self._open = split(event.text)
        elif isinstance(event, Final):
            self.finals += split(event.text)
            self._open = []
            self.last_final = self._clock()
        else:
            return False
        new = len(self.finals) + len(self._open) - len(self.moments)
        if new > 0:
            self.moments += [self._clock()] * new
        return True
