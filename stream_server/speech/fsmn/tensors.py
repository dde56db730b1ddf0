"""Tensors from a `model.pt` without torch: the part of PyTorch's file format that a plain state dict uses.

Such a file is a zip archive: a pickle that names each tensor's storage, shape and strides, and a file of raw numbers
for each storage. The pickle is read with everything refused but the few names that such a dict needs, so that a file
can run no code; and nothing is believed about sizes that the archive does not bear out.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from stream_server.errors import ModelError

LARGEST_BYTES = 64 << 20
"""Of an archive's contents: FSMN-VAD has 1.7 MB, and no detector that runs beside the sound has many times that."""

_WRAPPERS = ("state_dict", "model_state_dict", "model")
_NUMBERS = {"FloatStorage": np.dtype("<f4"), "DoubleStorage": np.dtype("<f8"), "HalfStorage": np.dtype("<f2"),
            "LongStorage": np.dtype("<i8"), "IntStorage": np.dtype("<i4")}


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """The state dict in `path`, as PyTorch 1.6 and later save it. Raises ModelError."""
    try:
        with zipfile.ZipFile(path) as archive:
            found = _Unpickler(archive).load()
    except Exception as error:
        # A damaged archive or pickle raises almost anything; whatever it is, the file is no state dict.
        reason = " ".join(str(error).split())[:160]
        raise ModelError(f"{path}: cannot be read ({reason}); needed a PyTorch state dict of plain tensors") from error
    for wrapper in _WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(wrapper), Mapping):
            found = found[wrapper]
    if not isinstance(found, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, np.ndarray) for name, tensor in found.items()
    ):
        raise ModelError(f"{path}: holds a {type(found).__name__} of other things; needed a state dict of tensors")
    return dict(found)


class _Unpickler(pickle.Unpickler):
    def __init__(self, archive: zipfile.ZipFile) -> None:
        size = sum(entry.file_size for entry in archive.infolist())
        if size > LARGEST_BYTES:
            raise ValueError(f"{size} bytes of contents; at most {LARGEST_BYTES} allowed")
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(pickles) != 1:
            raise ValueError(f"{len(pickles)} files data.pkl in the archive; needed one")
        self._archive = archive
        self._folder = pickles[0].removesuffix("data.pkl")
        order = self._folder + "byteorder"
        if order in archive.namelist() and archive.read(order) != b"little":
            raise ValueError("its numbers are not little-endian")
        super().__init__(io.BytesIO(archive.read(pickles[0])))

    def find_class(self, module: str, name: str) -> object:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if module == "torch" and name in _NUMBERS:
            return _NUMBERS[name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    def persistent_load(self, pid: tuple) -> np.ndarray:
        kind, numbers, key, _, count = pid
        if kind != "storage" or not isinstance(numbers, np.dtype):
            raise pickle.UnpicklingError("a storage of another kind")
        storage = np.frombuffer(self._archive.read(f"{self._folder}data/{key}"), numbers)
        if len(storage) != count:
            raise ValueError(f"storage {key} has {len(storage)} numbers; needed {count}")
        return storage


def _rebuild(storage: np.ndarray, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object
             ) -> np.ndarray:
    reach = sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    # With strides of nothing a few numbers could be made to fill any memory.
    count = math.prod(shape)
    if min(offset, *shape, *strides, 0) < 0 or count > len(storage) or (count and offset + reach >= len(storage)):
        raise ValueError(f"a tensor {list(shape)}, strides {list(strides)}, lies outside its {len(storage)} numbers")
    steps = [stride * storage.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps).copy()
