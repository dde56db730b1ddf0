"""Speech whose beginnings and ends are known: recordings trimmed to their speech, joined with known silences, in noise.

A recording's speech is known from its level, while nothing has been added to it: mean squares over 20 ms, every 10 ms.
Speech is what lies `RISE_DB` above the recording's background (the level below which a tenth of it is), and no more
than `DEPTH_DB` below its loud parts (that below which nineteen twentieths are), for 50 ms or longer. Before and behind
all else a stretch of less than 100 ms that 150 ms of pause part from the rest is a click or a breath, and none. From
the first stretch to the last is the utterance; one with a pause of more than half a second inside is left out. It keeps
100 ms of its own background on both sides, faded to the quiet of the track.

A track is made of turns of one to three utterances: pauses of 300 to 500 ms inside a turn, which a segment ought to
span, and of 1.5 to 3 s between turns, at which it ought to end; each part begins with half a minute without speech.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from stream_server.units import SAMPLE_RATE, ms_to_samples
from tests.support import recordings

RISE_DB, DEPTH_DB = 10.0, 35.0
SPEECH_LEVEL = 0.05
"""Root mean square of all utterances' speech: 26 dB below full scale."""
QUIET_LEVEL = SPEECH_LEVEL / 10 ** (45 / 20)
"""Of the white noise that is there where nothing else is: 45 dB below speech."""
VOICES_IN_BABBLE = 12

_SHIFT, _WINDOW = 160, 320
_SHORTEST = 5
_LONGEST_CLICK, _CLICKS_DISTANCE = 10, 15
_LONGEST_PAUSE = 50
_MARGIN = ms_to_samples(100)
_NO_SPEECH_S = 30
_BLOCK = 1 << 19
_AISHELL, _FLEURS = 90, 15


@dataclass(frozen=True)
class Noise:
    """What speech is heard in: `clean`, `pink` or `babble`, `ratio` dB below it."""

    kind: str
    ratio: int | None = None

    @property
    def name(self) -> str:
        return self.kind if self.ratio is None else f"{self.kind} {self.ratio} dB"


@dataclass(frozen=True)
class Track:
    """int16 samples, the turns in them and the utterances in those: [start, end) in samples."""

    samples: np.ndarray
    turns: list[list[tuple[int, int]]]


def levels(samples: np.ndarray) -> np.ndarray:
    """In dB, of the windows that begin every 160 samples."""
    squares = np.concatenate(([0.0], np.cumsum(np.square(samples.astype(np.float64)))))
    starts = np.arange(0, max(len(samples) - _WINDOW, 0) + 1, _SHIFT)
    return 10 * np.log10((squares[np.minimum(starts + _WINDOW, len(samples))] - squares[starts]) / _WINDOW + 1e-9)


def speech_bounds(samples: np.ndarray) -> tuple[int, int, int] | None:
    """Start and end of the speech in a recording, and the longest pause in it, in samples; None without speech."""
    level = levels(samples)
    background, loud = np.percentile(level, [10, 95])
    stretches = _stretches(level >= max(background + RISE_DB, loud - DEPTH_DB))
    stretches = [(begin, end) for begin, end in stretches if end - begin >= _SHORTEST]
    while len(stretches) > 1 and _is_click(stretches[0], stretches[1][0] - stretches[0][1]):
        del stretches[0]
    while len(stretches) > 1 and _is_click(stretches[-1], stretches[-1][0] - stretches[-2][1]):
        del stretches[-1]
    if not stretches:
        return None
    pauses = [after[0] - before[1] for before, after in zip(stretches, stretches[1:], strict=False)]
    # A window stands for the 10 ms in its middle.
    offset = (_WINDOW - _SHIFT) // 2
    return (stretches[0][0] * _SHIFT + offset, stretches[-1][1] * _SHIFT + offset, max(pauses, default=0) * _SHIFT)


def _is_click(stretch: tuple[int, int], pause: int) -> bool:
    return stretch[1] - stretch[0] < _LONGEST_CLICK and pause > _CLICKS_DISTANCE


