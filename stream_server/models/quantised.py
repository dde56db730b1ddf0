"""Encoder and decoder for x86 processors: weights and inputs in eight bits, sums exact, whole layers in C++.

Weights are quantised once, symmetrically for each output channel; inputs in every step, between the least and the most
of each row, so that a row's result is its own: to the bit the same beside any neighbours. All but the matrices is fp32.

AVX2 adds products of bytes up in 16 bits, four of them before they are widened. That no sum is ever cut is
seen to by the weights: a channel's step is as fine as eight bits allow, or as any four neighbours together allow,
whichever is coarser. That costs weights as they come about one bit of eight; two, if all were held to what is safe.
Processors that need no such care have the same weights: the text is the same on all.
"""

from __future__ import annotations

from ctypes import byref
from functools import partial

import torch
from torch import Tensor, nn

from stream_server.engine.pieces import Pieces
from stream_server.errors import ModelError, SettingsError
from stream_server.models.architecture import Architecture
from stream_server.models.caches import RingStep
from stream_server.models.decoder import Decoder, DecoderFeedForward, DecoderLayer, History
from stream_server.models.encoder import Encoder, EncoderLayer
from stream_server.models.native import library
from stream_server.models.native.library import kernels

WEIGHT_MOST = 127
INPUT_MOST = 255
FOUR_MOST = (2 ** 15 - 1) // INPUT_MOST
"""Of four weights whose products are added in 16 bits: the most that those of one sign sum up to."""

COLUMNS = 16
"""Outputs in a panel: see `native/rows.h`."""

ROWS_AT_ONCE = 40
"""Frames of a segment in a part of a layer's work: a millisecond or two. By AMX more were no faster."""

_COARSER = 1.005
"""Times the step of a channel whose weights, once rounded, sum up to too much."""

_LEAST = 1e-30
"""In place of zero where a scale is divided by; its inverse is still a number in fp32."""


