"""Batches of whole segments: what step n trains on follows from n and the seed alone."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from recipes.demo.augment import Example
from recipes.demo.batches import draw_examples, timeline, tokens
from recipes.demo.features import RATE, filter_banks, stacked
from recipes.demo.loop import SEED
from recipes.demo.speech import Corpus
from recipes.seaco.shuffle import ShuffledCorpus

STEP = RATE // 50  # samples in one of the second CIF's steps of 20 ms
SHIFT = 1.5  # steps by which times are read before an onset fires (FunASR: force_time_shift)


@dataclass(frozen=True)
class Segments:
    """Rows of one step, of up to T frames of 60 ms and N characters.

    features [B, T, 560] normalised; frames [B] of each row.  labels [B, N] token numbers, -1 behind the end.
    mass [B, T] how many characters have been spoken after each frame.
    spoken [B, T] the token spoken in each frame, BLANK between, -1 behind the end.
    onsets [B, 3 T] where characters begin: each step's share of the onsets, see `onset_mass`.
    """

    features: Tensor
    frames: Tensor
    labels: Tensor
    mass: Tensor
    spoken: Tensor
    onsets: Tensor

    @property
    def inside(self) -> Tensor:
        """[B, T], where a row has a frame."""
        return torch.arange(self.features.shape[1]) < self.frames[:, None]


def onset_mass(spans: np.ndarray, steps: int) -> Tensor:
    """Shares [steps] for characters at `spans` [n, 2] in samples: n + 1 onsets, the last where the last one ends.

    Onset k is read where the running sum passes k, rounded to a step. So the sum passes it half way up: an error of
    less than a half, from wherever in the segment, moves no onset to its neighbour's place. The first onset is half as
    heavy again and the last half as heavy, for the sum to begin at nothing and end at a whole number.
    """
    if not len(spans):
        return torch.zeros(steps)
    at = np.concatenate((spans[:, 0], spans[-1:, 1])) / STEP + SHIFT
    count = len(at)
    number = np.arange(1, count + 1)
    times = np.stack((at - 1, at, at + 1), axis=1)
    heights = np.stack((number - 0.5, number, number + 0.5), axis=1)
    times[0, 0], heights[0, 0] = at[0] - 1.5, 0.0
    times[-1], heights[-1, 2] = (at[-1] - 0.5, at[-1], at[-1] + 1), count
    sums = np.interp(np.arange(-1, steps) + 0.5, np.maximum.accumulate(times.flatten()), heights.flatten())
    return torch.from_numpy(np.diff(sums)).float()


class SegmentBatches(Dataset[Segments]):
    """`batches[step]`; `seconds` of sound in each. Another `seed` says other things; `shuffle` half of them."""

    def __init__(
        self, corpus: Corpus, normalisation: tuple[Tensor, Tensor], seconds: float, seed: int = SEED,
        shuffle: bool = False,
    ) -> None:
        self._corpus = corpus
        self._shift, self._scale = normalisation
        self._seconds = seconds
        self._seed = seed
        self._shuffle = shuffle
        self._numbers = {token: number for number, token in enumerate(tokens())}

    def __getitem__(self, step: int) -> Segments:
        random = np.random.default_rng((self._seed, step))
        corpus = ShuffledCorpus(self._corpus, random) if self._shuffle else self._corpus
        return self.batch(draw_examples(random, corpus, self._seconds))

    def batch(self, examples: list[Example]) -> Segments:
        """The examples side by side."""
        features, labels, masses, spoken, onsets = [], [], [], [], []
        for example in examples:
            plain = stacked(filter_banks(torch.from_numpy(example.samples)))
            features.append((plain + self._shift) * self._scale)
            labels.append(torch.tensor([self._numbers[symbol] for symbol in example.text], dtype=torch.long))
            mass, at = timeline(example.spans, labels[-1].tolist(), len(plain))
            masses.append(mass)
            spoken.append(at)
            onsets.append(onset_mass(example.spans, 3 * len(plain)))
        return Segments(
            pad_sequence(features, batch_first=True),
            torch.tensor([len(row) for row in features]),
            pad_sequence(labels, batch_first=True, padding_value=-1),
            pad_sequence(masses, batch_first=True),
            pad_sequence(spoken, batch_first=True, padding_value=-1),
            pad_sequence(onsets, batch_first=True),
        )
