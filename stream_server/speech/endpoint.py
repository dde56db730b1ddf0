"""The gate: where speech begins and ends, decided from the scores of a voice activity detector.

Four states. From which score on sound counts as voiced is the detector's manner: while someone speaks a lower one may
do, so that a score wavering between the two changes nothing. The manner also says by how much the detector is late,
and that is taken off: onsets, ends and silences are those of the sound, not of the scores.

  QUIET ──voiced──► STARTING ──voiced for min_speech──► SPEAKING ◄──voiced── STOPPING ──a rule──► QUIET
    ◄──unvoiced for long──┘                                └──unvoiced──────────►┘

All decisions are taken forwards: a segment ends where the gate stands, never behind audio that has been let through.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from stream_server.speech.vad import Manner, Score
from stream_server.units import ms_to_samples

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


def rules(options: GateOptions, end_delay: int = 0) -> tuple[Rule, ...]:
    """The rules in force, the first that holds wins. A silence is `end_delay` old when its first score is unvoiced; a
    pause at which words are not to be cut is not taken to be: in noise soft syllables look like it."""
    return (
        Rule("silence", max(options.end_silence - end_delay, 1), 0, "the speaker has finished"),
        Rule("length", PAUSE, int(SEARCH_FROM * options.max_segment),
             "long, and here no word is cut in two"),
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
    """The segment ends before sample `end`, its speech before `last_speech`.

    The detector called sound speech up to `last_voiced`: that is later by as much as it hangs on, in which a soft
    ending may lie that it did not hear for itself.
    """

    end: int
    last_speech: int
    last_voiced: int
    reason: str


Decision = SegmentStarted | SegmentSplit | SegmentEnded


# By names of their own: to look one up in its enumeration, several times a score, costs more than the decision.
_QUIET, _STARTING, _SPEAKING, _STOPPING = State
_WITHIN_SPEECH = (_SPEAKING, _STOPPING)


class Gate:
    """Turns scores, in order, into decisions, in order."""

    def __init__(self, options: GateOptions, manner: Manner = Manner()) -> None:  # noqa: B008 - frozen
        self.state = _QUIET
        self.position = 0
        """Every decision about samples below this has been taken."""
        self._options = options
        self._manner = manner
        self._rules = rules(options, manner.end_delay)
        self._least_silence = min(rule.silence for rule in self._rules)
        # So much speech lies before its first voiced score, less the voiced scores behind it. What only hangs on is not
        # held against a beginning: that would be noticed later.
        self._head_start = max(manner.start_delay - manner.end_delay, 0)
        self._voiced_from = manner.voiced
        self._still_voiced_from = manner.still_voiced
        self._probability = 0.0
        self._scored = 0
        self._floor = 0
        self._onset = 0
        self._voiced = 0
        self._unvoiced = 0
        self._last_voiced = 0
        self._segment_start = 0
        self._split_at = 0
        self._decisions: list[Decision] = []

    @property
    def earliest_start(self) -> int:
        """No segment that is still to be announced begins before this sample."""
        if self.state is _QUIET:
            return max(self._floor, self._scored - self._manner.start_delay - self._options.pre_roll)
        if self.state is _STARTING:
            return max(self._floor, self._onset - self._options.pre_roll)
        return self.position

    @property
    def undecided_until(self) -> int:
        """No decision is taken before all samples below this were heard, whatever they are; a cut aside."""
        if self.state is _QUIET:
            return self._scored + self._options.min_speech - self._head_start
        if self.state is _STARTING:
            return self._scored + self._options.min_speech - self._voiced
        position, unvoiced, length = self.position, self._unvoiced, self.position - self._segment_start
        until = self._split_at
        for rule in self._rules:
            until = min(until, position + max(rule.silence - unvoiced, rule.length - length, 0))
        return until

    @property
    def pausing_since(self) -> int | None:
        """`last_voiced`, if nobody speaks now and the segment is still open: it stays that if the segment ends in this
        silence. None while someone speaks."""
        if self.state is not _STOPPING:
            return None
        return self.last_voiced

    @property
    def last_voiced(self) -> int:
        """The end of the open segment's last voiced score: its speech ends as much earlier as the detector hangs on."""
        return max(self._last_voiced, self._segment_start)

    def take_decisions(self) -> list[Decision]:
        decisions, self._decisions = self._decisions, []
        return decisions

    def receive(self, score: Score) -> None:
        """The next score. Its samples may partly be behind `position` where a cut fell into them."""
        self.receive_all((score,))

    def receive_all(self, scores: Iterable[Score]) -> None:
        """The next scores, in order."""
        voiced_from, still_voiced_from = self._voiced_from, self._still_voiced_from
        for start, end, probability in scores:
            self._scored = end
            self._probability = probability
            if end > self.position:
                self.position = end
            state = self.state
            if state is _SPEAKING or state is _STOPPING:
                if probability >= still_voiced_from:
                    # Nearly always, where someone speaks.
                    self.state = _SPEAKING
                    self._unvoiced = 0
                    self._last_voiced = self.position
                    if self.position < self._split_at:
                        continue
                else:
                    self.state = _STOPPING
                    self._unvoiced += end - start
                    if self._unvoiced < self._least_silence and self.position < self._split_at:
                        continue
            elif probability >= voiced_from:
                self._receive_voiced(start, end)
            else:
                self._receive_unvoiced(start, end)
            if self.state in _WITHIN_SPEECH and (self._unvoiced or self.position >= self._split_at):
                self._apply_rules()

    def cut(self, at: int, reason: str) -> None:
        """Ends what is open at sample `at`, by the client's wish; what has only begun to be speech counts as speech."""
        self.position = max(self.position, at)
        if self.state is _QUIET and self._probability >= self._manner.begun:
            self._begin(self._scored)
        if self.state is _STARTING:
            self._open()
        if self.state is _SPEAKING and self._unvoiced == 0:
            self._last_voiced = at
        if self.state is not _QUIET:
            self._end(reason)
        self._probability = 0.0

    def _receive_voiced(self, start: int, end: int) -> None:
        if self.state is _QUIET:
            self._begin(start)
        self._voiced += end - start
        self._unvoiced = 0
        self._last_voiced = self.position
        if self._voiced >= self._options.min_speech:
            self._open()

    def _receive_unvoiced(self, start: int, end: int) -> None:
        """Outside of a segment."""
        self._unvoiced += end - start
        if self.state is _STARTING and self._unvoiced >= LAPSE:
            self.state = _QUIET

    def _begin(self, start: int) -> None:
        """Speech may have begun: its first voiced score begins at sample `start`."""
        self.state = _STARTING
        self._onset = max(start - self._manner.start_delay, self._floor)
        self._voiced = self._head_start
        self._unvoiced = 0

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
        last_voiced = self.last_voiced
        # Nothing is taken off speech that a cut falls into, and of a short sound, behind which a detector hangs on for
        # less, half of what was called speech at the most.
        late = min(self._manner.end_delay, (last_voiced - self._onset) // 2) if self._unvoiced else 0
        last_speech = max(last_voiced - late, self._segment_start)
        self._decisions.append(SegmentEnded(self.position, last_speech, last_voiced, reason))
        self.state = _QUIET
        self._floor = self.position
