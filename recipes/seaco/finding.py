"""The second half of the training: find hotwords in what was heard. All that hears stays as it is."""

from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from recipes.demo import loop
from recipes.demo.batches import tokens
from recipes.seaco.heard import Heard
from recipes.seaco.hearing import bias_parts
from recipes.seaco.lists import ListMaker, Lists
from recipes.seaco.names import KeptNames
from recipes.seaco.network import NO_BIAS
from recipes.seaco.sounds import Sounds
from stream_server.models.offline import NO_WORD, OfflineParaformer

SPELT = 4  # characters of a hotword that its vector is asked for
GUIDED_LAYERS = (3, 6)  # counted from one; FunASR's filter of long lists looks at the sixth


@dataclass(frozen=True)
class Plan(loop.Schedule):
    """Long, and each step quick."""

    steps: int = 3400
    rate: float = 1.5e-3
    warm_up: int = 200
    rows: int = 32  # segments in a step


@dataclass(frozen=True)
class Lookout:
    """Segments one after another with gaps, in which no memory block sees from one to the next, and their lists.

    embeddings, hidden [P, D]; spoken [P] where there is a character and no gap.
    labels [P] the hotword's token, or "no hotword".  target [P] which of the words it is of, the last for none.
    words [K, longest] token numbers, the last that of no hotword; lengths [K].  listed [P, K] words in the list of
    the segment to which a character belongs.  decided [P, K] these, and all words that are surely not said in it.
    """

    embeddings: Tensor
    hidden: Tensor
    spoken: Tensor
    labels: Tensor
    target: Tensor
    words: Tensor
    lengths: Tensor
    listed: Tensor
    decided: Tensor


class Lookouts(Dataset[Lookout]):
    """`lookouts[step]`, which follows from the step alone."""

    def __init__(self, heard: Heard, sounds: Sounds, kept: KeptNames, rows: int, gap: int) -> None:
        self._heard = heard
        self._sounds = sounds
        self._kept = kept
        self._rows = rows
        self._gap = gap
        self._numbers = {token: number for number, token in enumerate(tokens())}

    def __getitem__(self, step: int) -> Lookout:
        random = Random(f"lists {step}")
        segments = [random.randrange(len(self._heard)) for _ in range(self._rows)]
        maker = ListMaker(random, self._sounds, self._kept)
        return self.lay_out(segments, maker.draw([self._heard.text(segment) for segment in segments]))

    def lay_out(self, segments: list[int], drawn: Lists) -> Lookout:
        """Segments by their numbers, and their lists."""
        words = [torch.tensor([self._numbers[character] for character in word]) for word in drawn.words]
        words.append(torch.tensor(NO_WORD))
        none = len(drawn.words)
        parts: list[tuple[Tensor, ...]] = []
        for row, segment in enumerate(segments):
            first, last = self._heard.at[segment : segment + 2].tolist()
            found = torch.tensor(drawn.found[row])
            written = torch.tensor([self._numbers[character] for character in drawn.written[row]])
            parts.append((
                self._heard.embeddings[first:last].float(),
                self._heard.hidden[first:last].float(),
                torch.ones(last - first, dtype=torch.bool),
                torch.where(found >= 0, written, NO_BIAS),
                torch.where(found >= 0, found, none),
                _chosen(drawn.listed[row], last - first, none),
                _chosen(drawn.decided[row], last - first, none),
            ))
        columns = (self._with_gaps(column) for column in zip(*parts, strict=True))
        embeddings, hidden, spoken, labels, target, listed, decided = columns
        listed[:, none] = decided[:, none] = True
        return Lookout(
            embeddings, hidden, spoken, labels, target, pad_sequence(words, batch_first=True),
            torch.tensor([len(word) for word in words]), listed, decided,
        )

    def _with_gaps(self, rows: tuple[Tensor, ...]) -> Tensor:
        gap = rows[0].new_zeros(self._gap, *rows[0].shape[1:])
        return torch.cat([piece for row in rows for piece in (row, gap)])


def _chosen(words: list[int], characters: int, none: int) -> Tensor:
    """[characters, none + 1], true for the words and for none of them."""
    chosen = torch.zeros(characters, none + 1, dtype=torch.bool)
    chosen[:, [*words, none]] = True
    return chosen


