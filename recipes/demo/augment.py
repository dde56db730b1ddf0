"""What happens to clean synthetic speech on its way to the recogniser: silence, room, level, noise."""

from dataclasses import dataclass

import numpy as np
from scipy.signal import fftconvolve, lfilter

from recipes.demo.speech import RATE, Corpus

SPAN_TYPE = np.int64


@dataclass(frozen=True)
class Example:
    """`samples` float32 (time,) in the range of 16 bit; `text`; `spans` (characters, 2) in samples."""

    samples: np.ndarray
    text: str
    spans: np.ndarray


def _pink(random: np.random.Generator, count: int) -> np.ndarray:
    """Noise that falls 3 dB an octave (a well-known filter of three poles), roughly of unit level."""
    zeros = [0.049922035, -0.095993537, 0.050612699, -0.004408786]
    poles = [1.0, -2.494956002, 2.017265875, -0.522189400]
    noise = lfilter(zeros, poles, random.standard_normal(count, dtype=np.float32))
    return (noise / (noise.std() + 1e-9)).astype(np.float32)


def noise(random: np.random.Generator, count: int) -> np.ndarray:
    """White or pink noise of unit level."""
    if random.random() < 0.5:
        return random.standard_normal(count, dtype=np.float32)
    return _pink(random, count)


def room(random: np.random.Generator, sound: np.ndarray) -> np.ndarray:
    """Add a decaying random response of 0.1 to 0.5 s behind the direct sound; the length stays."""
    seconds = random.uniform(0.1, 0.5)
    count = int(seconds * RATE)
    tail = random.standard_normal(count, dtype=np.float32) * np.exp(-6.9 * np.arange(count) / count)
    tail[: int(random.uniform(0.002, 0.02) * RATE)] = 0.0
    tail *= 10 ** (-random.uniform(3, 15) / 20) / (np.sqrt((tail**2).sum()) + 1e-9)
    tail[0] = 1.0
    return fftconvolve(sound, tail.astype(np.float32))[: len(sound)].astype(np.float32)


def level(random: np.random.Generator, sound: np.ndarray) -> np.ndarray:
    """Gain of -15 to +5 dB and, mostly, noise of 8 to 40 dB below the speech."""
    power = float(np.sqrt((sound**2).mean()))
    if random.random() < 0.85 and power > 0:
        sound = sound + noise(random, len(sound)) * power * 10 ** (-random.uniform(8, 40) / 20)
    sound = sound * 10 ** (random.uniform(-15, 5) / 20)
    return np.clip(np.round(sound), -32768, 32767).astype(np.float32)


def _silence(random: np.random.Generator, longest: float) -> np.ndarray:
    """Nothing every fifth time, otherwise up to `longest` seconds."""
    seconds = 0.0 if random.random() < 0.2 else random.uniform(0, longest)
    return np.zeros(int(seconds * RATE), dtype=np.float32)


def example(random: np.random.Generator, corpus: Corpus, indices: list[int]) -> Example:
    """Utterances with pauses of 0.1 to 0.6 s between them, and everything that happens on the way."""
    pieces, spans, text = [_silence(random, 0.8)], [], ""
    at = len(pieces[0])
    for index in indices:
        sound, written, span = corpus[index]
        pieces.append(sound.astype(np.float32) * 10 ** (random.uniform(-3, 0) / 20))
        spans.append(span + at)
        text += written
        pieces.append(np.zeros(int(random.uniform(0.1, 0.6) * RATE), dtype=np.float32))
        at += len(pieces[-1]) + len(pieces[-2])
    pieces[-1] = _silence(random, 1.0)
    sound = np.concatenate(pieces)
    if random.random() < 0.3:
        sound = room(random, sound)
    return Example(level(random, sound), text, np.concatenate(spans).astype(SPAN_TYPE))


def silent_example(random: np.random.Generator) -> Example:
    """Noise or digital silence of 0.6 to 4 s without any speech."""
    count = int(random.uniform(0.6, 4.0) * RATE)
    loudness = 0.0 if random.random() < 0.2 else 10 ** random.uniform(0, 3.3)
    sound = np.round(noise(random, count) * loudness).astype(np.float32)
    return Example(sound.clip(-32768, 32767), "", np.zeros((0, 2), dtype=SPAN_TYPE))
