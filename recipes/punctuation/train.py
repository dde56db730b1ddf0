"""Training: seeded by step, resumable, on the CPU in single precision; through the server's own network."""

from __future__ import annotations

import itertools
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from torch import Tensor, nn
from torch.nn import functional

from recipes.punctuation import texts
from stream_server.models.architecture import Architecture
from stream_server.models.punctuation import Punctuation
from stream_server.models.punctuation_architecture import PUBLISHED_MARKS, PunctuationArchitecture

SEED = 11
AVERAGE_EVERY = 5
LONGEST = 220
"""Words of an example: what inference reads at once, and a little more."""

CUT_SHARE = 0.5
"""Of the examples end within a sentence, as the pieces do that inference reads."""

UNKNOWN_SHARE = 0.02
"""Of the words are taken for ones that are not in the list."""


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train."""

    steps: int = 1600
    rows: int = 40
    rate: float = 2e-3
    warm_up: int = 200
    save_every: int = 200
    average: float = 0.998  # of the weights, exponentially; the average is what is exported

    def rate_at(self, step: int) -> float:
        """Linear warm-up, then half a cosine to 1 %."""
        if step < self.warm_up:
            return self.rate * (step + 1) / self.warm_up
        done = (step - self.warm_up) / max(1, self.steps - self.warm_up)
        return self.rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


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


class Batches:
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


@dataclass
class State:
    """Everything that a checkpoint holds."""

    network: Punctuation
    average: dict[str, Tensor]
    optimizer: torch.optim.AdamW
    step: int = 0

    def save(self, file: Path) -> None:
        part = file.with_suffix(".part")
        torch.save(
            {
                "network": self.network.state_dict(),
                "average": self.average,
                "optimizer": self.optimizer.state_dict(),
                "step": self.step,
            },
            part,
        )
        part.rename(file)

    def load(self, file: Path) -> None:
        saved = torch.load(file, weights_only=True)
        self.network.load_state_dict(saved["network"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.average, self.step = saved["average"], saved["step"]


def fresh_state(plan: Plan) -> State:
    """A seeded new network."""
    torch.manual_seed(SEED)
    network = Punctuation(architecture())
    nn.init.normal_(network.embed.weight, std=network.embed.embedding_dim**-0.5)
    optimizer = torch.optim.AdamW(network.parameters(), lr=plan.rate, betas=(0.9, 0.98), weight_decay=0.01)
    average = {name: value.clone() for name, value in network.state_dict().items()}
    return State(network, average, optimizer)


def take_step(state: State, batch: Batch, plan: Plan) -> dict[str, float]:
    """One step; the loss, and the share of words with a wrong mark."""
    for group in state.optimizer.param_groups:
        group["lr"] = plan.rate_at(state.step)
    inside = batch.labels >= 0
    scores = state.network(batch.ids, inside, torch.zeros(len(batch.ids), dtype=torch.long))[inside]
    labels = batch.labels[inside]
    loss = functional.cross_entropy(scores, labels)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(state.network.parameters(), 1.0)
    state.optimizer.step()
    state.step += 1
    if state.step % AVERAGE_EVERY == 0:
        keep = min(plan.average**AVERAGE_EVERY, state.step / (state.step + 100))
        for name, value in state.network.state_dict().items():
            state.average[name].lerp_(value, 1 - keep)
    return {"loss": loss.item(), "errors": (scores.argmax(-1) != labels).float().mean().item()}


def train(folder: Path, plan: Plan) -> State:
    """Train from the checkpoint in `folder`, or from nothing; a checkpoint every `save_every` steps."""
    state, file = fresh_state(plan), folder / "checkpoint.pt"
    if file.exists():
        state.load(file)
    batches = Batches(plan.rows)
    sums: dict[str, float] = {}
    began = time.monotonic()
    while state.step < plan.steps:
        for name, value in take_step(state, batches[state.step], plan).items():
            sums[name] = sums.get(name, 0.0) + value / 50
        if state.step % 50 == 0:
            seconds, began = (time.monotonic() - began) / 50, time.monotonic()
            line = {name: round(value, 4) for name, value in sums.items()}
            print(json.dumps({"step": state.step, **line, "seconds": round(seconds, 3)}), flush=True)
            sums = {}
        if state.step % plan.save_every == 0 or state.step == plan.steps:
            state.save(file)
    return state
