"""PyTorch's files without PyTorch: the same tensors, no code run, and one error for all that is broken."""

from __future__ import annotations

import collections
import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_server.errors import ModelError
from stream_server.speech.fsmn import tensors
from stream_server.speech.fsmn.tensors import read_tensors
from tests.support import recordings
from tests.support.vad_reference import FOLDER

BASE = torch.arange(24.0).reshape(2, 3, 4)


def saved(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def read(directory: Path, content: bytes) -> dict[str, np.ndarray]:
    path = directory / "model.pt"
    path.write_bytes(content)
    return read_tensors(path)


@pytest.mark.parametrize("state", [
    {"a": BASE},
    {"part": BASE[1], "turned": BASE.permute(2, 0, 1), "every second": BASE[:, :, ::2], "row": BASE[0, 0]},
    {"scalar": torch.tensor(3.5), "empty": torch.empty(0, 3), "repeated": torch.ones(1).expand(1)},
    {"half": BASE.half(), "double": BASE.double(), "whole": torch.arange(3), "short": torch.arange(3).int()},
    collections.OrderedDict(b=BASE),
    torch.nn.Linear(3, 4).state_dict(),
], ids=["plain", "views", "small", "kinds", "ordered", "module"])
def test_tensors_are_what_torch_loads(tmp_path: Path, state: dict):
    found = read(tmp_path, saved(state))
    assert list(found) == list(state)
    for name, tensor in state.items():
        assert found[name].dtype == tensor.numpy().dtype
        np.testing.assert_array_equal(found[name], tensor.numpy())


def test_the_real_model_is_what_torch_loads():
    if not recordings.present():
        pytest.skip(recordings.ABSENT)
    found, wanted = read_tensors(FOLDER / "vad.pb"), torch.load(FOLDER / "vad.pb", weights_only=True)
    assert list(found) == list(wanted)
    for name, tensor in wanted.items():
        np.testing.assert_array_equal(found[name], tensor.numpy())


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model"])
def test_a_wrapped_state_dict_is_found(tmp_path: Path, wrapper: str):
    assert list(read(tmp_path, saved({"epoch": 3, wrapper: {"a": BASE}}))) == ["a"]


class Malice:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("executed"),))


def archive(pickled: bytes, **files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        zipped.writestr("model/data.pkl", pickled)
        for name, content in files.items():
            zipped.writestr(f"model/{name}", content)
    return buffer.getvalue()


def test_code_in_a_file_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for content in (saved({"a": Malice()}), archive(pickle.dumps(Malice()))):
        with pytest.raises(ModelError, match="it asks for"):
            read(tmp_path, content)
    assert not (tmp_path / "executed").exists()
    pickle.loads(pickle.dumps(Malice()))
    assert (tmp_path / "executed").exists(), "the malice works where it is let"


class Storage:
    """Pickles as a reference to the storage `0` with so many numbers."""

    def __init__(self, count: int) -> None:
        self.count = count


class Forger(pickle.Pickler):
    def persistent_id(self, thing: object) -> tuple | None:
        return ("storage", torch.FloatStorage, "0", "cpu", thing.count) if isinstance(thing, Storage) else None


class Forged:
    def __init__(self, *arguments: object) -> None:
        self.arguments = arguments

    def __reduce__(self) -> tuple:
        return (torch._utils._rebuild_tensor_v2, self.arguments)


def forged(count: int, *geometry: object) -> bytes:
    buffer = io.BytesIO()
    Forger(buffer, protocol=2).dump({"a": Forged(Storage(count), *geometry, False, collections.OrderedDict())})
    return archive(buffer.getvalue(), **{"data/0": np.arange(6, dtype="<f4").tobytes()})


def test_a_forged_file_that_is_honest_is_read(tmp_path: Path):
    np.testing.assert_array_equal(read(tmp_path, forged(6, 1, (2, 2), (1, 3)))["a"], [[1, 4], [2, 5]])


@pytest.mark.parametrize("geometry", [
    (6, 0, (7,), (1,)), (6, 1, (6,), (1,)), (6, 0, (2, 2), (1, 5)), (6, -1, (2,), (1,)), (6, 0, (-2,), (1,)),
    (6, 0, (2,), (-1,)), (6, 0, (10**9,), (0,)), (6, 0, (2, 2), (1,)), (7, 0, (6,), (1,)), (6, 0, ("2",), (1,)),
    (6, 0, None, (1,)), (6, 7, (0,), (1,)),
])
def test_a_tensor_outside_its_storage_is_refused_or_empty(tmp_path: Path, geometry: tuple):
    if geometry == (6, 7, (0,), (1,)):
        assert read(tmp_path, forged(*geometry))["a"].size == 0
        return
    with pytest.raises(ModelError, match="cannot be read"):
        read(tmp_path, forged(*geometry))


@pytest.mark.parametrize(("content", "told"), [
    (b"", "cannot be read"),
    (b"no archive", "cannot be read"),
    (saved([BASE]), "holds a list of other things"),
    (saved({"a": 1}), "holds a dict of other things"),
    (saved({1: BASE}), "holds a dict of other things"),
    (archive(b""), "cannot be read"),
    (archive(pickle.dumps({}), byteorder=b"big"), "not little-endian"),
    (saved({"a": BASE.bool()}), "it asks for torch.BoolStorage"),
])
def test_what_cannot_be_read_is_told(tmp_path: Path, content: bytes, told: str):
    with pytest.raises(ModelError, match=told) as raised:
        read(tmp_path, content)
    assert str(raised.value).startswith(str(tmp_path / "model.pt")) and "\n" not in str(raised.value)


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tensors, "LARGEST_BYTES", 200)
    with pytest.raises(ModelError, match="bytes of contents; at most 200 allowed"):
        read(tmp_path, saved({"a": BASE}))


GOOD = saved({"a": BASE, "b": BASE[0]})


@settings(max_examples=200, deadline=None)
@given(changes=st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=4),
       length=st.integers(0, len(GOOD)))
def test_a_damaged_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, changes, length: int):
    damaged = bytearray(GOOD)
    for at, value in changes:
        damaged[at] = value
    for content in (bytes(damaged), GOOD[:length]):
        try:
            found = read(tmp_path_factory.getbasetemp(), content)
        except ModelError:
            continue
        assert all(isinstance(tensor, np.ndarray) for tensor in found.values())


@settings(max_examples=200, deadline=None)
@given(changes=st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_damaged_pickle_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, changes):
    with zipfile.ZipFile(io.BytesIO(GOOD)) as zipped:
        content = {name.partition("/")[2]: zipped.read(name) for name in zipped.namelist()}
    pickled = bytearray(content.pop("data.pkl"))
    for at, value in changes:
        pickled[at % len(pickled)] = value
    try:
        found = read(tmp_path_factory.getbasetemp(), archive(bytes(pickled), **content))
    except ModelError:
        return
    assert all(isinstance(tensor, np.ndarray) for tensor in found.values())
