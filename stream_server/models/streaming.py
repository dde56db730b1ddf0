"""The engine's runner over the streaming Paraformer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from stream_server.audio.windows import Window
from stream_server.engine.runner import Row, RowResult, batch_sizes
from stream_server.errors import EngineError
from stream_server.models.caches import Caches, Writes
from stream_server.models.checkpoint import Model
from stream_server.models.frontend import CARRY_SAMPLES, fbank_frames, stacked_frames
from stream_server.models.paraformer import Batch
from stream_server.models.program import Program, pack
from stream_server.models.tokens import Said, answers

MOST_ROWS = {"cuda": 1024, "cpu": 32}
"""Rows of a step beyond which a device gains nothing."""

_INT16 = np.dtype(np.int16)


class ParaformerRunner:
    """A model and the slots of its streams on one device; see `engine.runner.Runner`.

    A slot belongs to one window from a `first` row to the next. Where `run` raises, all slots are as they were, save
    that those of `first` rows belong to nobody.

    With `fixed_shapes`, which CUDA has by default, a step has one of few sizes, the smallest that holds its rows, and
    is captured as a graph at `warm_up`. Else, on a CPU, it computes as many rows and tokens as there are, and `workers`
    threads may step at once, each other slots: unlike threads within an operator they never wait for each other.
    """

    def __init__(
        self, model: Model, windows: Sequence[Window], slots: int, *, fixed_shapes: bool | None = None, workers: int = 1
    ) -> None:
        self.windows = tuple(windows)
        self.slots = slots
        self.network = model.network
        self.vocabulary = model.vocabulary
        self._device = torch.device(model.device)
        self.max_batch = min(slots, MOST_ROWS[self._device.type])
        self.caches = Caches(model.network.architecture, self.windows, slots, model.dtype, model.device)
        self._fixed_shapes = self._device.type == "cuda" if fixed_shapes is None else fixed_shapes
        self._programs: dict[tuple[Window, int], Program] = {}
        self._tenants: list[Window | None] = [None] * slots
        self._carry = np.zeros((slots, CARRY_SAMPLES), np.int16)
        self.workers = 1 if self._fixed_shapes else min(workers, slots)

    def warm_up(self) -> None:
        """Run every window once, alone and in the largest batch, and capture the graphs. Raises EngineError."""
        try:
            if self._fixed_shapes:
                self._make_programs()
            for window in self.windows:
                for count in {1, self.max_batch}:
                    silence = np.zeros(window.hop_samples, np.int16)
                    self.run(window, [Row(slot, silence, first=True, last=True) for slot in range(count)])
        except Exception as error:
            raise EngineError(f"warm-up failed: {error}") from error

    @torch.inference_mode()
    def run(self, window: Window, rows: Sequence[Row]) -> list[RowResult]:
        """One step of at most `max_batch` rows; one that cannot be served gets an error, its neighbours their
        results."""
        if window not in self.windows:
            raise EngineError(f"window {window} is not served; served are {', '.join(map(str, self.windows))}")
        refusals = [self._refusal(window, row) for row in rows]
        served = [row for row, refusal in zip(rows, refusals, strict=True) if refusal is None]
        results = iter(self._step(window, served) if served else ())
        return [next(results) if refusal is None else RowResult(error=refusal) for refusal in refusals]

    def _refusal(self, window: Window, row: Row) -> str | None:
        if not 0 <= row.slot < self.slots:
            return f"slot {row.slot} does not exist; slots are 0 to {self.slots - 1}"
        if not row.first and self._tenants[row.slot] != window:
            return f"slot {row.slot} has no stream with window {window}"
        samples, hop = row.samples, window.hop_samples
        if samples.dtype != _INT16 or samples.ndim != 1:
            return f"samples are {samples.dtype} of {samples.ndim} dimensions; needed int16 of 1"
        if len(samples) != hop and (len(samples) > hop or not row.last):
            return f"{len(samples)} samples; needed {hop}, or fewer where it is the last"
        return None

    def _step(self, window: Window, rows: Sequence[Row]) -> list[RowResult]:
        newcomers = [row.slot for row in rows if row.first]
        if newcomers:
            self.caches.reset(torch.tensor(newcomers, device=self._device))
            for slot in newcomers:
                self._tenants[slot] = None
        results = self._run_program(window, rows) if self._fixed_shapes else self._run_as_it_is(window, rows)
        for row in rows:
            self._tenants[row.slot] = None if row.last else window
            if not row.last:
                self._carry[row.slot] = row.samples[-CARRY_SAMPLES:]
        return results

    def _run_as_it_is(self, window: Window, rows: Sequence[Row]) -> list[RowResult]:
        samples = np.zeros((len(rows), CARRY_SAMPLES + window.hop_samples), np.int16)
        numbers = np.zeros((5, len(rows)), np.int64)
        self._fill(window, rows, samples, numbers)
        slots, fbanks, new, first, last = self._to_device(numbers)
        batch, writes = Batch(self._to_device(samples), slots, fbanks, new, first.bool(), last.bool()), Writes()
        heard = self.network.hear(window, batch, self.caches, writes)
        # How many tokens there are decides what the second half computes.
        spoken = int((heard.tokens.count * heard.finite).max())
        # Scores of no token are no matrix worth a product.
        nothing = self.caches.carried.new_zeros(len(rows), 0, len(self.vocabulary))
        scores = self.network.say(window, batch, self.caches, heard, spoken, writes) if spoken else nothing
        said = [Said(row, scores, place) for place, row in enumerate(pack(heard, scores).tolist())]
        writes.commit()
        return answers(rows, said, self.vocabulary)

    def _run_program(self, window: Window, rows: Sequence[Row]) -> list[RowResult]:
        program = self._program(window, len(rows))
        self._fill(window, rows, program.samples, program.numbers)
        program.clear(len(rows))
        packed = program.run()[: len(rows)].tolist()
        said = [Said(row, program.scores, place) for place, row in enumerate(packed)]
        crowded = [index for index, (count, fine, *_) in enumerate(packed) if fine and count > program.tokens]
        if crowded:
            most = max(packed[index][0] for index in crowded)
            again, scores = program.say_rest(crowded, most)
            for place, (index, row) in enumerate(zip(crowded, again.tolist(), strict=True)):
                said[index] = Said(row, scores, place)
        return answers(rows, said, self.vocabulary)

    def _program(self, window: Window, rows: int) -> Program:
        size = next(size for size in batch_sizes(self.max_batch) if size >= rows)
        key = (window, size)
        if key not in self._programs:
            self._programs[key] = Program(self.network, self.caches, window, size)
        return self._programs[key]

    def _make_programs(self) -> None:
        # The largest first: the smaller then fit into its memory.
        pool = stream = None
        if self._device.type == "cuda":
            stream = torch.cuda.Stream(self._device)
        for size in reversed(batch_sizes(self.max_batch)):
            for window in self.windows:
                program = self._program(window, size)
                if stream is not None:
                    pool = program.capture(stream, pool)

    def _fill(self, window: Window, rows: Sequence[Row], samples: np.ndarray, numbers: np.ndarray) -> None:
        """Write the rows' samples and numbers, as `paraformer.Batch` has them, into the first places of both."""
        for index, row in enumerate(rows):
            start = 0 if row.first else CARRY_SAMPLES
            samples[index, start : start + len(row.samples)] = row.samples
        going_on = [index for index, row in enumerate(rows) if not row.first]
        samples[going_on, :CARRY_SAMPLES] = self._carry[[rows[index].slot for index in going_on]]
        numbers[:, : len(rows)] = np.array([_numbers(window, row) for row in rows]).T

    def _to_device(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self._device, non_blocking=True)


def _numbers(window: Window, row: Row) -> tuple[int, int, int, bool, bool]:
    """Slot, fbanks, new, first and last, as `paraformer.Batch` has them."""
    fbanks = fbank_frames(len(row.samples) + (0 if row.first else CARRY_SAMPLES))
    new = stacked_frames(fbanks, row.first) if row.last else window.hop
    return row.slot, fbanks, new, row.first, row.last
