"""Models from disk, from the hub, or made up.

A model is a directory in the layout of FunASR's hubs; see `hub_files`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from stream_server.models.architecture import PARAFORMER_LARGE, Architecture, architecture_from_config
from stream_server.models.frontend import Frontend
from stream_server.models.hub import HUB_IDS, locate
from stream_server.models.hub_files import (
    check_files,
    fill,
    read_cmvn,
    read_config,
    read_tensors,
    read_vocabulary,
    unmap,
)
from stream_server.models.paraformer import Paraformer
from stream_server.models.quantised import quantise
from stream_server.models.random_weights import random_tensors, synthetic_vocabulary

DEMO = Path(__file__).parent.parent / "data" / "demo"

_UNUSED = ("decoder.embed.", "ctc.", "criterion")
"""Parameters that only training uses: a checkpoint may have them."""

_RANDOM_SEED = 20061712
_RANDOM_SHIFT, _RANDOM_SCALE = -13.0, 0.15
"""About what the published model's `am.mvn` has."""


@dataclass(frozen=True, slots=True)
class Model:
    """A network ready to run on `device`; `vocabulary[i]` is the piece of id i.

    `dtype` is that of what it computes and keeps, and of its weights, unless their matrices are int8.
    """

    network: Paraformer
    vocabulary: list[str]
    dtype: torch.dtype
    device: str


def load(model: str, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Model:
    """The model that `model` names: `demo`, `random`, a directory, a hub id or a hub's short name.

    With torch.int8 for `dtype`, CPU only, the encoder's and the decoder's matrices are int8 and all else is fp32.
    Raises ModelError, in one line, where there is none or it cannot be served.
    """
    if model == "random":
        return random_model(PARAFORMER_LARGE, dtype, device)
    return load_directory(locate(model, "model", DEMO, HUB_IDS), dtype, device)


def load_directory(directory: Path, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Model:
    """A model in FunASR's hub layout. Raises ModelError: which file, what was found, what is needed."""
    check_files(directory)
    vocabulary = read_vocabulary(directory / "tokens.json")
    config = read_config(directory / "config.yaml")
    architecture = architecture_from_config(config, len(vocabulary), str(directory / "config.yaml"))
    shift, scale = read_cmvn(directory / "am.mvn", architecture.features)
    tensors = read_tensors(directory / "model.pt")
    return _assemble(architecture, shift, scale, tensors, vocabulary, dtype, device, str(directory / "model.pt"))


def random_model(
    architecture: Architecture, dtype: torch.dtype = torch.float32, device: str = "cpu", seed: int = _RANDOM_SEED
) -> Model:
    """Seeded weights in `architecture`, synthetic tokens; see `random_weights`."""
    tensors = random_tensors(_empty(architecture), seed)
    shift = torch.full((architecture.features,), _RANDOM_SHIFT)
    scale = torch.full((architecture.features,), _RANDOM_SCALE)
    vocabulary = synthetic_vocabulary(architecture.vocabulary)
    return _assemble(architecture, shift, scale, tensors, vocabulary, dtype, device, "random")


def _empty(architecture: Architecture) -> Paraformer:
    with torch.device("meta"):
        features = torch.empty(architecture.features)
        return Paraformer(architecture, features, features)


def _assemble(
    architecture: Architecture, shift: Tensor, scale: Tensor, tensors: Mapping[str, Tensor], vocabulary: list[str],
    dtype: torch.dtype, device: str, source: str,
) -> Model:
    network = _empty(architecture)
    fill(network, tensors, _UNUSED, source, dtype, device)
    network.frontend = Frontend(shift, scale).to(device)
    if dtype == torch.int8:
        network.encoder, network.decoder = quantise(network.encoder, network.decoder, architecture)
        unmap(network)
    return Model(network, vocabulary, torch.float32 if dtype == torch.int8 else dtype, device)
