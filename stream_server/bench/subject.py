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
    from stream_server.models.architecture import Architecture
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
        kept = self.runner.caches.encoder.frames.element_size()
        return step_traffic(self.runner.network.architecture, self.window, spoken, self._weight_bytes(), kept)

    def _weight_bytes(self) -> int:
        network = self.runner.network
        if self.info.dtype == "int8":
            return _int8_bytes(network.architecture)
        return sum(parameter.nbytes for parameter in network.parameters())


def _int8_bytes(architecture: Architecture) -> int:
    """The matrices of encoder and decoder are a byte a number, all else is fp32."""
    import torch

    from stream_server.models.paraformer import Paraformer

    with torch.device("meta"):
        network = Paraformer(architecture, torch.empty(architecture.features), torch.empty(architecture.features))
    layers = (*network.encoder.modules(), *network.decoder.modules())
    matrices = sum(layer.weight.numel() for layer in layers if isinstance(layer, torch.nn.Linear))
    return sum(parameter.nbytes for parameter in network.parameters()) - 3 * matrices


def make_subject(settings: ServeSettings) -> Subject:
    """Loads and warms up. Raises ModelError, SettingsError and EngineError."""
    runner, info = make_runner(settings)
    runner.warm_up()
    return Subject(runner, info, measure(runner, runner.windows[0]).best_batch)
