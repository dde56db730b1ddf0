"""Matrices in int8 on a CPU: inputs of eight bits times weights of seven, summed exactly in int32.

The layers around them compute in fp32 as ever. Weights are quantised once, symmetrically for each output channel;
inputs in every step, symmetrically for each row, so that a row's result is its own: to the bit the same beside any
neighbours. The product is FBGEMM's, which comes with PyTorch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stream_server.errors import SettingsError

INPUT_MOST = 127
_INPUT_ZERO = 128

WEIGHT_MOST = 63
"""AVX2 adds pairs of products of an unsigned and a signed byte in 16 bits, and cuts silently what does not fit:
2 * 255 * 63 does. With eight bits for the weights the text would depend on the processor."""

_LEAST = 1e-30
"""In place of zero where a scale is divided by; its inverse is still a number in fp32."""


class Int8Linear(nn.Module):
    """A linear layer's counterpart in int8; it takes and gives fp32, and keeps no reference to the layer's weights."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.bias = None if linear.bias is None else nn.Parameter(linear.bias.detach(), requires_grad=False)
        self._packed = _pack(linear.weight.detach())

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] to [..., N]. A row with a number that is not finite gives a row with such numbers."""
        most = torch.maximum(x.amax(-1, keepdim=True), -x.amin(-1, keepdim=True)).clamp_(min=_LEAST)
        product = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
            x * (INPUT_MOST / most), 1.0, _INPUT_ZERO, self._packed
        )
        scaled = product.mul_(most.div_(INPUT_MOST))
        return scaled if self.bias is None else scaled.add_(self.bias)


def quantise(network: nn.Module) -> None:
    """Put an Int8Linear in the place of every linear layer of `network`, one at a time."""
    for name, child in network.named_children():
        if isinstance(child, nn.Linear):
            setattr(network, name, Int8Linear(child))
        else:
            quantise(child)


def check_int8(device: str) -> None:
    """Raises SettingsError where int8 cannot be computed."""
    if device != "cpu":
        raise SettingsError(f"dtype is int8, device {device}; int8 is for the CPU, allowed are auto, fp32, bf16, fp16")
    if "fbgemm" not in torch.backends.quantized.supported_engines or not torch.cpu.get_capabilities().get("avx2"):
        raise SettingsError("dtype is int8; this needs an x86 CPU with AVX2, allowed are auto, fp32, bf16, fp16")


def _pack(weight: Tensor) -> torch.ScriptObject:
    weight = weight.float()
    steps = weight.abs().amax(1).clamp_(min=_LEAST) / WEIGHT_MOST
    integers = torch.quantize_per_channel(weight, steps, torch.zeros(len(steps), dtype=torch.int64), 0, torch.qint8)
    # With VNNI the default engine lays weights out for another library, which the product does not take.
    engine = torch.backends.quantized.engine
    torch.backends.quantized.engine = "fbgemm"
    try:
        return torch.ops.quantized.linear_prepack(integers, None)
    finally:
        torch.backends.quantized.engine = engine
