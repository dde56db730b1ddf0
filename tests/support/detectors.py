"""Detectors that answer late, for tests: FSMN-VAD with weights that hear nothing but loudness, and the real ones."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
import yaml

from stream_server.speech.detectors import Detectors, load
from stream_server.speech.fsmn.frontend import FEATURES, Frontend
from stream_server.speech.fsmn.model import Model
from stream_server.speech.fsmn.network import Network, Sizes
from stream_server.speech.fsmn.segmenter import SegmenterOptions
from stream_server.speech.fsmn.vad import FsmnNet
from stream_server.speech.silero import SileroNet, found
from tests.support import recordings

FSMN_FOLDER = recordings.FOLDER / "models" / "fsmn-vad"

SIZES = Sizes(input=FEATURES, input_affine=1, blocks=1, linear=1, projection=1, memory=20, output_affine=1, output=2)
_QUIETEST = 5.0
"""Mean of a feature's logarithmic filter banks from which on a frame is speech; digital silence has -16."""


@functools.cache
def loudness() -> Detectors:
    """As the real FSMN-VAD but for its sizes and weights: a frame is speech where the sound is loud."""
    return Detectors({"fsmn": FsmnNet(loudness_model())})


def loudness_model() -> Model:
    frontend = Frontend(np.zeros(FEATURES), np.ones(FEATURES))
    return Model(frontend, Network(SIZES, loudness_tensors(), "test"), (0,), SegmenterOptions())


def write_loudness(directory: Path) -> Path:
    """The same model as a directory in FunASR's hub layout."""
    import torch

    sizes = {"input_dim": "input", "input_affine_dim": "input_affine", "fsmn_layers": "blocks", "linear_dim": "linear",
             "proj_dim": "projection", "lorder": "memory", "output_affine_dim": "output_affine", "output_dim": "output"}
    config = {"frontend_conf": {"fs": 16_000, "lfr_m": 5, "lfr_n": 1}, "model_conf": {"sil_pdf_ids": [0]},
              "encoder_conf": {theirs: getattr(SIZES, ours) for theirs, ours in sizes.items()}}
    layers = "".join(f"<{name}> {FEATURES} {FEATURES}\n<LearnRateCoef> 0 [ {' '.join([value] * FEATURES)} ]\n"
                     for name, value in (("AddShift", "0"), ("Rescale", "1")))
    directory.mkdir()
    (directory / "config.yaml").write_text(yaml.safe_dump(config))
    (directory / "am.mvn").write_text(f"<Nnet>\n{layers}</Nnet>\n")
    torch.save({name: torch.from_numpy(tensor) for name, tensor in loudness_tensors().items()}, directory / "model.pt")
    return directory


def loudness_tensors() -> dict[str, np.ndarray]:
    tensors = {name: np.ones(shape, np.float32) for name, shape in SIZES.shapes().items()}
    tensors |= {name: np.zeros(shape, np.float32) for name, shape in SIZES.shapes().items()
                if name.endswith("bias") or "fsmn_block" in name}
    tensors["in_linear1.linear.weight"] /= FEATURES
    tensors["in_linear2.linear.bias"] -= np.float32(_QUIETEST)
    tensors["out_linear2.linear.weight"] = np.array([[-10.0], [10.0]], np.float32)
    tensors["out_linear2.linear.bias"] = np.array([5.0, -5.0], np.float32)
    return tensors


@functools.cache
def silero_net() -> SileroNet:
    """Silero's network; skips where its package is not installed."""
    if found() != "can be had":
        pytest.skip(f"Silero {found()}")
    return SileroNet()


@functools.cache
def real(kind: str) -> Detectors:
    """The real `fsmn` or `silero`; skips where it is not here."""
    if kind == "silero":
        return Detectors({"silero": silero_net()})
    if not recordings.present():
        pytest.skip(recordings.ABSENT)
    return load([str(FSMN_FOLDER)])
