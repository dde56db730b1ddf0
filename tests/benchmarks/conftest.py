"""A small model and its export for sherpa-onnx, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.peers.sherpa_model import SherpaModel, exported
from stream_server.models.checkpoint import Model, load_directory
from tests.support.small_model import write_small_model


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def model(model_folder: Path) -> Model:
    return load_directory(model_folder)


@pytest.fixture(scope="session")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exports")


@pytest.fixture(scope="session")
def files(model: Model, exports: Path) -> SherpaModel:
    for package in ("onnx", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} is absent: pip install '.[bench]'")
    return exported(model, exports)
