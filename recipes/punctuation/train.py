"""Training through the server's own network."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

from recipes.demo import loop
from recipes.punctuation import texts
from stream_server.models.architecture import Architecture
from stream_server.models.punctuation import Punctuation
from stream_server.models.punctuation_architecture import PUBLISHED_MARKS, PunctuationArchitecture

SEED = 11
LONGEST = 220
"""Words of an example: what inference reads at once, and a little more."""

CUT_SHARE = 0.5
"""Of the examples end within a sentence, as the pieces do that inference reads."""

UNKNOWN_SHARE = 0.02
"""Of the words are taken for ones that are not in the list."""


@dataclass(frozen=True)
class Plan(loop.Schedule):
    """A few minutes on a processor."""

    steps: int = 1600
    rows: int = 40
    rate: float = 2e-3
    warm_up: int = 200
    save_every: int = 200
    last_rate: float = 0.01
    clip: float = 1.0


def words() -> list[str]:
    """The vocabulary in order of ids."""
    return ["<blank>", "<s>", "</s>", *texts.vocabulary(), "<unk>"]


def architecture() -> PunctuationArchitecture:
    base = Architecture(size=128, encoder_heads=4, encoder_hidden=256, encoder_layers=3, vocabulary=len(words()))
    return PunctuationArchitecture(base, width=128)


@dataclass(frozen=True)
class Batch:
    """ids and labels [rows, words]; labels are -1 outside of a row."""

    ids: Tensor
    labels: Tensor


class Batches(Dataset):
    """What step n trains on follows from n and the seed alone."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._ids = {word: id_ for id_, word in enumerate(words())}
        self._labels = {mark: label for label, mark in enumerate(PUBLISHED_MARKS)}

    def __getitem__(self, step: int) -> Batch:
        random = Random(f"{SEED} {step}")
        rows = [self._row(text, random) for text in itertools.islice(texts.training_texts(step), self._rows)]
        longest = max(len(ids) for ids, _ in rows)
        ids = torch.zeros(len(rows), longest, dtype=torch.long)
        labels = torch.full_like(ids, -1)
        for row, (row_ids, row_labels) in enumerate(rows):
            ids[row, : len(row_ids)] = torch.tensor(row_ids)
            labels[row, : len(row_ids)] = torch.tensor(row_labels)
        return Batch(ids, labels)

    def _row(self, text: str, random: Random) -> tuple[list[int], list[int]]:
        said, marks = texts.read(text)
        if random.random() < CUT_SHARE:
            end = random.randint(1, len(said))
            said, marks = said[:end], marks[:end]
        unknown = self._ids["<unk>"]
        ids = [unknown if random.random() < UNKNOWN_SHARE else self._ids[word] for word in said]
        return ids[:LONGEST], [self._labels[mark] for mark in marks[:LONGEST]]


class Reader(loop.Trainee):
    """A seeded new network that reads marks off words."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(SEED)
        self.model = Punctuation(architecture())
        nn.init.normal_(self.model.embed.weight, std=self.model.embed.embedding_dim**-0.5)

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """The loss, and the share of words with a wrong mark."""
        inside = batch.labels >= 0
        scores = self.model(batch.ids, inside, torch.zeros(len(batch.ids), dtype=torch.long))[inside]
        labels = batch.labels[inside]
        return {
            "total": functional.cross_entropy(scores, labels),
            "errors": (scores.argmax(-1) != labels).float().mean(),
        }


def train(folder: Path, plan: Plan) -> loop.State:
    """Train from the checkpoint in `folder`, or from nothing."""
    return loop.train(folder / "checkpoint.pt", Batches(plan.rows), loop.State.fresh(Reader(), plan), plan)
