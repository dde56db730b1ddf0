"""FSMN-VAD's network in numpy: features to the probabilities of 248 sounds, of which the first is silence.

The arithmetic of FunASR's `FSMN` (funasr/models/fsmn_vad_streaming/encoder.py), a feedforward sequential memory
network (Zhang et al. 2018, arXiv:1803.05030): two affine layers, then blocks of a projection, a memory that weighs
each channel's last frames, and an affine layer, then two affine layers and a softmax. It looks back only, so that
19 frames of each block's projection are all that a stream has to keep.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stream_server.errors import ModelError


@dataclass(frozen=True, slots=True)
class Sizes:
    """Widths of the layers; `memory` counts the frames that a block weighs, its own included."""

    input: int
    input_affine: int
    blocks: int
    linear: int
    projection: int
    memory: int
    output_affine: int
    output: int

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The tensors of a network of these sizes, by FunASR's names."""
        shapes: dict[str, tuple[int, ...]] = {}

        def affine(name: str, before: int, after: int) -> None:
            shapes[f"{name}.linear.weight"] = (after, before)
            shapes[f"{name}.linear.bias"] = (after,)

        affine("in_linear1", self.input, self.input_affine)
        affine("in_linear2", self.input_affine, self.linear)
        for block in range(self.blocks):
            shapes[f"fsmn.{block}.linear.linear.weight"] = (self.projection, self.linear)
            shapes[f"fsmn.{block}.fsmn_block.conv_left.weight"] = (self.projection, 1, self.memory, 1)
            affine(f"fsmn.{block}.affine", self.projection, self.linear)
        affine("out_linear1", self.linear, self.output_affine)
        affine("out_linear2", self.output_affine, self.output)
        return shapes


@dataclass(frozen=True, slots=True)
class _Affine:
    weight: np.ndarray
    bias: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        y = x @ self.weight
        y += self.bias
        return y


@dataclass(frozen=True, slots=True)
class _Block:
    projection: np.ndarray
    memory: np.ndarray
    affine: _Affine


class Network:
    """Rows are streams, each with a state of its own: fp32 [blocks, memory - 1, projection], zeros at first."""

    def __init__(self, sizes: Sizes, tensors: Mapping[str, np.ndarray], source: str) -> None:
        """Raises ModelError, naming `source`, where `tensors` are not those of a network of these sizes."""
        self.sizes = sizes
        weights = _checked(sizes, tensors, source)

        def affine(name: str) -> _Affine:
            weight = np.ascontiguousarray(weights[f"{name}.linear.weight"].T)
            return _Affine(weight, weights[f"{name}.linear.bias"])

        self._first = affine("in_linear1"), affine("in_linear2")
        self._blocks = [
            _Block(np.ascontiguousarray(weights[f"fsmn.{block}.linear.linear.weight"].T),
                   np.ascontiguousarray(weights[f"fsmn.{block}.fsmn_block.conv_left.weight"][:, 0, :, 0].T),
                   affine(f"fsmn.{block}.affine"))
            for block in range(sizes.blocks)
        ]
        self._last = affine("out_linear1"), affine("out_linear2")

    def new_states(self, rows: int) -> np.ndarray:
        """[rows, blocks, memory - 1, projection]: so many streams at their start."""
        return np.zeros((rows, self.sizes.blocks, self.sizes.memory - 1, self.sizes.projection), np.float32)

    def forward(self, features: np.ndarray, lengths: np.ndarray, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities [B, T, output] of features [B, T, input], and the states after them.

        Of row b only the first `lengths[b]` frames count: what follows them means nothing and leaves no trace in its
        state. A row's numbers do not depend on its neighbours, but for the last bits of sums that a batch of another
        shape adds in another order.
        """
        rows, frames = features.shape[:2]
        x = features.reshape(rows * frames, self.sizes.input)
        for layer in self._first:
            x = layer(x)
        x = np.maximum(x, 0, out=x)
        after = np.empty_like(states)
        latest = lengths[:, None] + np.arange(self.sizes.memory - 1)
        for index, block in enumerate(self._blocks):
            projected = (x @ block.projection).reshape(rows, frames, self.sizes.projection)
            past = np.concatenate((states[:, index], projected), 1)
            after[:, index] = past[np.arange(rows)[:, None], latest]
            x = block.affine(_remember(past, projected, block.memory).reshape(rows * frames, self.sizes.projection))
            np.maximum(x, 0, out=x)
        for layer in self._last:
            x = layer(x)
        return _softmax(x).reshape(rows, frames, self.sizes.output), after


def _remember(past: np.ndarray, projected: np.ndarray, memory: np.ndarray) -> np.ndarray:
    """Each frame plus the weighed frames up to it: `memory` [frames, channels], the last for the frame itself."""
    frames = projected.shape[1]
    sums = projected.copy()
    weighed = np.empty_like(projected)
    for back, weight in enumerate(memory):
        np.multiply(past[:, back:back + frames], weight, out=weighed)
        sums += weighed
    return sums


def _softmax(x: np.ndarray) -> np.ndarray:
    x -= x.max(-1, keepdims=True)
    np.exp(x, out=x)
    x /= x.sum(-1, keepdims=True)
    return x


def _checked(sizes: Sizes, tensors: Mapping[str, np.ndarray], source: str) -> dict[str, np.ndarray]:
    # FunASR saves the network with its detector, as `encoder.`, or alone.
    found = {name.removeprefix("encoder."): tensor for name, tensor in tensors.items()}
    wanted = sizes.shapes()
    for name, shape in wanted.items():
        if name not in found:
            raise ModelError(f"{source}: tensor {name} missing; needed by the configuration")
        if found[name].shape != shape:
            shapes = f"is {list(found[name].shape)}; needed {list(shape)}"
            raise ModelError(f"{source}: tensor {name} {shapes} by the configuration")
        if not np.issubdtype(found[name].dtype, np.floating) or not np.isfinite(found[name]).all():
            raise ModelError(f"{source}: tensor {name} holds other than finite fractions; needed only those")
    unknown = sorted(set(found) - set(wanted))
    if unknown:
        raise ModelError(f"{source}: tensor {unknown[0]} unknown; needed only those of the configuration")
    return {name: found[name].astype(np.float32) for name in wanted}
