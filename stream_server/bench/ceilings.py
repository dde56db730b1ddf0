"""What this device does at best, measured: large matrix products, and copies of large blocks of memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

SMALLEST = 256
LARGEST = 8192
LONG_ENOUGH_S = 0.05
"""A product that takes this long is large: what it costs to start it no longer shows."""

COPIED_BYTES = {"cpu": 256 << 20, "cuda": 2 << 30}
"""Far more than any cache holds."""


class Product:
    """The product of two large square matrices; int8 as the model has it, from fp32 and back. Each call of `seconds`
    measures it once more."""

    def __init__(self, dtype: torch.dtype, device: str) -> None:
        self._dtype = dtype
        self._device = device
        size = SMALLEST
        self._make(size)
        while self.seconds() < LONG_ENOUGH_S and size < LARGEST:
            size *= 2
            self._make(size)
            self._multiply()

    def seconds(self) -> float:
        return _timed(self._multiply, self._device)

    @property
    def operations(self) -> int:
        return 2 * self.size**3

    def _make(self, size: int) -> None:
        import torch

        self.size = size
        left, right = (torch.randn(size, size, device=self._device) for _ in range(2))
        if self._dtype == torch.int8:
            from stream_server.models.quantised import Int8Linear

            layer = torch.nn.Linear(size, size, bias=False)
            layer.weight = torch.nn.Parameter(right, requires_grad=False)
            quantised = Int8Linear(layer)
            self._multiply = lambda: quantised(left)
            return
        left, right = left.to(self._dtype), right.to(self._dtype)
        out = torch.empty_like(left)
        self._multiply = lambda: torch.mm(left, right, out=out)


class Copy:
    """A copy of a large block. Each call of `seconds` measures it once more; `bytes` counts reading and writing."""

    def __init__(self, device: str) -> None:
        import torch

        count = COPIED_BYTES["cuda" if device.startswith("cuda") else "cpu"]
        self._device = device
        self._source = torch.ones(count, dtype=torch.uint8, device=device)
        self._target = torch.empty_like(self._source)
        self.bytes = 2 * count
        self.seconds()

    def seconds(self) -> float:
        return _timed(lambda: self._target.copy_(self._source), self._device)


def _timed(work: Callable[[], object], device: str) -> float:
    import torch

    cuda = device.startswith("cuda")
    if cuda:
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    work()
    if cuda:
        torch.cuda.synchronize(device)
    return time.perf_counter() - began
