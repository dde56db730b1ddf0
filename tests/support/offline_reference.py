"""FunASR's own offline Paraformer, BiCif and SeACo as the reference: same weights, one segment at a time.

Nothing of FunASR's arithmetic is replaced. The driver calls what FunASR's `inference` calls, in its order, and notes
down what passes by; hotwords come as ids, where `inference` first looks up words.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stream_server.models.architecture import UNSPOKEN
from stream_server.models.offline import OfflineParaformer
from tests.support.offline_config import offline_conf


@dataclass(frozen=True, slots=True)
class ReferenceSegment:
    """What FunASR computed of one segment.

    features [T, 560], encoded [T, D], alphas [T] (and the tail, where it was added); `all_ids` of all tokens, `ids` and
    `times` (ms) of those that are spoken; `onsets` [3 T] and the `margins` between the two best scores.
    """

    features: Tensor
    encoded: Tensor
    alphas: Tensor
    all_ids: list[int]
    ids: list[int]
    times: list[list[int]]
    onsets: Tensor | None
    margins: list[float]


class OfflineReference:
    """FunASR's model class and `WavFrontend` with the weights of `network`."""

    def __init__(self, network: OfflineParaformer) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from funasr.frontends.wav_frontend import WavFrontend
            from funasr.models.bicif_paraformer import cif_predictor as _  # noqa: F401 (registers the classes)
            from funasr.models.bicif_paraformer.model import BiCifParaformer
            from funasr.models.paraformer import cif_predictor, decoder  # noqa: F401
            from funasr.models.paraformer.model import Paraformer
            from funasr.models.sanm import encoder  # noqa: F401
            from funasr.models.seaco_paraformer.model import SeacoParaformer
            from funasr.utils.timestamp_tools import ts_prediction_lfr6_standard

            conf = offline_conf(network.architecture)
            classes = {"Paraformer": Paraformer, "BiCifParaformer": BiCifParaformer, "SeacoParaformer": SeacoParaformer}
            # As FunASR's AutoModel does it.
            self.model = classes[conf["model"]](**{**conf["model_conf"], **conf})
        self._times = ts_prediction_lfr6_standard
        self._onsets, self._bias = bool(network.architecture.onsets), bool(network.architecture.bias)
        weights = network.state_dict()
        if not self._bias:
            # Only training uses the embeddings of a model without hotwords.
            weights["decoder.embed.0.weight"] = self.model.decoder.embed[0].weight.detach()
        self.model.load_state_dict(weights, strict=True, assign=True)
        self.model.eval()
        self.frontend = WavFrontend(**conf["frontend_conf"])
        self.frontend.cmvn_file = "as the model's"
        self.frontend.cmvn = torch.stack((network.frontend.shift, network.frontend.scale))

    @torch.inference_mode()
    def features(self, samples: np.ndarray) -> Tensor:
        """[1, T, 560] of int16 samples."""
        wave = torch.from_numpy(samples.astype(np.float32) / 32768)[None]
        return self.frontend(wave, torch.tensor([len(samples)]))[0]

    @torch.inference_mode()
    def recognise(self, samples: np.ndarray, words: Sequence[Sequence[int]] | None = None) -> ReferenceSegment:
        """One segment; `words` are hotwords' ids without the one that stands for none of them, or None."""
        features = self.features(samples)
        encoded, lengths = self.model.encode(features, torch.tensor([features.shape[1]]))
        embeddings, count, alphas, _ = self.model.calc_predictor(encoded, lengths)
        count = count.round().long()
        if int(count) < 1:
            return ReferenceSegment(features[0], encoded[0], alphas[0], [], [], [], None, [])
        scores = self.scores(encoded, lengths, embeddings, count, words)
        best = scores[0, : int(count)].topk(2, -1)
        all_ids = best.indices[:, 0].tolist()
        ids = [id_ for id_ in all_ids if id_ >= UNSPOKEN]
        onsets, times = None, []
        if self._onsets:
            _, _, onsets, peaks = self.model.calc_predictor_timestamp(encoded, lengths, count)
            end = int(lengths) * 3
            _, times = self._times(onsets[0][:end].clone(), peaks[0][:end], [str(id_) for id_ in ids])
            onsets = onsets[0]
        margins = (best.values[:, 0] - best.values[:, 1]).tolist()
        return ReferenceSegment(features[0], encoded[0], alphas[0], all_ids, ids, times, onsets, margins)

    def scores(
        self, encoded: Tensor, lengths: Tensor, embeddings: Tensor, count: Tensor, words: Sequence[Sequence[int]] | None
    ) -> Tensor:
        """[B, N, vocabulary]; as in FunASR one list of hotwords for all rows."""
        if not self._bias:
            return self.model.cal_decoder_with_predictor(encoded, lengths, embeddings, count)[0]
        words = None if words is None else [*map(list, words), [1]]
        return self.model._seaco_decode_with_ASF(encoded, lengths, embeddings, count, hw_list=words)
