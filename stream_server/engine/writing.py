"""Finals on their way to be written as people read them: marks and numbers, for many sessions at once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from stream_server.engine.statistics import Statistics
from stream_server.engine.stream import TenantKey
from stream_server.speech.scribe import Scribe, Scribed, Spoken

log = logging.getLogger(__name__)

MOST_TEXTS = 4
"""Texts of a batch: a worker is away from live work for so long as they take."""

MOST_CHARACTERS = 120
"""Of a batch, unless it is one text: half a minute of speech. A text is read piece after piece, and its numbers are
written one after the other, so that long ones gain nothing by company; an engine whose only worker is its loop, as on a
GPU, would leave every chunk waiting for all of them."""


@dataclass(slots=True, eq=False)
class Text:
    """A session's final; `wanted` becomes false where the session goes away."""

    tenant: TenantKey
    segment: int
    spoken: Spoken
    wanted: bool = True


@dataclass(frozen=True, slots=True)
class TextsOutcome:
    """What a batch became; None where it could not be written."""

    seconds: float
    written: list[Scribed] | None = None


class Texts:
    """A batch of finals; `run` belongs to the thread that runs it."""

    def __init__(self, scribe: Scribe, texts: list[Text]) -> None:
        self.texts = texts
        self._scribe = scribe

    def run(self, _: object = None, clock: Callable[[], float] = time.monotonic) -> TextsOutcome:
        """Raises nothing."""
        began = clock()
        try:
            written = self._scribe.write([text.spoken for text in self.texts])
        except Exception:
            log.exception("%d finals could not be written", len(self.texts))
            written = None
        return TextsOutcome(clock() - began, written)

    def abandoned(self) -> TextsOutcome:
        """The outcome of a batch that ended abnormally."""
        return TextsOutcome(0.0)


class Writing:
    """Finals in, written ones out by `say`, None where that failed; each is answered once, save those forgotten.

    A session has one final here at most: the next is sent with what the one before it left to be carried. So as many
    wait as sessions are admitted.
    """

    def __init__(self, scribe: Scribe, statistics: Statistics, say: Callable[[TenantKey, int, Scribed | None], None]
                 ) -> None:
        self._scribe = scribe
        self._statistics = statistics
        self._say = say
        self._waiting: dict[TenantKey, Text] = {}
        self._running: Texts | None = None

    @property
    def ready(self) -> bool:
        """Whether `begin` has work."""
        return bool(self._waiting) and self._running is None

    def add(self, tenant: TenantKey, segment: int, spoken: Spoken) -> None:
        """A session's final; one that still waits is no longer wanted."""
        former = self._waiting.pop(tenant, None)
        if former is not None:
            self._say(tenant, former.segment, None)
        self._waiting[tenant] = Text(tenant, segment, spoken)

    def forget(self, tenant: TenantKey) -> None:
        """Nobody wants anything of a session any more."""
        self._waiting.pop(tenant, None)
        for text in self._running.texts if self._running else ():
            text.wanted = text.wanted and text.tenant != tenant

    def begin(self) -> Texts | None:
        """The next batch, the oldest first; None where nothing waits, or one is under way."""
        if not self.ready:
            return None
        batch, characters = [], 0
        for tenant, text in list(self._waiting.items())[:MOST_TEXTS]:
            characters += len(text.spoken.text)
            if batch and characters > MOST_CHARACTERS:
                break
            batch.append(self._waiting.pop(tenant))
        self._running = Texts(self._scribe, batch)
        return self._running

    def finish(self, outcome: TextsOutcome) -> None:
        """What the batch under way became."""
        texts, self._running = self._running.texts, None
        self._statistics.writing_seconds += outcome.seconds
        written = outcome.written or [None] * len(texts)
        for text, scribed in zip(texts, written, strict=True):
            if not text.wanted:
                self._statistics.stale_results += 1
                continue
            failed = scribed is None or scribed.error is not None
            self._statistics.finals_written += not failed
            self._statistics.finals_not_written += failed
            self._say(text.tenant, text.segment, scribed)