class Finding(loop.Trainee):
    """The network, of which only what hotwords need learns, and the heads that ask a word's vector for its spelling."""

    def __init__(self, network: OfflineParaformer) -> None:
        super().__init__()
        self.model = network.requires_grad_(False)
        for part in bias_parts(network):
            part.requires_grad_(True)
        size = network.architecture.base.size
        self.spell = nn.ModuleList(nn.Linear(size, size) for _ in range(SPELT))

    def forward(self, batch: Lookout, step: int) -> dict[str, Tensor]:
        vectors = self._vectors(batch)
        scores, looks = self._find(batch, vectors)
        spoken = batch.spoken
        found = functional.cross_entropy(scores[spoken], batch.labels[spoken])
        look = sum(_look_loss(part[spoken], batch.target[spoken]) for part in looks) / len(looks)
        spelling = self._spelling_loss(batch, vectors)
        said, right = batch.labels[spoken], scores[spoken].argmax(-1) == batch.labels[spoken]
        return {
            "found": found,
            "look": look,
            "spelling": spelling,
            "missed": 1 - right[said != NO_BIAS].float().mean(),
            "wrong": 1 - right[said == NO_BIAS].float().mean(),
            "total": found + 0.5 * look + 0.3 * spelling,
        }

    def _vectors(self, batch: Lookout) -> Tensor:
        """[K, D]; as `OfflineParaformer.encode_words`, all at once."""
        states, _ = self.model.bias_encoder(self.model.decoder.embed(batch.words))
        return states[torch.arange(len(batch.words)), batch.lengths - 1]

    def _find(self, batch: Lookout, vectors: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Scores [P, vocabulary], and how much each character looks at each word, [P, K], in each guided layer."""
        decoder = self.model.seaco_decoder
        x = torch.stack((batch.embeddings, batch.hidden))
        memory = vectors.expand(2, -1, -1)
        spoken = batch.spoken[None, :, None].float()
        # What to look at is learnt among many more words than most lists have.
        visible, decided = batch.listed[None, None], batch.decided[None, None]
        looks = []
        for number, layer in enumerate(decoder.decoders, 1):
            if number in GUIDED_LAYERS:
                looks.append(layer.weights(x, spoken, memory, decided).mean((0, 1)))
            x = layer.whole(x, spoken, memory, visible)
        found = decoder.after_norm(decoder.decoders3[0](x, torch.float32)).sum(0)
        return self.model.hotword_output_layer(found), looks

    def _spelling_loss(self, batch: Lookout, vectors: Tensor) -> Tensor:
        """A vector must say its word's characters in order; through the text alone it learns that slowly."""
        words = batch.words[:, :SPELT]
        there = torch.arange(words.shape[1]) < batch.lengths[:, None]
        said = torch.stack([head(vectors) for head in self.spell[: words.shape[1]]], dim=1)
        return functional.cross_entropy(self.model.hotword_output_layer(said[there]), words[there])


def _look_loss(looks: Tensor, target: Tensor) -> Tensor:
    """How far `looks` [N, K] are from `target` [N]; hotwords, which are few, count as much as all else."""
    loss = -(looks.gather(1, target[:, None])[:, 0] + 1e-6).log()
    hot = target < looks.shape[1] - 1
    return 0.5 * loss[hot].sum() / hot.sum().clamp_min(1) + 0.5 * loss[~hot].sum() / (~hot).sum().clamp_min(1)


@torch.no_grad()
def begin_with_what_is_known(network: OfflineParaformer) -> None:
    """Hotwords are read, and said, with the vectors by which the decoder tells characters apart.

    Characters that sound alike have like vectors there, near to those of what was heard: so the search for a word that
    sounds like what was said begins with a scent.
    """
    scores = network.decoder.output_layer
    weight = scores.weight - scores.weight.mean(0)
    network.decoder.embed[0].weight.copy_(weight / weight.std() + 0.3 * torch.randn_like(weight))
    network.hotword_output_layer.weight.copy_(scores.weight)
    network.hotword_output_layer.bias.zero_()


def train(folder: Path, network: OfflineParaformer, lookouts: Lookouts, plan: Plan) -> loop.State:
    """Train from the checkpoint in `folder`, or from a `network` that hears."""
    torch.manual_seed(loop.SEED)
    begin_with_what_is_known(network)
    return loop.train(folder / "finding.pt", lookouts, loop.State.fresh(Finding(network), plan), plan)
