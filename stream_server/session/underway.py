"""What is under way in a session: the open segment, its stream in the engine, and the chunk in flight."""

from __future__ import annotations

from dataclasses import dataclass, field

from stream_server.speech.hotwords import EMPTY, HotwordList
from stream_server.speech.recognition import Hypothesis
from stream_server.speech.transcript import Piece, Transcript
from stream_server.units import FRAME_SAMPLES


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

    def receive(self, stream: OpenStream, hypothesis: Hypothesis, new: bool, border: int) -> None:
        """What a hypothesis of `stream` adds to the transcript; `new`: its hop was not heard before; `border`: up to
        which sample hypotheses of the hops before have pieces."""
        if new and not hypothesis.undecided:
            self._receive_certain(stream, hypothesis)
            return
        spoken = [Piece(piece, stream.start + (frame + 1) * FRAME_SAMPLES, confidence) for piece, frame, confidence
                  in zip(hypothesis.pieces, hypothesis.frames, hypothesis.confidences, strict=True)]
        certain = len(spoken) - hypothesis.undecided
        for piece in spoken[:certain]:
            # Of a hop that has been heard before counts only what was undecided then.
            if piece.fired_at > stream.decided and (new or piece.fired_at <= border):
                self.transcript.append(*piece)
                stream.given = piece.fired_at
        if new:
            self.undecided = [piece for piece in spoken[certain:] if piece.fired_at > stream.decided]
        else:
            self.undecided = [piece for piece in self.undecided if piece.fired_at > stream.given]

    def _receive_certain(self, stream: OpenStream, hypothesis: Hypothesis) -> None:
        # Nearly always, and so without an object for each piece.
        append = self.transcript.append
        for piece, frame, confidence in zip(hypothesis.pieces, hypothesis.frames, hypothesis.confidences, strict=True):
            fired_at = stream.start + (frame + 1) * FRAME_SAMPLES
            if fired_at > stream.decided:
                append(piece, fired_at, confidence)
                stream.given = fired_at
        self.undecided = []

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
