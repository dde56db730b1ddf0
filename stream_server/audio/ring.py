"""Audio that is still needed, addressed by absolute sample index."""

from __future__ import annotations

from collections import deque

import numpy as np

BLOCK = 16_000


class Ring:
    """A bounded buffer of int16 samples. Indices count from the first sample ever appended and never wrap.

    Blocks of one size are filled at the end and dropped whole at the beginning, so that it takes memory for
    what it holds, whether it is appended to by the sample or by the minute, for a second or for a day.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.start = 0
        self.end = 0
        self._blocks: deque[np.ndarray] = deque()
        self._first_block = 0

    @property
    def room(self) -> int:
        """Samples that may be appended before something is forgotten."""
        return self.capacity - (self.end - self.start)

    @property
    def blocks(self) -> int:
        """Blocks of BLOCK samples in memory."""
        return len(self._blocks)

    def append(self, samples: np.ndarray) -> None:
        """Adds samples at `end`. Raises BufferError where there is no room; nothing is added then."""
        count = len(samples)
        if count > self.room:
            raise BufferError(f"{count} samples do not fit: there is room for {self.room}")
        within = self.end % BLOCK
        if within and within + count <= BLOCK:
            # Nearly always, and then this is all.
            self._blocks[-1][within : within + count] = samples
            self.end += count
            return
        taken = 0
        while taken < count:
            within = self.end % BLOCK
            if self.end == (self._first_block + len(self._blocks)) * BLOCK:
                self._blocks.append(np.empty(BLOCK, np.int16))
            fitting = min(count - taken, BLOCK - within)
            self._blocks[-1][within : within + fitting] = samples[taken : taken + fitting]
            taken += fitting
            self.end += fitting

    def read(self, start: int, end: int) -> np.ndarray:
        """A copy of the samples [start, end). Raises IndexError where some were forgotten or have not come yet."""
        if not self.start <= start <= end <= self.end:
            raise IndexError(f"[{start}, {end}) is not within [{self.start}, {self.end})")
        samples = np.empty(end - start, np.int16)
        taken = start
        while taken < end:
            block, within = divmod(taken - self._first_block * BLOCK, BLOCK)
            part = self._blocks[block][within : within + end - taken]
            samples[taken - start : taken - start + len(part)] = part
            taken += len(part)
        return samples

    def forget(self, before: int) -> None:
        """Lets go of all samples with an index below `before`; those not yet received are not affected."""
        if before <= self.start:
            return
        self.start = min(before, self.end)
        while self._blocks and (self._first_block + 1) * BLOCK <= self.start:
            self._blocks.popleft()
            self._first_block += 1
