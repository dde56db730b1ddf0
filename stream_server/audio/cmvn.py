"""Mean and variance normalisation as FunASR's models carry it: `am.mvn`."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from stream_server.errors import ModelError


def read_cmvn(path: Path, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Shift and scale, fp32 [size] each, from Kaldi's text format for a network of an `<AddShift>` and a `<Rescale>`.

    A feature is normalised as (feature + shift) * scale. Raises ModelError.
    """
    text = path.read_text("utf-8", errors="replace")
    shift, scale = (_vector(text, layer, size, path) for layer in ("<AddShift>", "<Rescale>"))
    return shift, scale


def _vector(text: str, layer: str, size: int, path: Path) -> np.ndarray:
    found = re.search(layer + r"[^\[]*\[([^\]]*)\]", text)
    try:
        vector = np.array(found[1].split() if found else [], np.float32)
    except ValueError as error:
        raise ModelError(f"{path}: {layer} holds no numbers ({error}); needed {size}") from error
    if len(vector) != size or not np.isfinite(vector).all():
        raise ModelError(f"{path}: {layer} holds {len(vector)} numbers; needed {size}, all finite")
    return vector
