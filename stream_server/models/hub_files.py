"""Files of a model's directory in the layout of FunASR's hubs: `config.yaml`, `model.pt`, `am.mvn` and `tokens.json`.

Weights are read memory-mapped and as tensors only: code pickled into a `model.pt` is never run. All functions raise
ModelError: which file, what was found, what is needed.
"""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from stream_server.audio import cmvn
from stream_server.errors import ModelError
from stream_server.models.devices import settle_cuda

FILES = ("config.yaml", "model.pt", "am.mvn", "tokens.json")
TEXT_FILES = ("config.yaml", "model.pt", "tokens.json")
"""Those of a model that reads text and hears nothing."""

ALWAYS_FP32 = re.compile(r"predictor\.|bias_encoder\.|.*norm")
"""CIF decides when tokens fire, and norms bring sums along the layers back to one: both lose most from rounding, and
are too small to be slow. So is the hotwords' LSTM."""

_WRAPPERS = ("state_dict", "model_state_dict", "model")


def check_files(directory: Path, files: tuple[str, ...] = FILES) -> None:
    """That all files are there."""
    missing = [name for name in files if not (directory / name).is_file()]
    if missing:
        raise ModelError(f"{directory}: {', '.join(missing)} missing; needed {', '.join(files)}")


def check_tensors(
    wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], unused: tuple[str, ...], source: str
) -> None:
    """That `found` has the tensors of `wanted`, each in its shape, and else only such as begin with `unused`."""
    missing = [name for name in wanted if name not in found]
    if missing:
        raise ModelError(f"{source}: tensor {missing[0]} missing{_and_more(missing)}; needed by config.yaml")
    unknown = [name for name in found if name not in wanted and not name.startswith(unused)]
    if unknown:
        raise ModelError(f"{source}: tensor {unknown[0]} unknown{_and_more(unknown)}; needed only those of config.yaml")
    for name, parameter in wanted.items():
        if found[name].shape != parameter.shape:
            shapes = f"is {list(found[name].shape)}; needed {list(parameter.shape)}"
            raise ModelError(f"{source}: tensor {name} {shapes} by config.yaml and tokens.json")
        if not found[name].is_floating_point():
            raise ModelError(f"{source}: tensor {name} is {found[name].dtype}; needed floating point")


def fill(
    network: nn.Module, found: Mapping[str, Tensor], unused: tuple[str, ...], source: str, dtype: torch.dtype,
    device: str,
) -> None:
    """Gives `network`, empty so far, the tensors of `found`, in `dtype` or, where int8, in fp32, and those of
    ALWAYS_FP32 in that; it is then for inference only. See `check_tensors`."""
    wanted = dict(network.named_parameters())
    check_tensors(wanted, found, unused, source)
    if device.startswith("cuda"):
        settle_cuda()
    kept = torch.float32 if dtype == torch.int8 else dtype
    # One tensor at a time: what is converted replaces what was mapped, and no second copy of the whole ever exists.
    converted = {name: found[name].to(device, torch.float32 if ALWAYS_FP32.match(name) else kept) for name in wanted}
    network.load_state_dict(converted, assign=True)
    network.requires_grad_(False).eval()


def unmap(network: nn.Module) -> None:
    """Copies what a quantised network has besides its matrices: it is small, and no longer keeps the file mapped."""
    network.load_state_dict({name: each.clone() for name, each in network.named_parameters()}, assign=True)


def _and_more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def read_tensors(path: Path) -> Mapping[str, Tensor]:
    """A state dict by its names, memory-mapped where the file allows."""
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


def read_vocabulary(path: Path) -> list[str]:
    """Tokens by their ids."""
    try:
        tokens = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ModelError(f"{path}: no JSON ({_line(error)}); needed a list of tokens") from error
    if not isinstance(tokens, list) or len(tokens) < 4 or not all(isinstance(token, str) for token in tokens):
        raise ModelError(f"{path}: holds a {type(tokens).__name__}; needed a list of 4 tokens or more, all strings")
    return tokens


def read_config(path: Path) -> Mapping[str, object]:
    """`config.yaml` as a mapping."""
    import yaml

    try:
        config = yaml.safe_load(path.read_text("utf-8"))
    except (yaml.YAMLError, ValueError) as error:
        raise ModelError(f"{path}: no YAML ({_line(error)}); needed a model's configuration") from error
    if not isinstance(config, Mapping):
        raise ModelError(f"{path}: holds a {type(config).__name__}; needed a model's configuration")
    return config


def read_cmvn(path: Path, size: int) -> tuple[Tensor, Tensor]:
    """Shift and scale; see `audio.cmvn`."""
    shift, scale = cmvn.read_cmvn(path, size)
    return torch.from_numpy(shift), torch.from_numpy(scale)


def _line(error: Exception) -> str:
    """The gist of an error: PyTorch's and YAML's go on for pages."""
    return " ".join(str(error).split(". ")[0].split())[:160]
