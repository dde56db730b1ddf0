"""Training the streaming model: its losses, and how long and fast."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from recipes.demo import loop
from recipes.demo.batches import LEAD, Batch, Batches
from recipes.demo.model import TAIL, Size, StreamingParaformer, integrate


@dataclass(frozen=True)
class Plan(loop.Schedule):
    """How long and how fast to train."""

    steps: int = 8000
    rate: float = 1.5e-3
    warm_up: int = 250
    seconds: float = 50.0  # of sound in a step
    guided: int = 400  # steps with characters cut at the true places; then ever fewer until 3 * guided

    def drift_weight_at(self, step: int) -> float:
        """How much the running sum's error counts: little while the network learns to hear, then ever more."""
        return 0.2 + 0.8 * step / self.steps

    def guidance_at(self, step: int) -> float:
        """The share of utterances whose characters are cut at the true places."""
        return min(1.0, max(0.0, (3 * self.guided - step) / (2 * self.guided)))


class Trainee(loop.Trainee):
    """The model, and a head that names the character at each position: it teaches the encoder faster."""

    def __init__(self, size: Size, plan: Plan) -> None:
        super().__init__()
        self.model = StreamingParaformer(size)
        self.hint = nn.Linear(size.size, size.vocabulary)
        self._plan = plan

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """The losses of a batch."""
        layout = batch.layout
        memory, hidden, alphas = self.model.encode(batch.features, layout)
        there = layout.kept >= 0
        hint = functional.cross_entropy(self.hint(hidden[there]), batch.spoken[there])
        # Where characters are cut is learnt from the true times alone: through the text it is learnt badly, with
        # gradients that drown all others.
        cut = cut_mass(alphas.detach(), batch.mass, batch.labels, self._plan.guidance_at(step))
        fired = integrate(hidden, cut, layout, batch.labels.shape[1])
        scores = self.model.decoder(fired, memory, layout)
        known = batch.labels >= 0
        text = functional.cross_entropy(scores[known], batch.labels[known], label_smoothing=0.05)
        mass = mass_loss(alphas, batch.mass, there, self._plan.drift_weight_at(step))
        return {
            "text": text,
            "hint": hint,
            "mass": mass,
            "errors": (scores[known].argmax(-1) != batch.labels[known]).float().mean(),
            "total": text + 0.4 * hint + mass,
        }


def cut_mass(alphas: Tensor, mass: Tensor, labels: Tensor, guidance: float) -> Tensor:
    """The mass [batch, positions] that cuts characters apart: the true one, or the predicted one as inference uses it.

    `mass` (batch, positions) is the true running sum. Where inference would find too few or too many characters the
    predicted mass is scaled to the true count. A share of `guidance` of the rows gets the true mass.
    """
    count = (labels >= 0).sum(dim=1, keepdim=True)
    wanted = torch.where(count > 0, count + LEAD, 0.0)
    total = alphas.sum(dim=1, keepdim=True)
    right = (total > count - TAIL) & (total < count + 1 - TAIL)
    scaled = alphas * torch.where(right, 1.0, (wanted / total.clamp_min(1e-3)).clamp_max(3.0))
    guided = torch.rand(len(alphas), 1) < guidance
    return torch.where(guided, true_mass(mass), scaled)


def true_mass(mass: Tensor) -> Tensor:
    """Each position's mass, of the running sum."""
    return mass.diff(dim=1, prepend=torch.zeros(len(mass), 1)).clamp_min(0)


def mass_loss(alphas: Tensor, mass: Tensor, there: Tensor, drift_weight: float) -> Tensor:
    """How far the running sum is from the true one, and each position's mass from the true mass."""
    true = true_mass(mass)
    sums = functional.smooth_l1_loss(alphas.cumsum(1)[there], true.cumsum(1)[there], beta=0.1)
    each = (alphas - true)[there].abs().mean()
    return drift_weight * sums + 2.0 * each


def fresh_state(size: Size, plan: Plan) -> loop.State:
    """A seeded new network."""
    torch.manual_seed(loop.SEED)
    trainee = Trainee(size, plan)
    # Starting at an average of a third of a character a position, where the truth is.
    nn.init.constant_(trainee.model.predictor.cif_output.bias, -1.5)
    return loop.State.fresh(trainee, plan)


def train(folder: Path, batches: Batches, size: Size, plan: Plan) -> loop.State:
    """Train from the checkpoint in `folder`, or from nothing."""
    return loop.train(folder / "checkpoint.pt", batches, fresh_state(size, plan), plan)
