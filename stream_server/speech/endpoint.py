"""The gate: where speech begins and ends, decided from the scores of a voice activity detector.

Four states. A score counts as voiced from `VOICED` on while nobody speaks, and from the lower `STILL_VOICED` on
while someone does, so that a score wavering between the two changes nothing.

  QUIET ──voiced──► STARTING ──voiced for min_speech──► SPEAKING ◄──voiced── STOPPING ──a rule──► QUIET
    ◄──unvoiced for long──┘                                └──unvoiced──────────►┘

All decisions are taken forwards: a segment ends where the gate stands, never behind audio that has been let through.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from stream_server.speech.vad import Score
from stream_server.units import ms_to_samples

VOICED = 0.5
STILL_VOICED = 0.35
LAPSE = ms_to_samples(100)
"""Unvoiced samples after which speech that has not lasted `min_speech` is forgotten as a noise."""
PAUSE = ms_to_samples(200)
"""Unvoiced samples that make a pause between words, at which a long segment is cut."""
SEARCH_FROM = 0.8
"""Part of the longest segment from which on a pause is looked for."""


class State(enum.Enum):
    QUIET = "quiet"
    STARTING = "starting"
    SPEAKING = "speaking"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class GateOptions:
    """All in samples at 16 kHz. `hop` and `look_ahead` are the window's, for the cut without a pause."""

    min_speech: int
    end_silence: int
    pre_roll: int
    max_segment: int
    hop: int
    look_ahead: int


@dataclass(frozen=True, slots=True)
class Rule:
    """Ends a segment that has lasted `length` samples with the last `silence`, at least one, of them unvoiced."""

    reason: str
    silence: int
    length: int
    why: str


def rules(options: GateOptions) -> tuple[Rule, ...]:
    """The rules in force, the first that holds wins."""
    return (
        Rule("silence", options.end_silence, 0, "the speaker has finished"),
        Rule("length", PAUSE, int(SEARCH_FROM * options.max_segment), "long, and here no word is cut in two"),
    )


@dataclass(frozen=True, slots=True)
class SegmentStarted:
    """A segment begins at sample `start`; speech was first heard at `onset`, the audio between is the pre-roll."""

    start: int
    onset: int


@dataclass(frozen=True, slots=True)
class SegmentSplit:
    """Speech goes on without a pause beyond the longest segment: text up to the hop that ends at `hop_end` closes it.

    The next segment begins at `border`, up to where tokens have been given by then.
    """

    hop_end: int
    border: int


@dataclass(frozen=True, slots=True)
class SegmentEnded:
    """The segment ends before sample `end`; speech was last heard before `last_speech`."""

    end: int
    last_speech: int
    reason: str


Decision = SegmentStarted | SegmentSplit | SegmentEnded


# By names of their own: to look one up in its enumeration, several times a score, costs more than the decision.
_QUIET, _STARTING, _SPEAKING, _STOPPING = State
_WITHIN_SPEECH = (_SPEAKING, _STOPPING)


class Gate:
    """Turns scores, in order, into decisions, in order."""

    def __init__(self, options: GateOptions) -> None:
        self.state = _QUIET
        self.position = 0
        """Every decision about samples below this has been taken."""
        self._options = options
        self._rules = rules(options)
        self._scored = 0
        self._floor = 0
        self._onset = 0
        self._voiced = 0
        self._unvoiced = 0
        self._last_speech = 0
        self._segment_start = 0
        self._split_at = 0
        self._decisions: list[Decision] = []

    @property
    def earliest_start(self) -> int:
        """No segment that is still to be announced begins before this sample."""
        if self.state is _QUIET:
            return max(self._floor, self._scored - self._options.pre_roll)
        if self.state is _STARTING:
            return max(self._floor, self._onset - self._options.pre_roll)
        return self.position

    def take_decisions(self) -> list[Decision]:
        decisions, self._decisions = self._decisions, []
        return decisions

    def receive(self, score: Score) -> None:
        """The next score. Its samples may partly be behind `position` where a cut fell into them."""
        start, end, probability = score
        self._scored = end
        if end > self.position:
            self.position = end
        speaking = self.state in _WITHIN_SPEECH
        if probability >= (STILL_VOICED if speaking else VOICED):
            self._receive_voiced(start, end)
        else:
            self._receive_unvoiced(start, end)
        if self.state in _WITHIN_SPEECH:
            self._apply_rules()

    def cut(self, at: int, reason: str) -> None:
        """Ends what is open at sample `at`, by the client's wish; what has only begun to be speech counts as speech."""
        self.position = max(self.position, at)
        if self.state is _STARTING:
            self._open()
        if self.state is _SPEAKING and self._unvoiced == 0:
            self._last_speech = at
        if self.state is not _QUIET:
            self._end(reason)

    def _receive_voiced(self, start: int, end: int) -> None:
        if self.state is _QUIET:
            self.state = _STARTING
            self._onset = max(start, self._floor)
            self._voiced = 0
        self._voiced += end - start
        self._unvoiced = 0
        self._last_speech = self.position
        if self.state is _STOPPING:
            self.state = _SPEAKING
        elif self.state is _STARTING and self._voiced >= self._options.min_speech:
            self._open()

    def _receive_unvoiced(self, start: int, end: int) -> None:
        self._unvoiced += end - start
        if self.state is _SPEAKING:
            self.state = _STOPPING
        elif self.state is _STARTING and self._unvoiced >= LAPSE:
            self.state = _QUIET

    def _open(self) -> None:
        self.state = _SPEAKING
        start = max(self._onset - self._options.pre_roll, self._floor)
        self._segment_start = start
        self._split_at = start + self._whole_hops(self._options.max_segment)
        self._decisions.append(SegmentStarted(start, self._onset))

    def _apply_rules(self) -> None:
        if self._unvoiced:
            length = self.position - self._segment_start
            for rule in self._rules:
                if self._unvoiced >= rule.silence and length >= rule.length:
                    return self._end(rule.reason)
        while self._split_at <= self.position:
            self._split()

    def _split(self) -> None:
        # The stream goes on, so its hops do: the next split is a whole number of hops after this one, at most
        # the longest segment after the border.
        border = self._split_at - self._options.look_ahead
        self._decisions.append(SegmentSplit(self._split_at, border))
        self._segment_start = border
        self._split_at += self._whole_hops(self._options.max_segment - self._options.look_ahead)

    def _whole_hops(self, samples: int) -> int:
        return max(samples // self._options.hop, 1) * self._options.hop

    def _end(self, reason: str) -> None:
        self._decisions.append(SegmentEnded(self.position, max(self._last_speech, self._segment_start), reason))
        self.state = _QUIET
        self._floor = self.position