class Int8Linear:
    """A linear layer's counterpart; it takes and gives fp32, and keeps no reference to the layer's weights.

    Inputs are a multiple of eight, at most 2,048, whose sums are exact in fp32 too; else raises ModelError.
    """

    def __init__(self, linear: nn.Linear) -> None:
        self._quantise(linear.weight.detach(), None if linear.bias is None else linear.bias.detach())

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor | None) -> Int8Linear:
        """From a matrix [outputs, inputs] that is in no layer."""
        linear = cls.__new__(cls)
        linear._quantise(weight, bias)
        return linear

    def _quantise(self, weight: Tensor, bias: Tensor | None) -> None:
        weight = weight.float()
        outputs, inputs = weight.shape
        if inputs % 8 or inputs > 2048:
            raise ModelError(f"a matrix has {inputs} inputs; needed a multiple of 8 up to 2048 for dtype int8")
        rounded, steps = round_weights(weight)
        integers = torch.zeros(-(-outputs // COLUMNS) * COLUMNS, inputs, dtype=torch.int8)
        integers[:outputs] = rounded
        self.panels = integers.view(-1, COLUMNS, inputs // 4, 4).transpose(1, 2).contiguous()
        self.steps, self.ones = _padded(steps), _padded(rounded.sum(1) * steps)
        self.bias = None if bias is None else _padded(bias.float())
        bias = None if self.bias is None else self.bias.data_ptr()
        self.there = library.Linear(self.panels.data_ptr(), self.steps.data_ptr(), self.ones.data_ptr(), bias, inputs,
                                    outputs)

    def __call__(self, x: Tensor, norm: Int8Norm | None = None) -> Tensor:
        """[..., D] to [..., N], normalised first where `norm` is given. A row with a number that is not finite gives a
        row of such numbers."""
        x = x.contiguous()
        out = x.new_empty(*x.shape[:-1], self.there.outputs)
        count = x.numel() // self.there.inputs
        kernels().stream_linear(None if norm is None else byref(norm.there), byref(self.there), x.data_ptr(), count,
                                out.data_ptr())
        return out


class Int8Norm:
    """A layer norm's counterpart, in fp32."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        self.weight, self.bias = norm.weight.detach().float().clone(), norm.bias.detach().float().clone()
        self.there = library.Norm(self.weight.data_ptr(), self.bias.data_ptr(), len(self.weight))


class Int8Product(nn.Module):
    """An `nn.Linear` in int8, in its place in a layer that PyTorch computes."""

    def __init__(self, exact: nn.Linear) -> None:
        super().__init__()
        self._linear = Int8Linear(exact)

    def forward(self, x: Tensor) -> Tensor:
        return self._linear(x)


class Int8Encoder(Encoder):
    """`encoder.Encoder` in int8."""

    def __init__(self, exact: Encoder, architecture: Architecture) -> None:
        nn.Module.__init__(self)
        self.scale = exact.scale
        self.after_norm = exact.after_norm
        self._sizes = (architecture.size, architecture.encoder_heads, architecture.kernel)
        self._layers = [self._convert(layer) for layer in (*exact.encoders0, *exact.encoders)]

    def _convert(self, layer: EncoderLayer) -> tuple[tuple[object, ...], library.EncoderLayer]:
        # What the structure points to is kept beside it.
        attention, forward = layer.self_attn, layer.feed_forward
        norm1, norm2 = Int8Norm(layer.norm1), Int8Norm(layer.norm2)
        taps = _taps(attention.fsmn_block)
        matrices = [Int8Linear(each) for each in (attention.linear_q_k_v, attention.linear_out, forward.w_1,
                                                  forward.w_2)]
        q_k_v, out, w_1, w_2 = (matrix.there for matrix in matrices)
        there = library.EncoderLayer(norm1.there, q_k_v, taps.data_ptr(), out, norm2.there, w_1, w_2, *self._sizes)
        return (norm1, norm2, taps, *matrices), there

    def forward(self, frames: Tensor, inside: Tensor, ring: RingStep, hop: int) -> Tensor:
        """See `Encoder.forward`."""
        batch, width = inside.shape
        size = self._sizes[0]
        x, y = frames.contiguous(), frames.new_empty(batch, width, size)
        keys_values = frames.new_empty(len(self._layers), batch, width, 2 * size)
        count, past = inside.sum(1), _Past(ring)
        for index, (_, layer) in enumerate(self._layers):
            kernels().stream_encoder_layer(byref(layer), x.data_ptr(), past.at(index), count.data_ptr(), batch, width,
                                           y.data_ptr(), keys_values[index].data_ptr())
            x = y
        ring.write_all(keys_values[:, :, :hop])
        return self.after_norm(y) * inside[..., None]

    def whole(self, features: Tensor, inside: Tensor, dtype: torch.dtype) -> Pieces[Tensor]:
        """See `Encoder.whole`."""
        x = self.place(features, torch.zeros(len(inside), dtype=torch.long)).contiguous()
        whole = _WholeLayers(x, inside.sum(1).tolist(), self._sizes)
        for _, layer in self._layers:
            yield from whole.layer(layer)
        return self.after_norm(whole.y) * inside[..., None]


class _WholeLayers:
    """Layers over whole segments, in parts of rows and heads: to the bit the same in any parts."""

    def __init__(self, x: Tensor, frames: list[int], sizes: tuple[int, int, int]) -> None:
        """`x` [B, T, width] is the first layer's input, `frames` [B] how many of each row are there."""
        self._size, self._heads, _ = sizes
        self._batch, self._longest, _ = x.shape
        self._frames = frames
        self._x = x
        self.y = x.new_empty(self._batch, self._longest, self._size)
        self._queries, self._attended = torch.empty_like(self.y), torch.empty_like(self.y)
        self._keys_values = x.new_empty(self._batch, self._longest, 2 * self._size)

    def layer(self, layer: library.EncoderLayer) -> Pieces[None]:
        """The next layer, of `x` to `y`."""
        count = self._batch * self._longest
        rows = [(first, min(ROWS_AT_ONCE, count - first)) for first in range(0, count, ROWS_AT_ONCE)]
        yield [partial(self._project, layer, *some) for some in rows]
        yield [*(partial(self._attend, layer, row, head) for row in range(self._batch) for head in range(self._heads)),
               *(partial(self._remember, layer, row) for row in range(self._batch))]
        yield [partial(self._feed, layer, *some) for some in rows]
        self._x = self.y
        yield

    def _project(self, layer: library.EncoderLayer, first: int, count: int) -> None:
        kernels().stream_encoder_project(byref(layer), _row(self._x, first), count, _row(self._queries, first),
                                         _row(self._keys_values, first), _row(self.y, first))

    def _attend(self, layer: library.EncoderLayer, row: int, head: int) -> None:
        kernels().stream_encoder_attend(
            byref(layer), head, self._queries[row].data_ptr(), self._keys_values[row].data_ptr(), self._frames[row],
            self._longest, self._attended[row].data_ptr())

    def _remember(self, layer: library.EncoderLayer, row: int) -> None:
        kernels().stream_encoder_remember(byref(layer), self._keys_values[row].data_ptr(), self._frames[row],
                                          self._longest, self.y[row].data_ptr())

    def _feed(self, layer: library.EncoderLayer, first: int, count: int) -> None:
        kernels().stream_encoder_feed(byref(layer), _row(self._attended, first), count, _row(self.y, first))


def _row(rows: Tensor, index: int) -> int:
    """Where a row of [B, T, D] begins, rows counted through all of the batch."""
    return rows.data_ptr() + index * rows.shape[2] * rows.element_size()


class Int8Lstm:
    """One direction of an `nn.LSTM` of a layer; its cell state is fp32."""

    def __init__(self, inputs: Tensor, hidden: Tensor, bias: Tensor) -> None:
        """Weights [4 D, inputs] and [4 D, D], in PyTorch's order of gates, and the sum of both biases [4 D]."""
        self._inputs, self._hidden = Int8Linear.of(inputs, bias), Int8Linear.of(hidden, None)
        self.size = hidden.shape[1]
        self._there = library.Lstm(self._inputs.there, self._hidden.there, self.size)

    def __call__(self, steps: Tensor, hidden: Tensor, cell: Tensor) -> Tensor:
        """[B, T, inputs] to [B, T, D]; `hidden` and `cell` [B, D] become those of the last step."""
        steps = steps.contiguous()
        out = steps.new_empty(*steps.shape[:2], self.size)
        kernels().stream_lstm(byref(self._there), steps.data_ptr(), *steps.shape[:2], hidden.data_ptr(),
                              cell.data_ptr(), out.data_ptr())
        return out


class Int8Decoder(nn.Module):
    """`decoder.Decoder` in int8; a row that says nothing costs nothing."""

    def __init__(self, exact: Decoder, architecture: Architecture) -> None:
        super().__init__()
        self._sizes = (architecture.size, architecture.decoder_heads, architecture.kernel)
        self._layers = [self._convert(layer) for layer in exact.decoders]
        self._last = _feed_forward(exact.decoders3[0].norm1, exact.decoders3[0].feed_forward)
        self._after_norm = Int8Norm(exact.after_norm)
        self._output_layer = Int8Linear(exact.output_layer)

    def _convert(self, layer: DecoderLayer) -> tuple[tuple[object, ...], library.DecoderLayer]:
        attention, taps = layer.src_attn, _taps(layer.self_attn.fsmn_block)
        forward = _feed_forward(layer.norm1, layer.feed_forward)
        norm2, norm3 = Int8Norm(layer.norm2), Int8Norm(layer.norm3)
        matrices = [Int8Linear(each) for each in (attention.linear_q, attention.linear_k_v, attention.linear_out)]
        there = library.DecoderLayer(*(part.there for part in forward), norm2.there, taps.data_ptr(), norm3.there,
                                     *(matrix.there for matrix in matrices), *self._sizes)
        return (*forward, norm2, taps, norm3, *matrices), there

    def forward(
        self, tokens: Tensor, memory: Tensor, inside: Tensor, history: History, ring: RingStep, kept: int
    ) -> Tensor:
        """See `Decoder.forward`."""
        meant = torch.arange(tokens.shape[1]) < history.count[:, None]
        speakers = history.count.nonzero().squeeze(1)
        scores = tokens.new_zeros(*tokens.shape[:2], self._output_layer.there.outputs)
        if len(speakers):
            starts = nn.functional.pad(history.count[speakers].cumsum(0), (1, 0))
            x = self._say(tokens[meant], starts, memory[speakers], inside[speakers], history, ring, speakers, kept)
            scores[meant] = self._output_layer(x, self._after_norm)
        return scores

    def _say(
        self, x: Tensor, starts: Tensor, memory: Tensor, inside: Tensor, history: History, ring: RingStep,
        speakers: Tensor, kept: int,
    ) -> Tensor:
        batch, width, size = memory.shape
        recent = x.new_empty(len(self._layers), batch, history.states.shape[2], size)
        keys_values = x.new_empty(len(self._layers), batch, width, 2 * size)
        count, past = inside.sum(1), _Past(ring, speakers)
        for index, (_, layer) in enumerate(self._layers):
            kernels().stream_decoder_layer(
                byref(layer), x.data_ptr(), starts.data_ptr(), memory.data_ptr(), count.data_ptr(), past.at(index),
                history.states[index].data_ptr(), batch, width, recent[index].data_ptr(),
                keys_values[index].data_ptr())
        history.write_all(recent, speakers)
        ring.write_all(keys_values[:, :, width - kept :], speakers)
        out = torch.empty_like(x)
        kernels().stream_decoder_feed_forward(*(byref(part.there) for part in self._last), x.data_ptr(), len(x),
                                              out.data_ptr())
        return out


class _Past:
    """Where a ring's rows of keys and values are, for the kernels; `chosen` among the step's rows, or all."""

    def __init__(self, ring: RingStep, chosen: Tensor | None = None) -> None:
        self._frames = ring.frames
        self._slots, self._counts = ring.rows, ring.there.sum(1)
        if chosen is not None:
            self._slots, self._counts = self._slots[chosen], self._counts[chosen]
        self._slots = self._slots.contiguous()
        self._there = library.Past(None, ring.frames.stride(1), self._slots.data_ptr(), self._counts.data_ptr())

    def at(self, layer: int) -> object:
        self._there.frames = self._frames[layer].data_ptr()
        return byref(self._there)


def quantise(encoder: Encoder, decoder: Decoder, architecture: Architecture) -> tuple[Int8Encoder, Int8Decoder]:
    """Their counterparts in int8. Raises ModelError where the sizes are not such as the kernels compute."""
    check_heads("decoder", architecture.decoder_heads, architecture.size)
    return quantise_encoder(encoder, architecture), Int8Decoder(decoder, architecture)


def quantise_encoder(encoder: Encoder, architecture: Architecture) -> Int8Encoder:
    """Its counterpart in int8. Raises ModelError where the sizes are not such as the kernels compute."""
    check_heads("encoder", architecture.encoder_heads, architecture.size)
    return Int8Encoder(encoder, architecture)


def check_heads(name: str, heads: int, size: int) -> None:
    """Raises ModelError where the kernels cannot compute attention of such sizes."""
    if size // heads % 8 or size % COLUMNS:
        raise ModelError(f"{name}: {heads} heads of {size // heads}, size {size}; needed heads of a multiple of 8 and "
                         f"a size of a multiple of {COLUMNS} for dtype int8")


def quantise_products(module: nn.Module) -> None:
    """Puts int8 in the place of every linear layer within. Raises ModelError where sizes are not such as the kernels
    compute."""
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, Int8Product(child))
        else:
            quantise_products(child)


def check_int8(device: str) -> None:
    """Raises SettingsError where int8 cannot be computed."""
    allowed = "allowed are auto, fp32, bf16, fp16"
    if device != "cpu":
        raise SettingsError(f"dtype is int8, device {device}; int8 is for the CPU, {allowed}")
    try:
        kernels()
    except OSError as error:
        raise SettingsError(f"dtype is int8: {error}; {allowed}") from None


def _feed_forward(
    norm: nn.LayerNorm, forward: DecoderFeedForward
) -> tuple[Int8Norm, Int8Linear, Int8Norm, Int8Linear]:
    return Int8Norm(norm), Int8Linear(forward.w_1), Int8Norm(forward.norm), Int8Linear(forward.w_2)


def _taps(block: nn.Conv1d) -> Tensor:
    """Weights [D, 1, kernel] of a memory block as [kernel, D]."""
    return block.weight.detach().float().squeeze(1).t().contiguous()


def round_weights(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Of a matrix [outputs, inputs]: its whole numbers, from -127 to 127, and each output's step [outputs]."""
    most = torch.maximum(weight.abs().amax(1) / WEIGHT_MOST, _most_of_four(weight) / FOUR_MOST)
    steps = most.clamp_(min=_LEAST)
    rounded = (weight / steps[:, None]).round_()
    over = torch.arange(len(weight))
    while len(over := over[_most_of_four(rounded[over]) > FOUR_MOST]):
        steps[over] *= _COARSER
        rounded[over] = (weight[over] / steps[over, None]).round_()
    return rounded, steps


def _most_of_four(weight: Tensor) -> Tensor:
    """The largest sum [outputs] of those of one sign among four weights that are added in 16 bits: of every eight in a
    row the first two with the fifth and sixth, the others."""
    eights = weight.view(len(weight), -1, 2, 2, 2)
    above, below = eights.clamp(min=0), eights.clamp(max=0)
    sums = [signed[:, :, 0, :, 0] + signed[:, :, 0, :, 1] + signed[:, :, 1, :, 0] + signed[:, :, 1, :, 1]
            for signed in (above, below)]
    return torch.maximum(sums[0], -sums[1]).amax((1, 2))


def _padded(numbers: Tensor) -> Tensor:
    # A copy in any case: what is kept must not keep a file mapped.
    return torch.cat((numbers, numbers.new_zeros(-len(numbers) % COLUMNS)))
