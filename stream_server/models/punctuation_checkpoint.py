"""Models that punctuate, from disk, from the hub, or made up.

A model is a directory in the layout of FunASR's hubs, without a CMVN file; see `hub_files`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from stream_server.errors import ModelError
from stream_server.models.hub import locate
from stream_server.models.hub_files import (
    TEXT_FILES,
    check_files,
    fill,
    read_config,
    read_tensors,
    read_vocabulary,
)
from stream_server.models.punctuation import Punctuation
from stream_server.models.punctuation_architecture import (
    CT_PUNC_LARGE,
    PunctuationArchitecture,
    punctuation_architecture_from_config,
)
from stream_server.models.punctuator import PIECE, Punctuator
from stream_server.models.random_weights import random_punctuation_tensors, synthetic_vocabulary
from stream_server.models.word_cutter import WordCutter, find_dictionary
from stream_server.speech.punctuated import Word, words_of

PUNCTUATION_DEMO = Path(__file__).parent.parent / "data" / "punctuation"

PUNCTUATION_HUB_IDS = {
    "ct-punc": "iic/punc_ct-transformer_cn-en-common-vocab471067-large",
    "ct-punc-c": "iic/punc_ct-transformer_zh-cn-common-vocab272727-pytorch",
    "ct-punc-realtime": "iic/punc_ct-transformer_zh-cn-common-vad_realtime-vocab272727",
}
"""Short names of models that punctuate; the first two as FunASR has them."""

_UNUSED = ("criterion",)
_RANDOM_SEED = 20030131
_UNKNOWN = "<unk>"


@dataclass(frozen=True, slots=True)
class PunctuationModel:
    """A network ready to run on `device`, its matrices in `dtype`; `vocabulary[i]` is the word of id i, and `cut` finds
    words in a text."""

    network: Punctuation
    vocabulary: list[str]
    dtype: torch.dtype
    device: str
    cut: Callable[[str], list[Word]] = words_of

    def punctuator(self, piece: int = PIECE) -> Punctuator:
        """What reads texts with this model, `piece` words at a time."""
        return Punctuator(self.network, self.vocabulary, self.cut, piece)


def load_punctuation(model: str, dtype: torch.dtype = torch.float32, device: str = "cpu") -> PunctuationModel:
    """The model that `model` names: `demo`, `random`, a directory, a hub id or a hub's short name.

    Raises ModelError, in one line, where there is none or it cannot be served.
    """
    if model == "random":
        return random_punctuation_model(CT_PUNC_LARGE, dtype, device)
    directory = locate(
        model, "punctuation", PUNCTUATION_DEMO, PUNCTUATION_HUB_IDS, "config.yaml, model.pt and tokens.json"
    )
    return load_punctuation_directory(directory, dtype, device)


def load_punctuation_directory(
    directory: Path, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> PunctuationModel:
    """A model in FunASR's hub layout. Raises ModelError: which file, what was found, what is needed."""
    check_files(directory, TEXT_FILES)
    vocabulary = read_vocabulary(directory / "tokens.json")
    if _UNKNOWN not in vocabulary:
        raise ModelError(f"{directory / 'tokens.json'}: {_UNKNOWN} missing; needed for words that are not in the list")
    config = read_config(directory / "config.yaml")
    architecture = punctuation_architecture_from_config(config, len(vocabulary), str(directory / "config.yaml"))
    tensors = read_tensors(directory / "model.pt")
    model = _assemble(architecture, tensors, vocabulary, dtype, device, str(directory / "model.pt"))
    dictionary = find_dictionary(directory, config)
    return model if dictionary is None else replace(model, cut=WordCutter(dictionary).words)


def random_punctuation_model(
    architecture: PunctuationArchitecture, dtype: torch.dtype = torch.float32, device: str = "cpu",
    seed: int = _RANDOM_SEED,
) -> PunctuationModel:
    """Seeded weights in `architecture`, synthetic words; see `random_weights`."""
    tensors = random_punctuation_tensors(_empty(architecture), seed)
    vocabulary = synthetic_vocabulary(architecture.base.vocabulary)
    return _assemble(architecture, tensors, vocabulary, dtype, device, "random")


def _empty(architecture: PunctuationArchitecture) -> Punctuation:
    with torch.device("meta"):
        return Punctuation(architecture)


def _assemble(
    architecture: PunctuationArchitecture, tensors: Mapping[str, Tensor], vocabulary: list[str], dtype: torch.dtype,
    device: str, source: str,
) -> PunctuationModel:
    if not dtype.is_floating_point:
        raise ModelError(f"{source}: {dtype} for punctuation; needed fp32, bf16 or fp16")
    network = _empty(architecture)
    fill(network, tensors, _UNUSED, source, dtype, device)
    return PunctuationModel(network, vocabulary, dtype, device)
