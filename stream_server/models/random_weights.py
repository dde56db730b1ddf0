"""Seeded weights for the real architecture: what it costs and how it adds up do not depend on what it learnt.

Its text means nothing, but it comes at speech's rate: the last layer of CIF is set so that hops of 600 ms of real
speech fire 0 to 6 tokens, 2.7 on average, and the scores' spread is such that ties are as rare as with real weights.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from stream_server.models.offline_architecture import OfflineArchitecture

SPECIALS = ("<blank>", "<s>", "</s>")
UNKNOWN = "<unk>"

_FIRING_SPREAD = 12.2
_FIRING_BIAS = -2.15
_SCORE_SPREAD = 20.0
_ONSET_SPREAD = 60.0
_WORD_SPREAD = 20.0
_WORD_MEMORY_SPREAD = 4.0
_WORD_LOOK_SPREAD, _WORD_SEEN_SPREAD = 4.0, 8.0
_NO_WORD_BIAS = 55.0
_EMBEDDING_SPREAD = 1.0
_MARK_SPREAD = 3.0
_MARK_BIAS = (-9.0, 0.0, -4.0, -4.0, -4.5, -4.5)


def random_tensors(network: nn.Module, seed: int) -> dict[str, Tensor]:
    """Weights for every parameter of `network` (which may live on the meta device), fp32 on the CPU.

    Linear layers and convolutions are uniform within 1/sqrt(inputs), layer norms are at rest.
    """
    tensors = random_layers(network, seed)
    tensors["predictor.cif_output.weight"] *= _FIRING_SPREAD
    tensors["predictor.cif_output.bias"].fill_(_FIRING_BIAS)
    tensors["decoder.output_layer.weight"] *= _SCORE_SPREAD
    return tensors


def random_layers(network: nn.Module, seed: int) -> dict[str, Tensor]:
    """The same before any layer is set to a purpose."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, parameter in network.named_parameters():
        if ".norm" in name or "after_norm" in name:
            fill = 1.0 if name.endswith("weight") else 0.0
            tensors[name] = torch.full(parameter.shape, fill)
            continue
        bound = 1 / math.sqrt(math.prod(parameter.shape[1:])) if parameter.dim() > 1 else 0.02
        tensors[name] = torch.empty(parameter.shape).uniform_(-bound, bound, generator=generator)
    return tensors


def synthetic_vocabulary(size: int) -> list[str]:
    """Tokens where there is no token list: consecutive Chinese characters between the usual special tokens."""
    characters = [chr(0x4E00 + index) for index in range(size - len(SPECIALS) - 1)]
    return [*SPECIALS, *characters, UNKNOWN]


def random_offline_tensors(network: nn.Module, architecture: OfflineArchitecture, seed: int) -> dict[str, Tensor]:
    """The same for an offline model; hotwords are found in about every other token."""
    tensors = random_tensors(network, seed)
    if architecture.onsets:
        tensors["predictor.cif_output2.weight"] *= _ONSET_SPREAD
    if architecture.bias:
        tensors["decoder.embed.0.weight"] *= _WORD_SPREAD
        tensors["hotword_output_layer.weight"] *= _SCORE_SPREAD
        tensors["hotword_output_layer.bias"][architecture.bias.no_bias] = _NO_WORD_BIAS
        for name, tensor in tensors.items():
            if name.startswith("bias_encoder.weight"):
                tensor *= _WORD_MEMORY_SPREAD
            elif name.startswith("seaco_decoder.") and name.endswith("linear_q.weight"):
                tensor *= _WORD_LOOK_SPREAD
            elif name.startswith("seaco_decoder.") and name.endswith("linear_k_v.weight"):
                tensor *= _WORD_SEEN_SPREAD
    return tensors


def random_punctuation_tensors(network: nn.Module, seed: int) -> dict[str, Tensor]:
    """The same for a model that punctuates; about every eighth word gets a mark, every twentieth ends a sentence."""
    tensors = random_layers(network, seed)
    tensors["embed.weight"] *= _EMBEDDING_SPREAD * math.sqrt(network.embed.embedding_dim)
    tensors["decoder.weight"] *= _MARK_SPREAD
    tensors["decoder.bias"].copy_(torch.tensor(_MARK_BIAS[: len(tensors["decoder.bias"])]))
    return tensors
