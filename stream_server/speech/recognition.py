"""The words that the session and the engine share: a chunk goes down, a hypothesis comes up; of segments a
second pass too."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
import numpy as np

from stream_server.audio.windows import Window
from stream_server.speech.hotwords import HotwordList


class Span(NamedTuple):
    """Samples [begin, end) since a stream's first one."""

    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """A hop of a stream's audio, ready to be recognised.

    `samples`: int16 at 16 kHz, exactly a hop, or 0 to a hop of them where `last` is set. `generation` names the
    stream within its session and rises with each; `sequence` counts the stream's chunks from 0. The next chunk
    of a session is handed out only after the hypothesis of this one has come back. `hotwords`: the list that holds
    from this chunk on; None leaves it as it was, and a stream begins without one.

    Where the session wants second passes, `keep_from` is the stream's first sample that one may still need, and
    `closed` what one is to hear now, since a segment ends with this chunk: it is answered by exactly one SecondPass,
    after the hypothesis, unless that has an error.
    """

    generation: int
    sequence: int
    window: Window
    samples: np.ndarray
    last: bool = False
    hotwords: HotwordList | None = None
    keep_from: int | None = None
    closed: Span | None = None

    @property
    def first(self) -> bool:
        return self.sequence == 0


@dataclass(frozen=True, slots=True)
class Guess:
    """The segment of the stream `generation` may be about to end: a second pass over `span`, begun now, is there sooner
    if it does. `samples`, int16 at 16 kHz, is what of the span no chunk has had yet, a hop at most. Without a span, the
    guess before was wrong. A guess is not answered; the chunk that closes the segment says the span again."""

    generation: int
    span: Span | None
    samples: np.ndarray


class Hypothesis(msgspec.Struct, frozen=True):
    """What one chunk added to its stream.

    `pieces` are vocabulary entries, `@@` at the end of an unfinished word; `frames[i]` counts frames of 60 ms
    from the stream's first sample to the firing of `pieces[i]`, and `confidences[i]` is how probable the model held
    it, in percent. The last `undecided` of them are what stands there as of now, while a hotword may still be coming:
    the next hypothesis has all of these positions again. `error` says that the engine failed on this
    stream: its text so far stands, and no more will come for this generation.

    `unspelt`, where the chunk brought a list of hotwords: those that the model's vocabulary cannot spell.
    """

    generation: int
    sequence: int
    pieces: list[str] = []
    frames: list[int] = []
    last: bool = False
    error: str | None = None
    confidences: list[int] = []
    undecided: int = 0
    unspelt: list[str] | None = None


@dataclass(frozen=True, slots=True)
class SecondPass:
    """What the offline model heard in the span that the chunk `sequence` of the stream `generation` closed.

    `pieces` as in Hypothesis; of each its `spans`, in samples since the stream's first one and in order, and its
    `confidences`, probabilities in percent. `error` says that there is none: the first pass stands.
    """

    generation: int
    sequence: int
    pieces: list[str] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    confidences: list[int] = field(default_factory=list)
    error: str | None = None
