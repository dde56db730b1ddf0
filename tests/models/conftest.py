"""Models and FunASR's counterpart for the tests of floor 4, each built once."""

from __future__ import annotations

import os

# Threads that spin while they wait are slow where tests share a machine's cores. Read when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import dataclasses

import pytest

from stream_server.models.architecture import PARAFORMER_LARGE
from stream_server.models.checkpoint import Model, random_model
from tests.support import recordings
from tests.support.reference import Reference

SMALL = dataclasses.replace(PARAFORMER_LARGE, encoder_layers=4, decoder_layers=2)
"""The real architecture, with 4 and 2 layers."""


@pytest.fixture(scope="session")
def small() -> Model:
    return random_model(SMALL)


@pytest.fixture(scope="session")
def small_reference(small: Model) -> Reference:
    return Reference(small)


@pytest.fixture
def speech() -> None:
    """Asked for by tests that need real recordings."""
    if not recordings.present():
        pytest.skip(recordings.ABSENT)
