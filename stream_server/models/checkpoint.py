"""Models from disk, from the hub, or made up.

A model is a directory in the layout of FunASR's hubs; see `hub_files`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from stream_server.errors import ModelError
from stream_server.models.architecture import PARAFORMER_LARGE, Architecture, architecture_from_config
from stream_server.models.frontend import Frontend
from stream_server.models.hub import HUB_IDS, download, looks_like_hub_id
from stream_server.models.hub_files import (
    ALWAYS_FP32,
    check_files,
    check_tensors,
    read_cmvn,
    read_config,
    read_tensors,
    read_vocabulary,
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
    return load_directory(_find(model), dtype, device)


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


def _find(model: str) -> Path:
    if model == "demo":
        return DEMO
    if Path(model).is_dir():
        return Path(model)
    hub_id = HUB_IDS.get(model, model)
    if looks_like_hub_id(hub_id):
        return download(hub_id)
    known = ", ".join(["demo", "random", *HUB_IDS])
    raise ModelError(f"model {model!r} is unknown; needed one of {known}, a directory, or a hub id such as owner/name")


def _empty(architecture: Architecture) -> Paraformer:
    with torch.device("meta"):
        features = torch.empty(architecture.features)
        return Paraformer(architecture, features, features)


def _assemble(
    architecture: Architecture, shift: Tensor, scale: Tensor, tensors: Mapping[str, Tensor], vocabulary: list[str],
    dtype: torch.dtype, device: str, source: str,
) -> Model:
    network = _empty(architecture)
    computed = torch.float32 if dtype == torch.int8 else dtype
    wanted = dict(network.named_parameters())
    check_tensors(wanted, tensors, _UNUSED, source)
    # One tensor at a time: what is converted replaces what was mapped, and no second copy of the whole ever exists.
    converted = {
        name: tensors[name].to(device, torch.float32 if ALWAYS_FP32.match(name) else computed) for name in wanted
    }
    network.load_state_dict(converted, assign=True)
    del converted
    network.frontend = Frontend(shift, scale).to(device)
    network.requires_grad_(False).eval()
    if dtype == torch.int8:
        network.encoder, network.decoder = quantise(network.encoder, network.decoder, architecture)
        # What is left is small; copied, it no longer keeps the file mapped.
        rest = {name: parameter.clone() for name, parameter in network.named_parameters()}
        network.load_state_dict(rest, assign=True)
    return Model(network, vocabulary, computed, device)
