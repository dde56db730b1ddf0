"""The detectors that a process has for its sessions: webrtcvad and none always, networks where it was given any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from stream_server.config import VadKind
from stream_server.speech.vad import Always, Net, Vad, WebrtcVad

SILERO = "silero"
"""What stands for Silero's network where others are named by their directories: its package brings it along."""


class OpenNet(Net, Protocol):
    """A network that makes the detectors that it judges."""

    def open(self) -> Vad:
        """A detector for one session."""


@dataclass(frozen=True, slots=True)
class Detectors:
    """Shared by all sessions of a process; `nets` by what sessions call them."""

    nets: Mapping[VadKind, OpenNet] = field(default_factory=dict)

    @property
    def kinds(self) -> tuple[VadKind, ...]:
        """What a session may ask for."""
        return ("webrtc", *self.nets, "none")

    def open(self, kind: VadKind, aggressiveness: int) -> Vad:
        """The detector that a session asked for, one of `kinds`; `aggressiveness` is webrtcvad's."""
        if kind in self.nets:
            return self.nets[kind].open()
        return Always() if kind == "none" else WebrtcVad(aggressiveness)


def load(models: Sequence[str]) -> Detectors:
    """Detectors with the networks in these directories, or `silero`. Raises ModelError."""
    nets: dict[VadKind, OpenNet] = {}
    for model in models:
        if model == SILERO:
            from stream_server.speech.silero import SileroNet

            nets["silero"] = SileroNet()
        else:
            from stream_server.speech.fsmn.model import load as load_fsmn
            from stream_server.speech.fsmn.vad import FsmnNet

            nets["fsmn"] = FsmnNet(load_fsmn(Path(model)))
    return Detectors(nets)
