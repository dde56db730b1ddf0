"""Where a model lies as sherpa-onnx reads it. Without torch, which a process of sherpa-onnx has no use for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SherpaModel:
    """Where the files are."""

    folder: Path

    @property
    def tokens(self) -> Path:
        return self.folder / "tokens.txt"

    def encoder(self, precision: str) -> Path:
        """`precision` is `fp32` or `int8`."""
        return self.folder / f"encoder.{precision}.onnx"

    def decoder(self, precision: str) -> Path:
        return self.folder / f"decoder.{precision}.onnx"
