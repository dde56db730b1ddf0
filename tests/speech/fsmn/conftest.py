"""FSMN-VAD for its tests: ours and FunASR's, each loaded once. Where the real data is absent, tests skip."""

from __future__ import annotations

import pytest

from stream_server.speech.fsmn.model import Model, load
from tests.support import recordings
from tests.support.vad_reference import FOLDER, FunasrVad


@pytest.fixture(scope="session")
def model() -> Model:
    if not recordings.present():
        pytest.skip(recordings.ABSENT)
    return load(FOLDER)


@pytest.fixture(scope="session")
def funasr_vad() -> FunasrVad:
    if not recordings.present():
        pytest.skip(recordings.ABSENT)
    return FunasrVad()
