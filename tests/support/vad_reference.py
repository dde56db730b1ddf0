"""FunASR's own FSMN-VAD as the reference: its frontend, its network, its decisions, on one stream at a time."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import yaml

from tests.support import recordings

FOLDER = recordings.FOLDER / "models" / "fsmn-vad"
"""The real model, in the layout of FunASR's predecessor."""


@functools.cache
def _classes() -> tuple[type, type, type]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from funasr.frontends.wav_frontend import WavFrontendOnline
        from funasr.models.fsmn_vad_streaming.encoder import FSMN
        from funasr.models.fsmn_vad_streaming.model import FsmnVADStreaming
    return WavFrontendOnline, FSMN, FsmnVADStreaming


def funasr_network(**sizes: int) -> torch.nn.Module:
    """FunASR's `FSMN` with weights as they come."""
    return _classes()[1](**sizes).eval()


class FunasrVad:
    """FunASR's model with the weights in `folder`."""

    def __init__(self, folder: Path = FOLDER) -> None:
        frontend, _, vad = _classes()
        config = yaml.safe_load((folder / "vad.yaml").read_text("utf-8"))
        self.frontend = frontend(cmvn_file=str(folder / "vad.mvn"), **config["frontend_conf"])
        self.model = vad(encoder="FSMN", encoder_conf=config["encoder_conf"], **config["vad_post_conf"]).eval()
        weights = torch.load(folder / "vad.pb", weights_only=True)
        self.model.encoder.load_state_dict(weights, strict=True)

    @torch.inference_mode()
    def features(self, samples: np.ndarray, pieces: Sequence[int] = ()) -> np.ndarray:
        """[n, 400] of int16 samples, given to the frontend in pieces cut at these places."""
        cache: dict = {}
        parts = []
        cut = np.split(samples, sorted(pieces))
        for index, piece in enumerate(cut):
            wave = torch.from_numpy(piece.astype(np.float32) / 32768)[None]
            features, _ = self.frontend(wave, [len(piece)], cache=cache, is_final=index == len(cut) - 1)
            if features.dim() == 3:
                parts.append(features[0].numpy())
        return np.concatenate(parts) if parts else np.empty((0, 400), np.float32)

    @torch.inference_mode()
    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """[n, 248] of features [n, 400]."""
        return self.model.encoder(torch.from_numpy(features)[None], {})[0].numpy()

    def offline(self, samples: np.ndarray, **wishes: object) -> list[list[int]]:
        """Segments in ms as FunASR gives them of a whole recording."""
        return self._infer(samples, {}, 60_000, is_streaming_input=False, **wishes)

    def streamed(self, samples: np.ndarray, chunk_ms: int, **wishes: object) -> list[list[int]]:
        """FunASR's answers, [start, -1], [-1, end] or [start, end], to chunks of so many ms."""
        cache: dict = {}
        answers = []
        for begin in range(0, len(samples), 16 * chunk_ms):
            end = begin + 16 * chunk_ms
            answers += self._infer(samples[begin:end], cache, chunk_ms, is_final=end >= len(samples), **wishes)
        return answers

    @torch.inference_mode()
    def _infer(self, samples: np.ndarray, cache: dict, chunk_ms: int, **wishes: object) -> list[list[int]]:
        wave = torch.from_numpy(samples.astype(np.float32) / 32768)
        results, _ = self.model.inference([wave], key=["it"], frontend=self.frontend, cache=cache, device="cpu",
                                          chunk_size=chunk_ms, **wishes)
        return results[0]["value"]


def funasr_decisions(silence: Sequence[Sequence[float]], **options: object) -> list[list[int]]:
    """What FunASR's decisions answer, as to a stream, to silence of these probabilities, chunk by chunk.

    The network is a stand-in that says the probabilities; the sound, which does not matter, is digital silence.
    """
    model = _classes()[2](encoder="FSMN", encoder_conf=dict(_SMALLEST), **options)
    model.encoder = _Scripted()
    cache = model.init_cache({})
    answers = []
    for index, chunk in enumerate(silence):
        scores = torch.tensor(chunk, dtype=torch.float64).reshape(1, -1, 1)
        sound = torch.zeros(1, 160 * (len(chunk) - 1) + 400)
        for batch in model.forward(scores, sound, cache, is_final=index == len(silence) - 1):
            answers += batch
    return answers


class _Scripted(torch.nn.Module):
    def forward(self, scores: torch.Tensor, cache: dict) -> torch.Tensor:
        return scores


_SMALLEST = {
    "input_dim": 1, "input_affine_dim": 1, "fsmn_layers": 1, "linear_dim": 1, "proj_dim": 1, "lorder": 2, "rorder": 0,
    "lstride": 1, "rstride": 0, "output_affine_dim": 1, "output_dim": 1,
}


def segments(answers: Sequence[Sequence[int]]) -> list[list[int]]:
    """[start, end] in ms of FunASR's answers to a stream; a segment that it never ends is left with -1."""
    found: list[list[int]] = []
    for start, end in answers:
        if start != -1:
            found.append([start, -1])
        if end != -1:
            found[-1][1] = end
    return found
