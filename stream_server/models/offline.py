"""The second pass: whole segments at once through offline Paraformer, each row with its own hotwords.

Paraformer, arXiv 2206.08317; BiCif, arXiv 2301.12343; SeACo-Paraformer, arXiv 2308.03266. Equals FunASR's
`Paraformer`, `BiCifParaformer` and `SeacoParaformer` (funasr/models/*/model.py) fed one segment at a time, for any
number of rows of any lengths; parameters bear their names.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

from stream_server.engine.pieces import Pieces, finished
from stream_server.models.architecture import UNSPOKEN
from stream_server.models.attention import Embedding
from stream_server.models.bias import KEPT, Hotwords, filtered, side_by_side
from stream_server.models.cif import Fired, Predictor, integrate
from stream_server.models.decoder import Decoder
from stream_server.models.encoder import Encoder
from stream_server.models.frontend import CARRY_SAMPLES, Frontend, fbank_frames, stacked_frames
from stream_server.models.offline_architecture import FILTERED_BY, ONSETS_PER_FRAME, OfflineArchitecture
from stream_server.models.onsets import OnsetPredictor, fired_times, token_times
from stream_server.models.quantised import Int8Product, quantise_encoder, quantise_products
from stream_server.models.tokens import search_whole
from stream_server.speech.context_graph import ContextGraph
from stream_server.units import FRAME_SAMPLES

log = logging.getLogger(__name__)

NO_WORD = (1,)
"""The word that stands for no hotword: `<s>`."""


@dataclass(frozen=True, slots=True)
class Segments:
    """Rows of one pass, on the device, but for `frames`.

    samples  [B, 480 + T * 960]  int16, each row's from index 0
    fbanks   [B]                 whole fbank frames in its samples
    frames   [B]                 frames of 60 ms that they give, 1 to T; on the CPU
    """

    samples: Tensor
    fbanks: Tensor
    frames: Tensor


@dataclass(frozen=True, slots=True)
class Heard:
    """What was heard in rows of up to T frames.

    encoded  [B, T, D]  the encoder's output, zero past a row's end
    inside   [B, T]     where a row has a frame
    alphas   [B, T]     CIF's weights
    tokens              what fired
    onsets   [B, 3 T]   the second CIF's weights, or None where the model has no second
    finite   [B]        false where a row's numbers overflowed: its results are worthless
    """

    encoded: Tensor
    inside: Tensor
    alphas: Tensor
    tokens: Fired
    onsets: Tensor | None
    finite: Tensor


@dataclass(frozen=True, slots=True)
class Said:
    """Tokens of rows: `ids` [B, N], and the `confidences` [B, N] of those, their probabilities; on the CPU."""

    ids: Tensor
    confidences: Tensor


@dataclass(frozen=True, slots=True)
class Recognised:
    """A segment's tokens by their ids, when each begins and ends, in ms since the segment's first sample, and its
    probability.

    `error` says that this row failed while its neighbours did not.
    """

    ids: list[int] = field(default_factory=list)
    times: list[tuple[int, int]] = field(default_factory=list)
    confidences: list[float] = field(default_factory=list)
    error: str | None = None


def frames_of(samples: int) -> int:
    """Frames of 60 ms that a segment of so many samples gives; none below 25 ms."""
    return stacked_frames(fbank_frames(samples), first=True)


def segments_of(samples: Sequence[np.ndarray], device: str | torch.device = "cpu") -> Segments:
    """Segments of int16 samples side by side. Raises ValueError where one is of another kind or gives no frame."""
    for index, row in enumerate(samples):
        if row.dtype != np.int16 or row.ndim != 1:
            raise ValueError(f"segment {index} is {row.dtype} of {row.ndim} dimensions; needed int16 of 1")
    frames = [frames_of(len(row)) for row in samples]
    if not all(frames):
        raise ValueError(f"segment {frames.index(0)} is {len(samples[frames.index(0)])} samples; needed 400 or more")
    padded = np.zeros((len(samples), CARRY_SAMPLES + max(frames) * FRAME_SAMPLES), np.int16)
    for index, row in enumerate(samples):
        padded[index, : len(row)] = row
    fbanks = torch.tensor([fbank_frames(len(row)) for row in samples])
    return Segments(torch.from_numpy(padded).to(device), fbanks.to(device), torch.tensor(frames))


class OfflineParaformer(nn.Module):
    """The network. Matrices and memory blocks are computed in the weights' dtype; features, norms, sums along the
    layers, both CIFs and the hotwords' LSTM in fp32."""

    def __init__(self, architecture: OfflineArchitecture, shift: Tensor, scale: Tensor) -> None:
        super().__init__()
        base = architecture.base
        self.architecture = architecture
        self.frontend = Frontend(shift, scale)
        self.encoder = Encoder(base)
        self.predictor = OnsetPredictor(base, architecture.onsets) if architecture.onsets else Predictor(base)
        self.decoder = Decoder(base)
        if architecture.bias:
            # Hotwords are read with the embeddings that the decoder was trained with and else does not need.
            self.decoder.embed = nn.Sequential(Embedding(base.vocabulary, base.size))
            self.bias_encoder = nn.LSTM(base.size, base.size, 2, batch_first=True)
            self.seaco_decoder = Decoder(architecture.bias_decoder, scores=False)
            self.hotword_output_layer = nn.Linear(base.size, base.vocabulary)

    @property
    def dtype(self) -> torch.dtype:
        """Of what goes into matrices; int8 ones take fp32."""
        return self._filter.dtype

    @property
    def _filter(self) -> Tensor:
        """Weights that every form of the network has."""
        return self.decoder.decoders[0].self_attn.fsmn_block.weight

    def quantise(self) -> None:
        """The matrices of encoder, decoders and the onsets' LSTM in int8, on a CPU: see `quantised`. CIF and the
        hotwords' LSTM stay exact. Raises ModelError where sizes are not such as the kernels compute."""
        self.encoder = quantise_encoder(self.encoder, self.architecture.base)
        quantise_products(self.decoder)
        if self.architecture.onsets:
            self.predictor.quantise()
        if self.architecture.bias:
            quantise_products(self.seaco_decoder)
            self.hotword_output_layer = Int8Product(self.hotword_output_layer)

    @torch.inference_mode()
    def encode_words(self, words: Sequence[Sequence[int]]) -> Tensor:
        """Vectors [n + 1, D] of n hotwords, each of one id or more, and last the one that stands for none of them.

        A word's vector does not depend on the others: it may be kept as long as its session lives. Raises ValueError
        where the model knows no hotwords, a word is empty or has an id that is not in the vocabulary.
        """
        if not self.architecture.bias:
            raise ValueError("hotwords for a model that knows none; needed a SeACo-Paraformer")
        for word in words:
            if not word or not all(0 <= id_ < self.architecture.base.vocabulary for id_ in word):
                raise ValueError(f"hotword {list(word)}; needed ids from 0 to {self.architecture.base.vocabulary - 1}")
        device = self._filter.device
        words = (*words, NO_WORD)
        ids = torch.tensor([id_ for word in words for id_ in word], device=device)
        read = self.decoder.embed(ids).float().split([len(word) for word in words])
        states, lengths = pad_packed_sequence(
            self.bias_encoder(pack_sequence(read, enforce_sorted=False))[0], batch_first=True
        )
        return states[torch.arange(len(read), device=device), lengths.to(device) - 1]

    def hear(self, segments: Segments) -> Heard:
        """Features, encoder and CIF."""
        return finished(self._hear(segments))

    def _hear(self, segments: Segments) -> Pieces[Heard]:
        device, frames = segments.samples.device, segments.frames.to(segments.samples.device)
        features = self.frontend(segments.samples, segments.fbanks, torch.ones_like(segments.fbanks, dtype=torch.bool))
        inside = torch.arange(features.shape[1], device=device) < frames[:, None]
        encoded = yield from self.encoder.whole(features, inside, self.dtype)
        alphas = self.predictor(encoded) * inside
        # An empty frame behind each row's last completes a token that is nearly there.
        weights = F.pad(alphas, (0, 1)).scatter(1, frames[:, None], self.architecture.base.tail_threshold)
        tokens = integrate(weights, F.pad(encoded, (0, 0, 0, 1)))
        yield
        onsets = (yield from self.predictor.onsets(encoded, segments.frames)) if self.architecture.onsets else None
        finite = encoded.isfinite().all(-1).all(-1) & tokens.carry.isfinite()
        return Heard(encoded, inside, alphas, tokens, onsets, finite)

    def say(self, heard: Heard, tokens: int, words: Sequence[Tensor | None]) -> Said:
        """What was said, of which a row's first `heard.tokens.count` tokens are meant.

        `words` are each row's hotwords from `encode_words`, or None for a row without.
        """
        return finished(self._say(heard, tokens, words))

    def _say(
        self, heard: Heard, tokens: int, words: Sequence[Tensor | None], graphs: Sequence[ContextGraph | None] = ()
    ) -> Pieces[Said]:
        count, dtype = heard.tokens.count, self.dtype
        spoken = torch.arange(tokens, device=count.device) < count[:, None]
        embeddings = heard.tokens.embeddings[:, :tokens]
        hidden = yield from self.decoder.whole(embeddings, spoken, heard.encoded.to(dtype), heard.inside)
        scores = self.decoder.output_layer(hidden.to(dtype))
        yield
        rows = [row for row, vectors in enumerate(words) if vectors is not None]
        if rows:
            hotwords = side_by_side([words[row] for row in rows])
            found = yield from self._find(embeddings[rows], hidden[rows], spoken[rows], hotwords)
            is_hotword = found.argmax(-1) != self.architecture.bias.no_bias
            scores[rows] = torch.where(is_hotword[..., None], found.to(scores.dtype), scores[rows])
        # To the host at once: what a search finds is written into it number by number.
        said = Said(*(each.cpu() for each in _best(scores)))
        listed = {row: graph for row, graph in enumerate(graphs) if graph is not None}
        if listed:
            yield
            self._search(said, scores, heard, listed)
        return said

    def _search(self, said: Said, scores: Tensor, heard: Heard, graphs: Mapping[int, ContextGraph]) -> None:
        """Puts in, for the rows with `graphs`, what the search finds; where it fails what the model says stands."""
        fine = (heard.finite & scores.isfinite().all(-1).all(-1)).tolist()
        rows = {row: graph for row, graph in graphs.items() if fine[row]}
        try:
            found = search_whole(scores, said.ids, heard.tokens.count.tolist(), rows)
        except Exception:
            log.exception("the search for hotwords failed in %d segments; the model's own words stand", len(rows))
            return
        for row, tokens in found.items():
            for place, token in enumerate(tokens):
                said.ids[row, place], said.confidences[row, place] = token.id, token.confidence / 100

    def _find(
        self, embeddings: Tensor, hidden: Tensor, spoken: Tensor, hotwords: Hotwords
    ) -> Pieces[Tensor]:
        """Scores [B, N, vocabulary] of hotwords' tokens, and of "no hotword", for what was heard and what was said."""
        dtype, decoder = self.dtype, self.seaco_decoder
        if hotwords.vectors.shape[1] > KEPT:
            looks = yield from decoder.weights(hidden, spoken, hotwords.vectors.to(dtype), hotwords.there, FILTERED_BY)
            hotwords = filtered(hotwords, looks * spoken[:, None, :, None])
        vectors, there = hotwords.vectors.to(dtype), hotwords.there
        by_sound = yield from decoder.whole(embeddings, spoken, vectors, there)
        by_text = yield from decoder.whole(hidden, spoken, vectors, there)
        return self.hotword_output_layer((by_sound + by_text).to(dtype))

    @torch.inference_mode()
    def recognise(
        self, samples: Sequence[np.ndarray], words: Sequence[Tensor | None] | None = None
    ) -> list[Recognised]:
        """Each segment of int16 samples at 16 kHz, with its hotwords from `encode_words`, or None, in one pass.

        A segment under 25 ms has nothing to recognise. Raises ValueError where a segment is not of int16, or hotwords
        are given for more or fewer segments than there are.
        """
        return finished(self.recognise_in_pieces(samples, words))

    @torch.inference_mode()
    def recognise_in_pieces(
        self, samples: Sequence[np.ndarray], words: Sequence[Tensor | None] | None = None,
        graphs: Sequence[ContextGraph | None] | None = None
    ) -> Pieces[list[Recognised]]:
        """`recognise`, which may be put off after each layer. Any thread may run the next piece, one at a time.

        With `graphs`, a row's hotwords earn a bonus besides, on top of what the model makes of them by itself: the
        tokens are those that a search finds. FunASR has no such thing.
        """
        graphs = [None] * len(samples) if graphs is None else graphs
        words = [None] * len(samples) if words is None else words
        if len(words) != len(samples):
            raise ValueError(f"hotwords for {len(words)} segments; needed those of {len(samples)}, or None for each")
        results = [Recognised()] * len(samples)
        rows = [row for row, samples_ in enumerate(samples) if frames_of(len(samples_))]
        if not rows:
            return results
        segments = segments_of([samples[row] for row in rows], self._filter.device)
        heard = yield from self._hear(segments)
        most = int((heard.tokens.count * heard.finite).max())
        listed = [graphs[row] for row in rows]
        said = (yield from self._say(heard, most, [words[row] for row in rows], listed)) if most else None
        for row, result in zip(rows, _results(heard, said, segments.frames.tolist()), strict=True):
            results[row] = result
        return results


