"""Models of the second pass, from disk, from the hub, or made up.

A model is a directory in the layout of FunASR's hubs; see `hub_files`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from stream_server.models.frontend import Frontend
from stream_server.models.hub import locate
from stream_server.models.hub_files import (
    check_files,
    fill,
    read_cmvn,
    read_config,
    read_tensors,
    read_vocabulary,
    unmap,
)
from stream_server.models.offline import OfflineParaformer
from stream_server.models.offline_architecture import (
    SEACO_LARGE,
    OfflineArchitecture,
    offline_architecture_from_config,
)
from stream_server.models.random_weights import random_offline_tensors, synthetic_vocabulary

OFFLINE_HUB_IDS = {"paraformer-zh": "iic/speech_seaco_paraformer_large_asr_nat-zh-cn-16k-common-vocab8404-pytorch"}
"""Short names, as FunASR has them, of models that the second pass can run."""

OFFLINE_DEMO = Path(__file__).parent.parent / "data" / "demo-seaco"

_UNUSED = ("ctc.", "criterion", "seaco_decoder.embed.", "seaco_decoder.output_layer.")
"""Parameters that only training uses: a checkpoint may have them."""

_RANDOM_SEED = 23080332
_RANDOM_SHIFT, _RANDOM_SCALE = -13.0, 0.15
"""About what the published model's `am.mvn` has."""


@dataclass(frozen=True, slots=True)
class OfflineModel:
    """A network ready to run on `device`, its matrices in `dtype`, of which int8 is for CPUs; `vocabulary[i]` is the
    piece of id i."""

    network: OfflineParaformer
    vocabulary: list[str]
    dtype: torch.dtype
    device: str


def load_offline(model: str, dtype: torch.dtype = torch.float32, device: str = "cpu") -> OfflineModel:
    """The model that `model` names: `demo`, `random`, a directory, a hub id or a hub's short name.

    Raises ModelError, in one line, where there is none or it cannot be served.
    """
    if model == "random":
        return random_offline_model(SEACO_LARGE, dtype, device)
    return load_offline_directory(locate(model, "second pass", OFFLINE_DEMO, OFFLINE_HUB_IDS), dtype, device)


def load_offline_directory(directory: Path, dtype: torch.dtype = torch.float32, device: str = "cpu") -> OfflineModel:
    """A model in FunASR's hub layout. Raises ModelError: which file, what was found, what is needed."""
    check_files(directory)
    vocabulary = read_vocabulary(directory / "tokens.json")
    config = read_config(directory / "config.yaml")
    architecture = offline_architecture_from_config(config, len(vocabulary), str(directory / "config.yaml"))
    shift, scale = read_cmvn(directory / "am.mvn", architecture.base.features)
    tensors = read_tensors(directory / "model.pt")
    return _assemble(architecture, shift, scale, tensors, vocabulary, dtype, device, str(directory / "model.pt"))


def random_offline_model(
    architecture: OfflineArchitecture, dtype: torch.dtype = torch.float32, device: str = "cpu",
    seed: int = _RANDOM_SEED,
) -> OfflineModel:
    """Seeded weights in `architecture`, synthetic tokens; see `random_weights`."""
    tensors = random_offline_tensors(_empty(architecture), architecture, seed)
    shift = torch.full((architecture.base.features,), _RANDOM_SHIFT)
    scale = torch.full_like(shift, _RANDOM_SCALE)
    vocabulary = synthetic_vocabulary(architecture.base.vocabulary)
    return _assemble(architecture, shift, scale, tensors, vocabulary, dtype, device, "random")


def _empty(architecture: OfflineArchitecture) -> OfflineParaformer:
    with torch.device("meta"):
        features = torch.empty(architecture.base.features)
        return OfflineParaformer(architecture, features, features)


def _assemble(
    architecture: OfflineArchitecture, shift: Tensor, scale: Tensor, tensors: Mapping[str, Tensor],
    vocabulary: list[str], dtype: torch.dtype, device: str, source: str,
) -> OfflineModel:
    network = _empty(architecture)
    # Embeddings read hotwords; without those only training uses them.
    unused = _UNUSED if architecture.bias else (*_UNUSED, "decoder.embed.")
    fill(network, tensors, unused, source, dtype, device)
    network.frontend = Frontend(shift, scale).to(device)
    if dtype == torch.int8:
        network.quantise()
        unmap(network)
    return OfflineModel(network, vocabulary, dtype, device)
