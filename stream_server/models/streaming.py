"""The engine's runner over the streaming Paraformer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from stream_server.audio.windows import Window
from stream_server.engine.runner import Row, RowResult
from stream_server.errors import EngineError
from stream_server.models.caches import Caches
from stream_server.models.checkpoint import Model
from stream_server.models.frontend import CARRY_SAMPLES, fbank_frames, stacked_frames
from stream_server.models.paraformer import Batch

_UNSPOKEN = 3
"""Ids below are `<blank>`, `<s>` and `</s>`; FunASR drops them too."""


class ParaformerRunner:
    """A model and the slots of its streams on one device; see `engine.runner.Runner`.

    A slot belongs to one window from a `first` row to the next. Where `run` raises, the state of its rows' slots is
    worthless; all others are as they were.
    """

    def __init__(self, model: Model, windows: Sequence[Window], slots: int) -> None:
        self.windows = tuple(windows)
        self.slots = slots
        self.network = model.network
        self.vocabulary = model.vocabulary
        self._device = model.device
        self.caches = Caches(model.network.architecture, self.windows, slots, model.dtype, model.device)
        self._tenants: list[Window | None] = [None] * slots
        self._carry = np.zeros((slots, CARRY_SAMPLES), np.int16)

    def warm_up(self) -> None:
        """Run every window once, first alone and then in a batch. Raises EngineError."""
        try:
            for window in self.windows:
                for count in {1, self.slots}:
                    silence = np.zeros(window.hop_samples, np.int16)
                    self.run(window, [Row(slot, silence, first=True, last=True) for slot in range(count)])
        except Exception as error:
            raise EngineError(f"warm-up failed: {error}") from error

    @torch.inference_mode()
    def run(self, window: Window, rows: Sequence[Row]) -> list[RowResult]:
        """One step; a row that cannot be served gets an error, its neighbours their results."""
        if window not in self.windows:
            raise EngineError(f"window {window} is not served; served are {', '.join(map(str, self.windows))}")
        results = [RowResult(error=self._refusal(window, row)) for row in rows]
        good = [index for index, result in enumerate(results) if result.error is None]
        if good:
            for index, result in zip(good, self._step(window, [rows[index] for index in good]), strict=True):
                results[index] = result
        return results

    def _refusal(self, window: Window, row: Row) -> str | None:
        if not 0 <= row.slot < self.slots:
            return f"slot {row.slot} does not exist; slots are 0 to {self.slots - 1}"
        if not row.first and self._tenants[row.slot] != window:
            return f"slot {row.slot} has no stream with window {window}"
        if row.samples.dtype != np.int16 or row.samples.ndim != 1:
            return f"samples are {row.samples.dtype} of {row.samples.ndim} dimensions; needed int16 of 1"
        if len(row.samples) > window.hop_samples or (not row.last and len(row.samples) < window.hop_samples):
            return f"{len(row.samples)} samples; needed {window.hop_samples}, or fewer where it is the last"
        return None

    def _step(self, window: Window, rows: Sequence[Row]) -> list[RowResult]:
        batch = self._batch(window, rows)
        newcomers = [row.slot for row in rows if row.first]
        if newcomers:
            self.caches.reset(torch.tensor(newcomers, device=self._device))
        heard = self.network.hear(window, batch, self.caches)
        # The step's first wait for the device: how many tokens there are decides what the second half computes.
        counts, fine = torch.stack((heard.tokens.count * heard.finite, heard.finite.long())).tolist()
        spoken = max(counts)
        if not spoken:
            return [self._result([], [], bool(good)) for good in fine]
        scores = self.network.say(window, batch, self.caches, heard, spoken)
        said = torch.stack((scores.argmax(-1), heard.frames[:, :spoken], scores.isfinite().all(-1).long()))
        ids, frames, finite = said.tolist()
        return [
            self._result(ids[i][:count], frames[i][:count], bool(fine[i]) and all(finite[i][:count]))
            for i, count in enumerate(counts)
        ]

    def _result(self, ids: list[int], frames: list[int], fine: bool) -> RowResult:
        if not fine:
            return RowResult(error="the model's numbers overflowed")
        said = [(id_, frame) for id_, frame in zip(ids, frames, strict=True) if id_ >= _UNSPOKEN]
        return RowResult([self.vocabulary[id_] for id_, _ in said], [frame for _, frame in said])

    def _batch(self, window: Window, rows: Sequence[Row]) -> Batch:
        samples = np.zeros((len(rows), CARRY_SAMPLES + window.hop_samples), np.int16)
        numbers = np.zeros((5, len(rows)), np.int64)
        for index, row in enumerate(rows):
            start = 0 if row.first else CARRY_SAMPLES
            end = start + len(row.samples)
            samples[index, :start] = self._carry[row.slot, :start]
            samples[index, start:end] = row.samples
            fbanks = fbank_frames(end)
            new = stacked_frames(fbanks, row.first) if row.last else window.hop
            numbers[:, index] = row.slot, fbanks, new, row.first, row.last
            self._tenants[row.slot] = None if row.last else window
            if not row.last:
                self._carry[row.slot] = row.samples[-CARRY_SAMPLES:]
        slots, fbanks, new, first, last = self._to_device(numbers)
        return Batch(self._to_device(samples), slots, fbanks, new, first.bool(), last.bool())

    def _to_device(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self._device, non_blocking=True)
