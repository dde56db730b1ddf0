"""What is under way in a session: the open segment, its stream in the engine, and the chunk in flight."""

from __future__ import annotations

from dataclasses import dataclass, field

from stream_server.speech.hotwords import EMPTY, HotwordList
from stream_server.speech.transcript import Piece, Transcript


@dataclass(slots=True)
class OpenSegment:
    """What is said of the open segment. `onset`: the sample at which speech was first heard; `undecided`: what stands
    behind the transcript while a hotword may still be coming; `after_cut`: it begins where the one before was cut
    without a pause."""

    number: int
    onset: int
    transcript: Transcript
    undecided: list[Piece] = field(default_factory=list)
    revision: int = 0
    shown: tuple[str, int] = ("", 0)
    after_cut: bool = False

    def decide(self) -> None:
        """What is undecided stays as it stands."""
        self.transcript = self.transcript.extended(self.undecided)
        self.undecided = []


@dataclass(slots=True)
class OpenStream:
    """What the engine has been given of the open segment, in absolute samples.

    `next`: where the next chunk begins; `reached`: up to where hypotheses have come; `kept_from`: the start of the
    audio that a replay would need, always a whole number of hops from `start`; `given`: when the last piece of the
    transcript fired; `decided`: pieces that fired until then are in the text of before, and passed over; `hotwords`:
    the list that the engine has; `guessed`: where the second pass that has been begun on a guess ends.
    """

    generation: int
    start: int
    next: int
    reached: int
    kept_from: int
    given: int = -1
    decided: int = -1
    hotwords: HotwordList = EMPTY
    sequence: int = 0
    losses: int = 0
    guessed: int | None = None


@dataclass(frozen=True, slots=True)
class InFlight:
    """The chunk that the engine has. `own_hotwords`: the client's list that it brought; `heard_again`: it closes a
    segment, which the second pass is to hear."""

    sequence: int
    end: int
    last: bool
    own_hotwords: HotwordList | None = None
    heard_again: bool = False
