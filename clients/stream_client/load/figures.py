"""What a load run found, in milliseconds, and how it is put together from the streams."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from stream_client.load.ruler import Comparison
from stream_client.load.wheel import Lateness


@dataclass
class Tally:
    """The sums of many streams; those of several processes are added up. Lags in seconds."""

    first_partial: array[float] = field(default_factory=lambda: array("d"))
    partial: array[float] = field(default_factory=lambda: array("d"))
    final: array[float] = field(default_factory=lambda: array("d"))
    finished: int = 0
    refused: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)
    compared: int = 0
    missing: int = 0
    different: int = 0
    extra: int = 0
    early: int = 0
    lateness: Lateness = field(default_factory=Lateness)
    cpu_s: float = 0.0
    busiest: float = 0.0
    """The share of a core that the busiest process used."""

    def add(self, stream: Comparison, final_s: float | None) -> None:
        """One stream's; `final_s` where a final came after the end of its audio."""
        if stream.first_partial is not None:
            self.first_partial.append(stream.first_partial)
        self.partial.extend(stream.partial)
        if final_s is not None:
            self.final.append(final_s)
        for name in ("compared", "missing", "different", "extra", "early"):
            setattr(self, name, getattr(self, name) + getattr(stream, name))

    def merge(self, other: Tally) -> None:
        """Another process's."""
        for name in ("first_partial", "partial", "final"):
            getattr(self, name).extend(getattr(other, name))
        for name in ("finished", "refused", "compared", "missing", "different", "extra", "early", "cpu_s"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.failures += other.failures
        self.problems += other.problems
        self.lateness.messages += other.lateness.messages
        self.lateness.late += other.lateness.late
        self.lateness.late_blocked += other.lateness.late_blocked
        self.lateness.longest_s = max(self.lateness.longest_s, other.lateness.longest_s)
        self.busiest = max(self.busiest, other.busiest)


@dataclass(frozen=True)
class Lags:
    """Milliseconds; None where nothing was measured."""

    p50: float | None
    p95: float | None
    p99: float | None
    max: float | None
    count: int
    raw: array[float] = field(repr=False)
    """In the order in which streams ended; within a stream in that of its tokens."""


@dataclass(frozen=True)
class Figures:
    """What a load run found."""

    first_partial: Lags
    """A stream's first token, after the message that it was waiting for was due."""
    partial_lag: Lags
    """Every token, the same; without those that come only after the end of the audio."""
    final_lag: Lags
    """A stream's last final, after its last message was due."""
    streams_finished: int
    streams_refused: int
    streams_failed: int
    failures: dict[str, int]
    """Reasons, and how many streams each; of those that failed or were refused."""
    problems: dict[str, int]
    """What the server said it could not do while the session went on."""
    tokens_compared: int
    tokens_missing: int
    tokens_different: int
    tokens_extra: int
    tokens_early: int
    """Tokens that came before what they were waiting for had been sent: above 0 the ruler is not to be trusted."""
    messages_sent: int
    messages_late: int
    """Sent more than 10 ms after they were due."""
    messages_late_blocked: int
    """Of these, those that waited for a socket that took no more: the server's fault."""
    late_max_ms: float
    tool_cpu_share: float
    """Of a core, by the busiest process of the tool: near 1 the tool is what is measured."""
    tool_cpu_us_per_message: float
    interrupted: bool
    """Ended early, by Ctrl-C: streams that had not ended count nowhere but in lags and tokens compared."""


def figures(tally: Tally, interrupted: bool) -> Figures:
    """The figures behind a tally."""
    sent = tally.lateness
    return Figures(
        first_partial=lags(tally.first_partial), partial_lag=lags(tally.partial), final_lag=lags(tally.final),
        streams_finished=tally.finished, streams_refused=tally.refused,
        streams_failed=sum(tally.failures.values()) - tally.refused,
        failures=dict(tally.failures.most_common()), problems=dict(tally.problems.most_common()),
        tokens_compared=tally.compared, tokens_missing=tally.missing, tokens_different=tally.different,
        tokens_extra=tally.extra, tokens_early=tally.early, messages_sent=sent.messages, messages_late=sent.late,
        messages_late_blocked=sent.late_blocked, late_max_ms=round(sent.longest_s * 1000, 1),
        tool_cpu_share=round(tally.busiest, 3),
        tool_cpu_us_per_message=round(tally.cpu_s / max(1, sent.messages) * 1e6, 1), interrupted=interrupted,
    )  # fmt: skip


def lags(seconds: Sequence[float]) -> Lags:
    """Percentiles by nearest rank."""
    raw = array("d", (1000 * second for second in seconds))
    ordered = sorted(raw)
    return Lags(*(_rank(ordered, share) for share in (0.5, 0.95, 0.99, 1.0)), len(raw), raw)


def _rank(ordered: Sequence[float], share: float) -> float | None:
    if not ordered:
        return None
    return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)], 1)
