"""The first half of the training: hear whole segments, and when each character begins. Hotwords come later."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from recipes.demo import loop
from recipes.demo.speech import Corpus
from recipes.demo.train import cut_mass, mass_loss
from recipes.seaco.network import fresh_network
from recipes.seaco.onsets import onsets
from recipes.seaco.segments import SegmentBatches, Segments
from stream_server.engine.pieces import finished
from stream_server.models.cif import integrate
from stream_server.models.offline import OfflineParaformer


@dataclass(frozen=True)
class Plan(loop.Schedule):
    """Shorter than the streaming model's, whose weights it begins with."""

    steps: int = 2100
    rate: float = 4e-4
    warm_up: int = 50
    seconds: float = 50.0  # of sound in a step
    settling: int = 200  # steps in which a new head learns from the encoder and does not yet teach it

    def drift_weight_at(self, step: int) -> float:
        """How much the running sum's error counts: little while the network learns to hear, then ever more."""
        return 0.2 + 0.8 * step / self.steps


class Hearing(loop.Trainee):
    """The network without its hotwords, and the head that names the character at each frame."""

    def __init__(self, network: OfflineParaformer, plan: Plan) -> None:
        super().__init__()
        self.model = network
        self._plan = plan
        base = network.architecture.base
        self.hint = nn.Linear(base.size, base.vocabulary)
        for part in bias_parts(network):
            part.requires_grad_(False)

    def forward(self, batch: Segments, step: int) -> dict[str, Tensor]:
        inside, known = batch.inside, batch.labels >= 0
        encoded = finished(self.model.encoder.whole(batch.features, inside, torch.float32))
        alphas = self.model.predictor(encoded) * inside
        embeddings, hidden = said(self.model, encoded, alphas.detach(), batch)
        scores = self.model.decoder.output_layer(hidden[known])
        text = functional.cross_entropy(scores, batch.labels[known], label_smoothing=0.05)
        heard = encoded[inside].detach() if step < self._plan.settling else encoded[inside]
        hint = functional.cross_entropy(self.hint(heard), batch.spoken[inside])
        mass = mass_loss(alphas, batch.mass, inside, self._plan.drift_weight_at(step))
        onset = torch.zeros(())
        if step % 2 == 0:  # the slowest part, and soon learnt
            # The encoder serves the text: it is not bent towards onsets.
            onset = onset_loss(onsets(self.model.predictor, encoded.detach(), batch.frames), batch)
        return {
            "text": text,
            "hint": hint,
            "mass": mass,
            "onsets": onset,
            "errors": (scores.argmax(-1) != batch.labels[known]).float().mean(),
            "total": text + 0.4 * hint + mass + onset,
        }


def bias_parts(network: OfflineParaformer) -> tuple[nn.Module, ...]:
    """What only hotwords need."""
    return network.decoder.embed, network.bias_encoder, network.seaco_decoder, network.hotword_output_layer


def said(
    network: OfflineParaformer, encoded: Tensor, alphas: Tensor, batch: Segments
) -> tuple[Tensor, Tensor]:
    """Characters' embeddings and the decoder's hidden states, [B, N, D] each, as many as each row has labels."""
    cut = cut_mass(alphas, batch.mass, batch.labels, guidance=0.0)
    # A row's last character may be complete only with the empty frame behind its last.
    fired = integrate(functional.pad(cut, (0, 1)), functional.pad(encoded, (0, 0, 0, 1)))
    known = batch.labels >= 0
    embeddings = fired.embeddings[:, : known.shape[1]] * known[..., None]
    return embeddings, finished(network.decoder.whole(embeddings, known, encoded, batch.inside))


def onset_loss(shares: Tensor, batch: Segments) -> Tensor:
    """How far each step's share is from the true one, and the running sum from the true one."""
    inside = batch.inside.repeat_interleave(3, dim=1)
    each = functional.binary_cross_entropy(shares[inside].clamp(0, 1), batch.onsets[inside])
    sums = functional.smooth_l1_loss(shares.cumsum(1)[inside], batch.onsets.cumsum(1)[inside], beta=0.1)
    return each + 0.2 * sums


def train(folder: Path, corpus: Corpus, normalisation: tuple[Tensor, Tensor]) -> OfflineParaformer:
    """Learn from the corpus, then with half of it shuffled; from checkpoints, or from the streaming model.

    The encoder then hears what is said and not what is usual. To know what is usual is the decoder's part, and
    shuffled texts unteach it: the decoder is put back as it was before.
    """
    plan, loose = Plan(), Plan(steps=500, rate=3e-4, settling=0)
    torch.manual_seed(loop.SEED)
    state = loop.State.fresh(Hearing(fresh_network(), plan), plan)
    batches = SegmentBatches(corpus, normalisation, plan.seconds)
    state = loop.train(folder / "hearing.pt", batches, state, plan)
    usual = {name: value.clone() for name, value in state.average.items()}
    state.trainee.model.load_state_dict(usual)
    trainee = Hearing(state.trainee.model, loose)
    trainee.hint = state.trainee.hint
    batches = SegmentBatches(corpus, normalisation, loose.seconds, loop.SEED + 1, shuffle=True)
    state = loop.train(folder / "shuffled.pt", batches, loop.State.fresh(trainee, loose), loose)
    decoder = {name: value for name, value in usual.items() if name.startswith("decoder.")}
    state.trainee.model.load_state_dict(state.average | decoder)
    return state.trainee.model
