"""Many sessions that say recording after recording, in one process or, where one cannot speak for all, in several."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np

from benchmarks.second_pass.waits import Manner, Waits, speak


@dataclass(frozen=True)
class Crowd:
    """`count` sessions at `address`, divided among `processes`."""

    address: str
    utterances: Sequence[np.ndarray]
    manner: Manner
    count: int
    processes: int = 1

    async def speak(self, wants: bool, seconds: float) -> Waits:
        """All of them for so long, with second passes or without."""
        shares = [range(first, self.count, self.processes) for first in range(min(self.processes, self.count))]
        if len(shares) == 1:
            return await self._share(shares[0], wants, seconds)
        waits, loop = Waits(), asyncio.get_running_loop()
        with ProcessPoolExecutor(len(shares), get_context("spawn")) as pool:
            parts = [loop.run_in_executor(pool, self._run, share, wants, seconds) for share in shares]
            for part in await asyncio.gather(*parts):
                waits.add(part)
        return waits

    def _run(self, numbers: range, wants: bool, seconds: float) -> Waits:
        return asyncio.run(self._share(numbers, wants, seconds))

    async def _share(self, numbers: range, wants: bool, seconds: float) -> Waits:
        waits = Waits()
        async with asyncio.TaskGroup() as group:
            for number in numbers:
                sounds = turned(self.utterances, number)
                group.create_task(speak(self.address, waits, sounds, self.manner, wants, seconds, number))
        return waits


def turned(utterances: Sequence[np.ndarray], by: int) -> list[np.ndarray]:
    """The same, begun with another one."""
    by = 3 * by % len(utterances)
    return [*utterances[by:], *utterances[:by]]
