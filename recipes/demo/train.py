"""Training: seeded by step, resumable, on the CPU in single precision."""

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from recipes.demo.batches import LEAD, SEED, Batch, Batches
from recipes.demo.model import TAIL, Size, StreamingParaformer, integrate

AVERAGE_EVERY = 5


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train."""

    steps: int = 8000
    seconds: float = 50.0  # of sound in a step
    rate: float = 1.5e-3
    warm_up: int = 250
    guided: int = 400  # steps with characters cut at the true places; then ever fewer until 3 * guided
    save_every: int = 100
    average: float = 0.998  # of the weights, exponentially; the average is what is exported

    def rate_at(self, step: int) -> float:
        """Linear warm-up, then half a cosine to 2 %."""
        if step < self.warm_up:
            return self.rate * (step + 1) / self.warm_up
        done = (step - self.warm_up) / max(1, self.steps - self.warm_up)
        return self.rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))

    def drift_weight_at(self, step: int) -> float:
        """How much the running sum's error counts: little while the network learns to hear, then ever more."""
        return 0.2 + 0.8 * step / self.steps

    def guidance_at(self, step: int) -> float:
        """The share of utterances whose characters are cut at the true places."""
        return min(1.0, max(0.0, (3 * self.guided - step) / (2 * self.guided)))


class Trainee(nn.Module):
    """The model, and a head that names the character at each position: it teaches the encoder faster."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.model = StreamingParaformer(size)
        self.hint = nn.Linear(size.size, size.vocabulary)

    def forward(self, batch: Batch, guidance: float, drift_weight: float) -> dict[str, Tensor]:
        """The losses of a batch."""
        layout = batch.layout
        memory, hidden, alphas = self.model.encode(batch.features, layout)
        there = layout.kept >= 0
        hint = functional.cross_entropy(self.hint(hidden[there]), batch.spoken[there])
        # Where characters are cut is learnt from the true times alone: through the text it is learnt badly, with
        # gradients that drown all others.
        cut = self._cut(alphas.detach(), batch, guidance)
        fired = integrate(hidden, cut, layout, batch.labels.shape[1])
        scores = self.model.decoder(fired, memory, layout)
        known = batch.labels >= 0
        text = functional.cross_entropy(scores[known], batch.labels[known], label_smoothing=0.05)
        return {
            "text": text,
            "hint": hint,
            "mass": self._mass_loss(alphas, batch, there, drift_weight),
            "errors": (scores[known].argmax(-1) != batch.labels[known]).float().mean(),
        }

    @staticmethod
    def _cut(alphas: Tensor, batch: Batch, guidance: float) -> Tensor:
        """The mass that cuts characters apart: the true one, or the predicted one as inference would use it.

        Where inference would find too few or too many characters the predicted mass is scaled to the true count.
        """
        true = batch.mass.diff(dim=1, prepend=torch.zeros(len(alphas), 1)).clamp_min(0)
        count = (batch.labels >= 0).sum(dim=1, keepdim=True)
        wanted = torch.where(count > 0, count + LEAD, 0.0)
        total = alphas.sum(dim=1, keepdim=True)
        right = (total > count - TAIL) & (total < count + 1 - TAIL)
        scaled = alphas * torch.where(right, 1.0, (wanted / total.clamp_min(1e-3)).clamp_max(3.0))
        guided = torch.rand(len(alphas), 1) < guidance
        return torch.where(guided, true, scaled)

    @staticmethod
    def _mass_loss(alphas: Tensor, batch: Batch, there: Tensor, drift_weight: float) -> Tensor:
        """How far the running sum is from the true one, and each position's mass from the true mass."""
        true = batch.mass.diff(dim=1, prepend=torch.zeros(len(alphas), 1)).clamp_min(0)
        sums = functional.smooth_l1_loss(alphas.cumsum(1)[there], true.cumsum(1)[there], beta=0.1)
        each = (alphas - true)[there].abs().mean()
        return drift_weight * sums + 2.0 * each


@dataclass
class State:
    """Everything that a checkpoint holds."""

    trainee: Trainee
    average: dict[str, Tensor]
    optimizer: torch.optim.AdamW
    step: int = 0

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


def fresh_state(size: Size, plan: Plan) -> State:
    """A seeded new network."""
    torch.manual_seed(SEED)
    trainee = Trainee(size)
    # Starting at an average of a third of a character a position, where the truth is.
    nn.init.constant_(trainee.model.predictor.cif_output.bias, -1.5)
    weights = [p for p in trainee.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=plan.rate, betas=(0.9, 0.98), weight_decay=0.01)
    average = {name: value.clone() for name, value in trainee.model.state_dict().items()}
    return State(trainee, average, optimizer)


def _take_step(state: State, batch: Batch, plan: Plan) -> dict[str, float]:
    for group in state.optimizer.param_groups:
        group["lr"] = plan.rate_at(state.step)
    losses = state.trainee(batch, plan.guidance_at(state.step), plan.drift_weight_at(state.step))
    total = losses["text"] + 0.4 * losses["hint"] + losses["mass"]
    state.optimizer.zero_grad(set_to_none=True)
    total.backward()
    norm = nn.utils.clip_grad_norm_(state.trainee.parameters(), 2.0)
    state.optimizer.step()
    state.step += 1
    if state.step % AVERAGE_EVERY == 0:
        keep = min(plan.average**AVERAGE_EVERY, state.step / (state.step + 100))
        for name, value in state.trainee.model.state_dict().items():
            state.average[name].lerp_(value, 1 - keep)
    return {name: value.item() for name, value in losses.items()} | {"norm": norm.item()}


def train(folder: Path, batches: Batches, size: Size, plan: Plan) -> State:
    """Train from the checkpoint in `folder`, or from nothing; a checkpoint every `save_every` steps."""
    state, file = fresh_state(size, plan), folder / "checkpoint.pt"
    if file.exists():
        state.load(file)
    torch.manual_seed(SEED + state.step)
    loader = DataLoader(
        batches, batch_size=None, sampler=range(state.step, plan.steps), num_workers=1, prefetch_factor=4
    )
    sums: dict[str, float] = {}
    began = time.monotonic()
    for batch in loader:
        for name, value in _take_step(state, batch, plan).items():
            sums[name] = sums.get(name, 0.0) + value / 50
        if state.step % 50 == 0:
            seconds, began = (time.monotonic() - began) / 50, time.monotonic()
            line = {name: round(value, 4) for name, value in sums.items()}
            print(json.dumps({"step": state.step, **line, "seconds": round(seconds, 3)}), flush=True)
            sums = {}
        if state.step % plan.save_every == 0 or state.step == plan.steps:
            state.save(file)
    return state