def _stretches(wanted: np.ndarray) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], wanted, [False]))))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


@functools.cache
def utterances() -> list[tuple[np.ndarray, int, int]]:
    """Recordings as fp64 at one level, and where in them speech is."""
    found = []
    for samples in [*recordings.corpus("aishell")[:_AISHELL], *recordings.corpus("fleurs")[:_FLEURS]]:
        bounds = speech_bounds(samples)
        if bounds is None or bounds[2] > _LONGEST_PAUSE * _SHIFT:
            continue
        begin, end = max(bounds[0] - _MARGIN, 0), min(bounds[1] + _MARGIN, len(samples))
        sound = samples[begin:end] / 32768
        start, stop = bounds[0] - begin, bounds[1] - begin
        sound *= SPEECH_LEVEL / np.sqrt(np.mean(np.square(sound[start:stop])))
        sound[:start] *= np.linspace(0, 1, start)
        sound[stop:] *= np.linspace(1, 0, len(sound) - stop)
        found.append((sound, start, stop))
    return found


def track(noise: Noise, seed: int) -> Track:
    """All utterances in turns. The same seed gives the same silences and turns for every noise."""
    chance = np.random.default_rng(seed)
    parts = [np.zeros(_NO_SPEECH_S * SAMPLE_RATE)]
    position = len(parts[0])
    turns: list[list[tuple[int, int]]] = []
    waiting = list(utterances())
    chance.shuffle(waiting)
    # Silence is counted from where speech ended, in or behind the recording's own background.
    owed = 0
    while waiting:
        turn: list[tuple[int, int]] = []
        for _ in range(min(chance.integers(1, 4), len(waiting))):
            sound, start, stop = waiting.pop()
            pause = chance.uniform(0.3, 0.5) if turn else chance.uniform(1.5, 3.0)
            silence = max(round(pause * SAMPLE_RATE) - owed - start, 0)
            parts += [np.zeros(silence), sound]
            position += silence
            turn.append((position + start, position + stop))
            position += len(sound)
            owed = len(sound) - stop
        turns.append(turn)
    parts.append(np.zeros(3 * SAMPLE_RATE))
    sound = np.concatenate(parts)
    sound += QUIET_LEVEL * chance.standard_normal(len(sound))
    if noise.ratio is not None:
        sound += SPEECH_LEVEL / 10 ** (noise.ratio / 20) * _noise(noise.kind, len(sound), seed)
    return Track((sound * 32768).round().clip(-32768, 32767).astype(np.int16), turns)


def _noise(kind: str, length: int, seed: int) -> np.ndarray:
    """Of the level 1."""
    chance = np.random.default_rng(seed + 1_000)
    sound = _pink(length, chance) if kind == "pink" else _babble(length, chance)
    return sound / np.sqrt(np.mean(np.square(sound)))


def _pink(length: int, chance: np.random.Generator) -> np.ndarray:
    """Noise whose power falls by 3 dB an octave, above 50 Hz; in blocks of a length that is quickly transformed."""
    slope = 1 / np.sqrt(np.maximum(np.fft.rfftfreq(_BLOCK, 1 / SAMPLE_RATE), 50))
    blocks = [np.fft.irfft(np.fft.rfft(chance.standard_normal(_BLOCK)) * slope) for _ in range(length // _BLOCK + 1)]
    return np.concatenate(blocks)[:length]


def _babble(length: int, chance: np.random.Generator) -> np.ndarray:
    """Many voices at once, each saying the recordings backwards in an order of its own."""
    sound = np.zeros(length)
    sounds = [sound[start:stop][::-1] for sound, start, stop in utterances()]
    for _ in range(VOICES_IN_BABBLE):
        order = chance.permutation(len(sounds))
        voice = np.concatenate([sounds[place] for place in order])
        voice = np.tile(voice, length // len(voice) + 2)
        start = chance.integers(0, len(voice) - length)
        sound += voice[start:start + length]
    return sound
