"""FunASR's own streaming Paraformer as the reference: same weights, one stream, chunk by chunk.

Nothing of FunASR's arithmetic is replaced. The driver only cuts the audio, keeps the caches that FunASR's `inference`
would keep, and notes down what passes by. It differs from `ParaformerStreaming.inference` in one point: a last piece
shorter than 960 samples still goes through the frontend, and only where that yields no frame is the tail run over the
look-ahead alone. FunASR itself drops such a piece; `Reference(..., drop_short_tail=True)` does as it does.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stream_server.audio.windows import Window
from stream_server.models.architecture import Architecture
from stream_server.models.checkpoint import Model


@dataclass(frozen=True, slots=True)
class ReferenceStep:
    """What FunASR computed for one piece.

    features [f, 560], encoded [W, D], alphas [W] after its masks; ids, frames (of 60 ms since the start) and `margins`
    (best minus second best log-score) of each token; `nearest` is the smallest distance by which a sum of CIF missed or
    passed its threshold, and `carry` what it leaves to the next step.
    """

    features: Tensor
    encoded: Tensor
    alphas: Tensor
    ids: list[int]
    frames: list[int]
    margins: list[float]
    nearest: float
    carry: float


class Reference:
    """FunASR's `ParaformerStreaming` and `WavFrontendOnline` with the weights of `model`."""

    def __init__(self, model: Model, *, drop_short_tail: bool = False) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from funasr.frontends.wav_frontend import WavFrontendOnline
            from funasr.models.paraformer import cif_predictor, decoder  # noqa: F401 (registers the classes)
            from funasr.models.paraformer_streaming.model import ParaformerStreaming
            from funasr.models.scama import encoder  # noqa: F401

            self._conf = funasr_conf(model.network.architecture)
            with torch.device("meta"):
                self.model = ParaformerStreaming(**self._conf)
            self.frontend = WavFrontendOnline(**self._conf["frontend_conf"])
        weights = model.network.state_dict()
        # The tail's tensor and pads are no parameters; everything that is one must come from `model`.
        self.model.load_state_dict(weights, strict=True, assign=True)
        self.model.eval()
        self.frontend.cmvn_file = "as the model's"
        self.frontend.cmvn = torch.stack((model.network.frontend.shift, model.network.frontend.scale)).numpy()
        self._drop_short_tail = drop_short_tail
        self._raw_alphas: Tensor | None = None
        self.model.predictor.cif_output.register_forward_hook(self._note_alphas)

    def stream(self, pieces: Sequence[np.ndarray], window: Window) -> Iterator[ReferenceStep]:
        """Steps over int16 pieces: whole hops, then the last one, of 0 to a hop of samples, with the end."""
        cache = self.new_cache(window)
        for step, piece in enumerate(pieces):
            yield self.step(piece, cache, window, step, last=step == len(pieces) - 1)

    def new_cache(self, window: Window, left: int = 0) -> dict:
        """FunASR's state of a stream at its start; `left` is its l."""
        return self.model.init_cache(
            {}, chunk_size=[left, window.hop, window.look_ahead], encoder_chunk_look_back=window.encoder_look_back,
            decoder_chunk_look_back=window.decoder_look_back, **self._conf,
        )

    @torch.inference_mode()
    def step(self, piece: np.ndarray, cache: dict, window: Window, step: int, *, last: bool) -> ReferenceStep:
        """One piece against FunASR's own caches."""
        features = self.features(piece, cache, last)
        tail = last and not features.shape[1]
        if tail:
            cache["encoder"]["tail_chunk"] = True
        speech = cache["encoder"]["feats"] if tail else features.clone()
        encoded, lengths = self.model.encode_chunk(speech, torch.tensor([speech.shape[1]]), cache=cache)
        carry = cache["encoder"]["cif_alphas"].flatten().clone()
        embeddings, count, _, _ = self.model.calc_predictor_chunk(encoded, lengths, cache=cache, is_final=last)
        alphas = self._alphas(window, last)
        fired, nearest = _fire(alphas, carry, self.model.predictor, last)
        assert len(fired) == int(count), "the note-taker and FunASR count alike"
        frames = [self._frame(column, step, window, features.shape[1]) for column in fired]
        ids, margins = self._say(encoded, lengths, embeddings, count, cache)
        left = float(cache["encoder"]["cif_alphas"])
        return ReferenceStep(features[0], encoded[0], alphas, ids, frames, margins, nearest, left)

    def features(self, piece: np.ndarray, cache: dict, last: bool) -> Tensor:
        """[1, f, 560] of one piece from FunASR's frontend."""
        nothing = torch.zeros(1, 0, self._conf["input_size"])
        if last and self._drop_short_tail and len(piece) < 960:
            return nothing
        wave = torch.from_numpy(piece.astype(np.float32) / 32768)[None]
        features, _ = self.frontend(wave, [wave.shape[1]], cache=cache["frontend"], is_final=last)
        return features if features.dim() == 3 else nothing

    def _note_alphas(self, module: object, inputs: object, output: Tensor) -> None:
        predictor = self.model.predictor
        raw = output.detach().sigmoid() * predictor.smooth_factor - predictor.noise_threshold
        self._raw_alphas = raw.relu().flatten()

    def _alphas(self, window: Window, last: bool) -> Tensor:
        alphas = self._raw_alphas.clone()
        if not last:
            alphas[window.hop :] = 0
        return alphas

    def _say(self, encoded: Tensor, lengths: Tensor, embeddings: Tensor, count: Tensor,
             cache: dict) -> tuple[list[int], list[float]]:
        if int(count) < 1:
            return [], []
        scores, _ = self.model.cal_decoder_with_predictor_chunk(encoded, lengths, embeddings, count, cache=cache)
        best = scores[0].topk(2, -1)
        return best.indices[:, 0].tolist(), (best.values[:, 0] - best.values[:, 1]).tolist()

    @staticmethod
    def _frame(column: int, step: int, window: Window, new: int) -> int:
        frame = step * window.hop - window.look_ahead + column
        return max(0, min(frame, step * window.hop + new - 1))


