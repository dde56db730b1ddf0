"""The loop of every training here: seeded by step, resumable, on the CPU in single precision."""

import json
import math
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

SEED = 7
AVERAGE_EVERY = 5


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train."""

    steps: int
    rate: float
    warm_up: int
    save_every: int = 100
    average: float = 0.998  # of the weights, exponentially; the average is what is exported
    last_rate: float = 0.02  # as a part of `rate`
    clip: float = 2.0  # the norm that gradients are cut to

    def rate_at(self, step: int) -> float:
        """Linear warm-up, then half a cosine down to `last_rate`."""
        if step < self.warm_up:
            return self.rate * (step + 1) / self.warm_up
        done = (step - self.warm_up) / max(1, self.steps - self.warm_up)
        return self.rate * (self.last_rate + (1 - self.last_rate) * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


class Trainee(nn.Module, ABC):
    """A network to train, `model`, whose average is exported, and whatever else its losses need.

    Called with a batch and the step it gives losses to print, `total` among them, from which the gradients come.
    """

    model: nn.Module

    @abstractmethod
    def forward(self, batch: Any, step: int) -> dict[str, Tensor]: ...


@dataclass
class State:
    """Everything that a checkpoint holds."""

    trainee: Trainee
    average: dict[str, Tensor]
    optimizer: torch.optim.AdamW
    step: int = 0

    @classmethod
    def fresh(cls, trainee: Trainee, schedule: Schedule) -> "State":
        """Before the first step."""
        weights = [p for p in trainee.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(weights, lr=schedule.rate, betas=(0.9, 0.98), weight_decay=0.01)
        return cls(trainee, {name: value.clone() for name, value in trainee.model.state_dict().items()}, optimizer)

    def save(self, file: Path) -> None:
        part = file.with_suffix(".part")
        torch.save(
            {
                "trainee": self.trainee.state_dict(),
                "average": self.average,
                "optimizer": self.optimizer.state_dict(),
                "step": self.step,
            },
            part,
        )
        part.rename(file)

    def load(self, file: Path) -> None:
        saved = torch.load(file, weights_only=True)
        self.trainee.load_state_dict(saved["trainee"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.average, self.step = saved["average"], saved["step"]

    def take_step(self, batch: Any, schedule: Schedule) -> dict[str, float]:
        """One step; what it cost."""
        for group in self.optimizer.param_groups:
            group["lr"] = schedule.rate_at(self.step)
        losses = self.trainee(batch, self.step)
        self.optimizer.zero_grad(set_to_none=True)
        losses["total"].backward()
        norm = nn.utils.clip_grad_norm_(self.trainee.parameters(), schedule.clip)
        self.optimizer.step()
        self.step += 1
        if self.step % AVERAGE_EVERY == 0:
            keep = min(schedule.average**AVERAGE_EVERY, self.step / (self.step + 100))
            for name, value in self.trainee.model.state_dict().items():
                self.average[name].lerp_(value, 1 - keep)
        return {name: value.item() for name, value in losses.items()} | {"norm": norm.item()}


def train(file: Path, batches: Dataset, state: State, schedule: Schedule) -> State:
    """Train from the checkpoint `file`, or from `state`; a checkpoint every `save_every` steps."""
    if file.exists():
        state.load(file)
    torch.manual_seed(SEED + state.step)
    loader = DataLoader(
        batches, batch_size=None, sampler=range(state.step, schedule.steps), num_workers=1, prefetch_factor=4
    )
    sums: dict[str, float] = {}
    began = time.monotonic()
    for batch in loader:
        for name, value in state.take_step(batch, schedule).items():
            sums[name] = sums.get(name, 0.0) + value / 50
        if state.step % 50 == 0:
            seconds, began = (time.monotonic() - began) / 50, time.monotonic()
            line = {name: round(value, 4) for name, value in sums.items()}
            print(json.dumps({"step": state.step, **line, "seconds": round(seconds, 3)}), flush=True)
            sums = {}
        if state.step % schedule.save_every == 0 or state.step == schedule.steps:
            state.save(file)
    return state
