"""Utterances with their characters in another order: words that no text has, in one voice, without a synthesiser.

The texts have most characters in a few words only, so a network learns what follows what; a name whose characters
never met before is then heard as something else. Here any may meet.
"""

import numpy as np

from recipes.demo.speech import RATE, Corpus

SHARE = 0.5  # of the utterances
FADE = RATE // 200  # samples over which a piece fades in and out


class ShuffledCorpus:
    """A corpus of which half the utterances are shuffled; `random` decides which, anew whenever they are asked for."""

    def __init__(self, corpus: Corpus, random: np.random.Generator) -> None:
        self._corpus = corpus
        self._random = random

    def __len__(self) -> int:
        return len(self._corpus)

    def __getitem__(self, index: int) -> tuple[np.ndarray, str, np.ndarray]:
        """(samples int16 (time,), text, spans (characters, 2))."""
        sound, text, spans = self._corpus[index]
        if len(text) < 2 or self._random.random() >= SHARE:
            return sound, text, spans
        moved = self._random.choice(len(text), size=self._random.integers(2, len(text) + 1), replace=False)
        order = np.arange(len(text))
        order[np.sort(moved)] = moved
        return shuffled(sound, text, spans, order)


def shuffled(
    sound: np.ndarray, text: str, spans: np.ndarray, order: np.ndarray
) -> tuple[np.ndarray, str, np.ndarray]:
    """The utterance with character `order[i]` in place i; pauses stay where they are."""
    pieces, places, at = [], [], 0
    for place, source in enumerate(order):
        before = spans[place - 1, 1] if place else 0
        pause = sound[before : spans[place, 0]]
        piece = sound[slice(*spans[source])]
        if source != place:
            piece = _faded(piece)
        places.append((at + len(pause), at + len(pause) + len(piece)))
        pieces += [pause, piece]
        at = places[-1][1]
    pieces.append(sound[spans[-1, 1] :])
    return np.concatenate(pieces), "".join(text[source] for source in order), np.array(places)


def _faded(piece: np.ndarray) -> np.ndarray:
    """Without a click at either end."""
    ramp = np.minimum(1.0, (np.arange(len(piece)) + 1) / FADE)
    return (piece * ramp * ramp[::-1]).astype(piece.dtype)
