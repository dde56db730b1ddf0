"""Real speech for tests and benchmarks: 16 kHz, mono, 16 bit, beside the project at `../shared/data`."""

from __future__ import annotations

import json
import wave
from functools import cache
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data"
ABSENT = f"real recordings are absent: no folder {FOLDER}"


def present() -> bool:
    """Whether the folder is there. Tests skip where it is not; a broken file in it is an error, never a skip."""
    return FOLDER.is_dir()


@cache
def manifest(corpus: str) -> list[dict]:
    """Entries of `aishell`, `fleurs` or `clips`: `audio` (file name), `text` or None, and notes."""
    lines = (FOLDER / corpus / "manifest.jsonl").read_text("utf-8").splitlines()
    entries = [json.loads(line) for line in lines if line.strip()]
    assert entries, f"{corpus}/manifest.jsonl names no recording: tests that go through them would see none"
    return entries


@cache
def samples(corpus: str, name: str) -> np.ndarray:
    """A recording's int16 samples, read-only."""
    with wave.open(str(FOLDER / corpus / name)) as file:
        shape = (file.getframerate(), file.getnchannels(), file.getsampwidth())
        assert shape == (16_000, 1, 2), f"{corpus}/{name} is {shape}; needed 16 kHz, mono, 2 bytes"
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


@cache
def sample(name: str) -> np.ndarray:
    """Synthetic speech that comes with the project, `samples/NAME.wav`: int16 samples, read-only."""
    with wave.open(str(Path(__file__).resolve().parents[2] / "samples" / f"{name}.wav")) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


def corpus(name: str) -> list[np.ndarray]:
    """All recordings of a corpus in its manifest's order."""
    return [samples(name, entry["audio"]) for entry in manifest(name)]


def joined(seconds: float, first: int = 0) -> np.ndarray:
    """So many seconds of AISHELL's utterances one after the other, from the utterance `first` on."""
    parts, missing = [], round(seconds * 16_000)
    utterances = corpus("aishell")
    while missing > 0:
        part = utterances[first % len(utterances)][:missing]
        parts.append(part)
        missing -= len(part)
        first += 1
    return np.concatenate(parts)
