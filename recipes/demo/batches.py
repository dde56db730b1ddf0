"""Batches of training examples: what step n trains on follows from n and the seed alone."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from recipes.demo import augment, texts
from recipes.demo.augment import Example
from recipes.demo.features import FRAME, RATE, SHIFT, STEP, WIDTH, filter_banks, stacked
from recipes.demo.geometry import DEFAULT, Layout, Window, lay_out
from recipes.demo.loop import SEED
from recipes.demo.model import positions
from recipes.demo.speech import Corpus

BLANK, START, END = 0, 1, 2
WINDOWS = (DEFAULT, Window(8, 4), Window(4, 4))
WINDOW_SHARES = (0.6, 0.25, 0.15)
LONG_SHARE = 0.4  # of the batches are of utterances with pauses between them
SILENT_SHARE = 0.03
LATE_SHARE = 0.2  # of the examples start at a later position, as the middle of a long segment
LEAD = 0.15  # extra mass at an utterance's first character: each character fires a little before it ends


def tokens() -> list[str]:
    """The vocabulary in order of token numbers."""
    return ["<blank>", "<s>", "</s>", *texts.characters(), "<unk>"]


@dataclass(frozen=True)
class Batch:
    """One training step.

    features: (1 + frames, 560) positioned, row 0 of zeros.  layout: its windows.
    labels: (batch, characters) token numbers, -1 behind the end.
    mass: (batch, positions) how many characters (and LEAD) have been spoken at each decided position.
    spoken: (batch, positions) the token spoken at each position, BLANK between, -1 behind the end.
    """

    features: Tensor
    layout: Layout
    labels: Tensor
    mass: Tensor
    spoken: Tensor


def timeline(spans: np.ndarray, labels: list[int], count: int) -> tuple[Tensor, Tensor]:
    """(mass, spoken) of `count` frames: frame n stands for 60 ms around its middle filter bank frame."""
    middle = np.arange(count) * STEP + FRAME // 2
    if not labels:
        return torch.zeros(count), torch.full((count,), BLANK)
    heights = np.arange(len(labels) + 1, dtype=np.float64)
    heights[1:] += LEAD
    mass = np.interp(middle + STEP / 2, spans.flatten(), np.stack((heights[:-1], heights[1:]), axis=1).flatten())
    at = np.searchsorted(spans[:, 0], middle, side="right") - 1
    inside = (at >= 0) & (middle < spans[at.clip(0), 1])
    spoken = np.where(inside, np.array(labels)[at.clip(0)], BLANK)
    return torch.from_numpy(mass).float(), torch.from_numpy(spoken)


def draw_examples(random: np.random.Generator, corpus: Corpus, seconds: float) -> list[Example]:
    """Examples of about `seconds` together: all of one utterance, or all of two to six."""
    long, left, examples = random.random() < LONG_SHARE, seconds, []
    while left > 0:
        if random.random() < SILENT_SHARE:
            examples.append(augment.silent_example(random))
        else:
            indices = random.integers(len(corpus), size=random.integers(2, 7) if long else 1)
            examples.append(augment.example(random, corpus, list(indices)))
        left -= len(examples[-1].samples) / RATE
    return examples


class Batches(Dataset[Batch]):
    """`batches[step]`; `seconds` of sound in each."""

    def __init__(self, corpus: Corpus, normalisation: tuple[Tensor, Tensor], size: int, seconds: float) -> None:
        self._corpus = corpus
        self._shift, self._scale = normalisation
        self._size = size
        self._seconds = seconds
        self._numbers = {token: number for number, token in enumerate(tokens())}

    def __getitem__(self, step: int) -> Batch:
        random = np.random.default_rng((SEED, step))
        window = WINDOWS[random.choice(len(WINDOWS), p=WINDOW_SHARES)]
        return self._batch(random, draw_examples(random, self._corpus, self._seconds), window)

    def _batch(self, random: np.random.Generator, examples: list[Example], window: Window) -> Batch:
        features, lengths, labels, masses, spoken = [torch.zeros(1, WIDTH)], [], [], [], []
        for example in examples:
            plain = stacked(filter_banks(torch.from_numpy(example.samples)))
            offset = int(random.integers(500)) if random.random() < LATE_SHARE else 0
            features.append(positions((plain + self._shift) * self._scale, offset, self._size))
            lengths.append((len(plain), len(example.samples)))
            labels.append(torch.tensor([self._numbers[symbol] for symbol in example.text], dtype=torch.long))
            mass, at = timeline(example.spans, labels[-1].tolist(), len(plain))
            masses.append(torch.cat((torch.zeros(window.right), mass)))
            spoken.append(torch.cat((torch.full((window.right,), BLANK), at)))
        layout = lay_out(lengths, window)
        return Batch(
            torch.cat(features),
            layout,
            torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=-1),
            _fit(masses, layout, 0.0),
            _fit(spoken, layout, -1),
        )


def _fit(rows: list[Tensor], layout: Layout, filler: float) -> Tensor:
    """Cut or pad rows to the layout's positions; a last frame that inference leaves out is left out."""
    count = layout.kept.shape[1]
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=filler)
    padded = torch.nn.functional.pad(padded, (0, max(0, count - padded.shape[1])), value=filler)[:, :count]
    return torch.where(layout.kept >= 0, padded, torch.tensor(filler, dtype=padded.dtype))


def normalisation(corpus: Corpus, examples: int = 800) -> tuple[Tensor, Tensor]:
    """(shift, scale) of the features of augmented training speech, each (560,)."""
    random = np.random.default_rng(SEED)
    frames = []
    for index in random.integers(len(corpus), size=examples):
        sound = augment.example(random, corpus, [int(index)]).samples
        # Whole digital silence would dominate the variance; speech and its noise are what matters.
        frames.append(filter_banks(torch.from_numpy(sound[: len(sound) // SHIFT * SHIFT])))
    banks = torch.cat(frames)
    banks = banks[banks.mean(dim=1) > 0]
    shift, scale = -banks.mean(dim=0), 1 / banks.std(dim=0)
    return shift.repeat(WIDTH // len(shift)), scale.repeat(WIDTH // len(scale))