def pieces_of(samples: np.ndarray, window: Window, *, empty_last: bool = False) -> list[np.ndarray]:
    """A stream's pieces: whole hops, then the rest. Where nothing remains, the last hop ends the stream, or an
    empty piece does (`empty_last`), as in FunASR."""
    end = len(samples) + 1 if empty_last or not len(samples) else len(samples)
    return [samples[start : start + window.hop_samples] for start in range(0, end, window.hop_samples)]


def _fire(alphas: Tensor, carry: Tensor, predictor: torch.nn.Module, last: bool) -> tuple[list[int], float]:
    """FunASR's loop over frames once more, in its own fp32: columns of the window that fired, and the closest call."""
    weights = [*alphas, torch.tensor(predictor.tail_threshold)] if last else [*alphas]
    sum_ = carry[0]
    fired, nearest = [], 1.0
    for column, alpha in enumerate(weights):
        nearest = min(nearest, abs(float(alpha + sum_) - 1.0))
        fires = bool(alpha + sum_ >= 1.0)
        sum_ = sum_ + alpha - 1.0 if fires else sum_ + alpha
        if fires:
            fired.append(column)
    return fired, nearest


def funasr_conf(sizes: Architecture) -> dict:
    """The sizes as FunASR's `config.yaml` would have them."""
    return {
        "model": "ParaformerStreaming",
        "input_size": sizes.features,
        "vocab_size": sizes.vocabulary,
        "ctc_weight": 0.0,
        "encoder": "SANMEncoderChunkOpt",
        "encoder_conf": {
            "output_size": sizes.size, "attention_heads": sizes.encoder_heads, "linear_units": sizes.encoder_hidden,
            "num_blocks": sizes.encoder_layers, "input_layer": "pe_online", "normalize_before": True,
            "kernel_size": sizes.kernel, "sanm_shfit": 0, "selfattention_layer_type": "sanm", "chunk_size": [12, 15],
            "stride": [8, 10], "pad_left": [0, 0], "encoder_att_look_back_factor": [4, 4],
            "decoder_att_look_back_factor": [1, 1],
        },
        "decoder": "ParaformerSANMDecoder",
        "decoder_conf": {
            "attention_heads": sizes.decoder_heads, "linear_units": sizes.decoder_hidden,
            "num_blocks": sizes.decoder_layers, "att_layer_num": sizes.decoder_layers, "kernel_size": sizes.kernel,
            "sanm_shfit": (sizes.kernel - 1) // 2, "wo_input_layer": True,
        },
        "predictor": "CifPredictorV2",
        "predictor_conf": {
            "idim": sizes.size, "threshold": 1.0, "l_order": 1, "r_order": 1, "tail_threshold": sizes.tail_threshold,
            "smooth_factor": sizes.smooth_factor, "noise_threshold": sizes.noise_threshold,
        },
        "frontend_conf": {
            "fs": 16000, "window": "hamming", "n_mels": 80, "frame_length": 25, "frame_shift": 10, "lfr_m": 7,
            "lfr_n": 6, "dither": 0.0,
        },
    }
