from __future__ import annotations

import tempfile
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_server.bench.speech import Speech
from stream_server.errors import SettingsError


def write(path: Path, samples: np.ndarray, rate: int = 16_000, channels: int = 1) -> Path:
    with wave.open(str(path), "wb") as recording:
        recording.setnchannels(channels)
        recording.setsampwidth(2)
        recording.setframerate(rate)
        recording.writeframes(samples.astype("<i2").tobytes())
    return path


def test_recordings_are_joined_in_the_order_of_their_names_and_loop(tmp_path: Path) -> None:
    write(tmp_path / "b.wav", np.arange(5, 8))
    write(tmp_path / "a.wav", np.arange(5))
    speech = Speech(tmp_path)
    assert speech.take(6, 4).tolist() == [6, 7, 0, 1]
    assert speech.take(8 * 1_000_000 + 1, 2).tolist() == [1, 2]


@given(length=st.integers(1, 12), start=st.integers(0, 60), count=st.integers(0, 40))
def test_what_is_taken_is_the_loop_from_there_on(length: int, start: int, count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        speech = Speech(write(Path(folder) / "a.wav", np.arange(length)))
    assert speech.take(start, count).tolist() == [place % length for place in range(start, start + count)]


def test_the_shipped_recordings_are_speech_enough() -> None:
    assert Speech().seconds > 20


@pytest.mark.parametrize("make", [
    lambda path: write(path / "x.wav", np.zeros(9), rate=8_000),
    lambda path: write(path / "x.wav", np.zeros(8), channels=2),
    lambda path: write(path / "x.wav", np.zeros(0)),
    lambda path: (path / "x.wav").write_bytes(b"no recording"),
    lambda path: (path / "x.txt").write_bytes(b""),
], ids=["rate", "channels", "empty", "no wave file", "no file"])
def test_what_cannot_be_used_is_told_with_what_is_needed(make, tmp_path: Path) -> None:
    make(tmp_path)
    with pytest.raises(SettingsError, match=r"--audio .*needed .*16000 Hz, mono, 16 bit"):
        Speech(tmp_path)
