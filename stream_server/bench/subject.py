"""What is measured: the engine's runner with its model, as `serve` would make it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stream_server.app import make_runner
from stream_server.audio.windows import Window
from stream_server.bench.floors import Spoken, Traffic, Work, chunk_work, step_traffic
from stream_server.config import ServeSettings
from stream_server.engine.costs import measure
from stream_server.engine.wire import EngineInfo

if TYPE_CHECKING:
    from stream_server.models.streaming import ParaformerRunner


@dataclass(frozen=True, slots=True)
class Subject:
    """A runner, warmed up, and what its engine would say of it; `max_batch` is the engine's own choice of rows."""

    runner: ParaformerRunner
    info: EngineInfo
    max_batch: int

    @property
    def window(self) -> Window:
        """The first of those served: the one that is measured."""
        return self.runner.windows[0]

    @property
    def slot_bytes(self) -> int:
        return self.runner.caches.bytes_per_slot

    def work(self, spoken: Spoken) -> Work:
        return chunk_work(self.runner.network.architecture, self.window, spoken)

    def traffic(self, spoken: Spoken) -> Traffic:
        weights = sum(parameter.nbytes for parameter in self.runner.network.parameters())
        return step_traffic(self.runner.network.architecture, self.window, spoken, weights, self._number_bytes)

    @property
    def _number_bytes(self) -> int:
        import torch

        return getattr(torch, self.info.dtype).itemsize


def make_subject(settings: ServeSettings) -> Subject:
    """Loads and warms up. Raises ModelError, SettingsError and EngineError."""
    runner, info = make_runner(settings)
    runner.warm_up()
    return Subject(runner, info, measure(runner, runner.windows[0]).best_batch)
