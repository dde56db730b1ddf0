"""When a segment may be about to end, so that its second pass can begin before that is known."""

from __future__ import annotations

import math

import numpy as np

from stream_server.session.intake import Intake
from stream_server.session.underway import OpenStream
from stream_server.speech.recognition import Guess, Span
from stream_server.units import ms_to_samples

BEFORE, BEHIND = ms_to_samples(300), ms_to_samples(100)
"""Audio before the first speech of a segment, and behind what was last called speech, that the second pass hears too;
FunASR's has 200 and 100 ms. Detectors hang on behind speech, and what they hang on for is heard: there lies an ending
that is too soft for them. More is silence that costs time. Once so much has come, all that it hears is there."""

_NOTHING = np.zeros(0, np.int16)


def next_guess(stream: OpenStream, intake: Intake, begin: int, hop: int) -> Guess | None:
    """What is to be said of the open segment, whose second pass hears from the stream's sample `begin` on; None where
    nothing is new. It would hear to the sample what it hears if the segment ends in this silence."""
    voiced_until = intake.gate.pausing_since
    if voiced_until is None:
        if stream.guessed is None:
            return None
        stream.guessed = None
        return Guess(stream.generation, None, _NOTHING)
    end = voiced_until + BEHIND
    if end > intake.gate.position or end == stream.guessed:
        return None
    # The engine is to have the rest of the span: where chunks wait it has enough to do.
    if stream.sequence == 0 or end - stream.next > hop or end - stream.start <= begin:
        return None
    stream.guessed = end
    rest = intake.ring.read(stream.next, end) if end > stream.next else _NOTHING
    return Guess(stream.generation, Span(begin, end - stream.start), rest)


def no_guess_before(stream: OpenStream, intake: Intake) -> float:
    """Before this sample was heard `next_guess` has nothing new, but that a guess was wrong: there is time for that."""
    end = intake.gate.last_voiced + BEHIND
    return math.inf if end == stream.guessed else end
