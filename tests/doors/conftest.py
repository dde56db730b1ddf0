from __future__ import annotations

import numpy as np
import pytest

from tests.doors.conversations import speech
from tests.support import recordings


@pytest.fixture(scope="session")
def utterance() -> np.ndarray:
    """Some seconds of speech: real where recordings are at hand."""
    return recordings.corpus("aishell")[0] if recordings.present() else speech(3.0)
