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
INT8_INPUTS = 2048
"""More are not taken: see `models.quantised`."""
LONG_ENOUGH_S = 0.05
"""A product that takes this long is large: what it costs to start it no longer shows."""

COPIED_BYTES = {"cpu": 256 << 20, "cuda": 1 << 30}
"""Far more than any cache holds."""


class Product:
    """The product of `rows` rows by a large square matrix of `size`, divided among `threads` as chunks are among
    workers; int8 as the model has it, from fp32 and back. Each call of `seconds` measures it once more."""

    def __init__(self, dtype: torch.dtype, device: str, threads: int = 1) -> None:
        import torch

        self._dtype = dtype
        self._device = device
        self._threads = threads
        self._most_inputs = INT8_INPUTS if dtype == torch.int8 else LARGEST
        self._make(SMALLEST)
        while self.seconds() < LONG_ENOUGH_S and self.rows < LARGEST:
            self._make(2 * self.rows)
            self._multiply()

    def seconds(self) -> float:
        return _timed(self._multiply, self._device)

    @property
    def operations(self) -> int:
        return 2 * self.rows * self.size**2

    def _make(self, rows: int) -> None:
        import torch

        self.rows, self.size = rows, min(rows, self._most_inputs)
        left = torch.randn(self.rows, self.size, device=self._device)
        right = torch.randn(self.size, self.size, device=self._device)
        if self._dtype == torch.int8:
            from stream_server.models.quantised import Int8Linear

            layer = torch.nn.Linear(self.size, self.size, bias=False)
            layer.weight = torch.nn.Parameter(right, requires_grad=False)
            multiply = Int8Linear(layer)
        else:
            left, right = left.to(self._dtype), right.to(self._dtype)

            def multiply(rows: torch.Tensor) -> torch.Tensor:
                return rows @ right

        self._multiply = _shared(multiply, left, self._threads)


class Copy:
    """A copy of a large block, divided among `threads`. Each call of `seconds` measures it once more; `bytes` counts
    reading and writing."""

    def __init__(self, device: str, threads: int = 1) -> None:
        import torch

        count = COPIED_BYTES["cuda" if device.startswith("cuda") else "cpu"]
        self._device = device
        blocks = torch.ones(2, count, dtype=torch.uint8, device=device)
        self._copy = _shared(lambda part: part[1].copy_(part[0]), blocks, threads, dim=1)
        self.bytes = 2 * count
        self.seconds()

    def seconds(self) -> float:
        return _timed(self._copy, self._device)


def _shared(work: Callable[[torch.Tensor], object], whole: torch.Tensor, threads: int, dim: int = 0,
            ) -> Callable[[], object]:
    """`work` on all of `whole`, each of the threads on its part."""
    if threads == 1:
        return lambda: work(whole)
    pool, parts = ThreadPoolExecutor(threads, "ceiling"), whole.tensor_split(threads, dim)
    return lambda: list(pool.map(work, parts))


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
