"""Detectors that answer late, for tests: FSMN-VAD with weights that hear nothing but loudness, and the real ones."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from stream_server.speech.detectors import Detectors, load
from stream_server.speech.fsmn.frontend import FEATURES, Frontend
from stream_server.speech.fsmn.model import Model
from stream_server.speech.fsmn.network import Network, Sizes
from stream_server.speech.fsmn.segmenter import SegmenterOptions
from stream_server.speech.fsmn.vad import FsmnNet
from stream_server.speech.silero import SileroNet, found
from tests.support import recordings

FSMN_FOLDER = recordings.FOLDER / "models" / "fsmn-vad"

_SIZES = Sizes(input=FEATURES, input_affine=1, blocks=1, linear=1, projection=1, memory=20, output_affine=1, output=2)
_QUIETEST = 5.0
"""Mean of a feature's logarithmic filter banks from which on a frame is speech; digital silence has -16."""


@functools.cache
def loudness() -> Detectors:
    """As the real FSMN-VAD but for its sizes and weights: a frame is speech where the sound is loud."""
    tensors = {name: np.ones(shape, np.float32) for name, shape in _SIZES.shapes().items()}
    tensors |= {name: np.zeros(shape, np.float32) for name, shape in _SIZES.shapes().items()
                if name.endswith("bias") or "fsmn_block" in name}
    tensors["in_linear1.linear.weight"] /= FEATURES
    tensors["in_linear2.linear.bias"] -= np.float32(_QUIETEST)
    tensors["out_linear2.linear.weight"] = np.array([[-10.0], [10.0]], np.float32)
    tensors["out_linear2.linear.bias"] = np.array([5.0, -5.0], np.float32)
    frontend = Frontend(np.zeros(FEATURES), np.ones(FEATURES))
    return Detectors({"fsmn": FsmnNet(Model(frontend, Network(_SIZES, tensors, "test"), (0,), SegmenterOptions()))})


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
