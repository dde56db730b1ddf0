"""Models from disk, from the hub, or made up.

A model is a directory in the layout of FunASR's hubs: `config.yaml`, `model.pt`, `am.mvn` and `tokens.json`. Its
weights are read memory-mapped and as tensors only: code pickled into a `model.pt` is never run.
"""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from stream_server.audio.cmvn import read_cmvn
from stream_server.errors import ModelError
from stream_server.models.architecture import PARAFORMER_LARGE, Architecture, architecture_from_config
from stream_server.models.frontend import Frontend
from stream_server.models.hub import HUB_IDS, download, looks_like_hub_id
from stream_server.models.paraformer import Paraformer
from stream_server.models.quantised import quantise
from stream_server.models.random_weights import random_tensors, synthetic_vocabulary

DEMO = Path(__file__).parent.parent / "data" / "demo"
FILES = ("config.yaml", "model.pt", "am.mvn", "tokens.json")

_WRAPPERS = ("state_dict", "model_state_dict", "model")
_UNUSED = ("decoder.embed.", "ctc.", "criterion")
"""Parameters that only training uses: a checkpoint may have them."""

_ALWAYS_FP32 = re.compile(r"predictor\.|.*norm")
"""CIF decides when tokens fire, and norms bring sums along the layers back to one: both lose most from rounding, and
are too small to be slow."""

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
    missing = [name for name in FILES if not (directory / name).is_file()]
    if missing:
        raise ModelError(f"{directory}: {', '.join(missing)} missing; needed {', '.join(FILES)}")
    vocabulary = _read_vocabulary(directory / "tokens.json")
    config = _read_config(directory / "config.yaml")
    architecture = architecture_from_config(config, len(vocabulary), str(directory / "config.yaml"))
    shift, scale = map(torch.from_numpy, read_cmvn(directory / "am.mvn", architecture.features))
    tensors = _read_tensors(directory / "model.pt")
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
    _check_tensors(wanted, tensors, source)
    # One tensor at a time: what is converted replaces what was mapped, and no second copy of the whole ever exists.
    converted = {
        name: tensors[name].to(device, torch.float32 if _ALWAYS_FP32.match(name) else computed) for name in wanted
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


def _check_tensors(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], source: str) -> None:
    missing = [name for name in wanted if name not in found]
    if missing:
        raise ModelError(f"{source}: tensor {missing[0]} missing{_and_more(missing)}; needed by config.yaml")
    unknown = [name for name in found if name not in wanted and not name.startswith(_UNUSED)]
    if unknown:
        raise ModelError(f"{source}: tensor {unknown[0]} unknown{_and_more(unknown)}; needed only those of config.yaml")
    for name, parameter in wanted.items():
        if found[name].shape != parameter.shape:
            shapes = f"is {list(found[name].shape)}; needed {list(parameter.shape)}"
            raise ModelError(f"{source}: tensor {name} {shapes} by config.yaml and tokens.json")
        if not found[name].is_floating_point():
            raise ModelError(f"{source}: tensor {name} is {found[name].dtype}; needed floating point")


def _and_more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def _read_tensors(path: Path) -> Mapping[str, Tensor]:
    try:
        found = _torch_load(path)
    except pickle.UnpicklingError as error:
        raise ModelError(f"{path}: holds more than tensors ({_line(error)}); needed a state dict") from error
    except (RuntimeError, OSError, EOFError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read ({_line(error)}); needed a PyTorch state dict") from error
    for wrapper in _WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(wrapper), Mapping):
            found = found[wrapper]
    if not isinstance(found, Mapping) or not all(isinstance(tensor, Tensor) for tensor in found.values()):
        raise ModelError(f"{path}: holds a {type(found).__name__} of other things; needed a state dict of tensors")
    return found


def _torch_load(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except RuntimeError:
        # Files from before PyTorch 1.6 are no archives and cannot be mapped.
        return torch.load(path, map_location="cpu", weights_only=True)


def _read_vocabulary(path: Path) -> list[str]:
    try:
        tokens = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ModelError(f"{path}: no JSON ({_line(error)}); needed a list of tokens") from error
    if not isinstance(tokens, list) or len(tokens) < 4 or not all(isinstance(token, str) for token in tokens):
        raise ModelError(f"{path}: holds a {type(tokens).__name__}; needed a list of 4 tokens or more, all strings")
    return tokens


def _read_config(path: Path) -> Mapping[str, object]:
    import yaml

    try:
        config = yaml.safe_load(path.read_text("utf-8"))
    except (yaml.YAMLError, ValueError) as error:
        raise ModelError(f"{path}: no YAML ({_line(error)}); needed a streaming Paraformer's configuration") from error
    if not isinstance(config, Mapping):
        raise ModelError(f"{path}: holds a {type(config).__name__}; needed a streaming Paraformer's configuration")
    return config


def _line(error: Exception) -> str:
    """The gist of an error: PyTorch's and YAML's go on for pages."""
    return " ".join(str(error).split(". ")[0].split())[:160]