def _best(scores: Tensor) -> tuple[Tensor, Tensor]:
    """The best of scores [B, N, vocabulary], and its probability."""
    best, ids = scores.float().max(-1)
    return ids, (best - scores.float().logsumexp(-1)).exp()


def _results(heard: Heard, said: Said | None, frames: list[int]) -> Iterator[Recognised]:
    ids = [[]] * len(frames) if said is None else said.ids.tolist()
    sure = [[]] * len(frames) if said is None else said.confidences.tolist()
    fine, count = heard.finite.tolist(), heard.tokens.count.tolist()
    fired = heard.tokens.frames.tolist()
    onsets = None if heard.onsets is None else heard.onsets.tolist()
    for row, length in enumerate(frames):
        if not fine[row] or not all(map(math.isfinite, sure[row][: count[row]])):
            yield Recognised(error="the model's numbers overflowed")
            continue
        spoken = [place for place in range(count[row]) if ids[row][place] >= UNSPOKEN]
        if onsets is None:
            all_times = fired_times(fired[row][: count[row]], length)
            times = [all_times[place] for place in spoken]
        else:
            times = token_times(onsets[row][: length * ONSETS_PER_FRAME], count[row], len(spoken))
        yield Recognised([ids[row][place] for place in spoken], times, [sure[row][place] for place in spoken])
