"""What this device does at best, measured: large matrix products, and copies of large blocks of memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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
    """The product of two large square matrices, its rows divided among `threads` as a step's are; int8 as the model has
    it, from fp32 and back. Each call of `seconds` measures it once more."""

    def __init__(self, dtype: torch.dtype, device: str, threads: int = 1) -> None:
        self._dtype = dtype
        self._device = device
        self._threads = threads
        self._helpers = ThreadPoolExecutor(threads, "product")
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
            multiply = Int8Linear(layer)
        else:
            left, right = left.to(self._dtype), right.to(self._dtype)

            def multiply(rows: torch.Tensor) -> torch.Tensor:
                return rows @ right

        parts = left.tensor_split(self._threads)
        self._multiply = (lambda: multiply(left)) if self._threads == 1 else (
            lambda: list(self._helpers.map(multiply, parts)))


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
