"""Speech from espeak-ng: voices, synthesis with the time of every character, the training corpus.

espeak-ng's library is called, not its program, because only the library tells where each character
ends.  It keeps its voice in global variables, so every process synthesises for itself.
"""

import ctypes
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from scipy.signal import resample_poly

from recipes.demo import texts

RATE = 16000
ESPEAK_RATE = 22050
# The pinyin voice reads characters through their pinyin; the plain `cmn` voice of espeak-ng 1.51 reads the
# pinyin of many characters as English words.
LANGUAGE = "cmn-latn-pinyin"

TRAIN_VARIANTS = (
    "m1 m2 m3 m5 m6 m7 m8 f1 f2 f4 f5 adam Alex Alicia Andrea Andy antonio aunty belinda benjamin boris caleb "
    "david Denis Diogo ed edward Gene Gene2 grandma grandpa Henrique Hugo Jacky klatt klatt2 klatt3 Lee marcelo "
    "Marco Mario max Michael michel miguel Mike Nguyen norbert pablo paul pedro quincy rob robert sandro shelby "
    "steph steph2 steph3 travis victor zac"
).split()
HELD_OUT_VARIANTS = "f3 m4 Annie john linda".split()


@dataclass(frozen=True)
class Voice:
    """One setting of espeak-ng.

    `stretch` resamples the sound as if the mouth were larger (> 1) or smaller (< 1): it moves formants and
    pitch together, which espeak-ng's own variants hardly do.
    """

    variant: str
    words_per_minute: int
    pitch: int
    range: int
    stretch: float = 1.0


@dataclass(frozen=True)
class Utterance:
    """Synthetic speech: `samples` int16 (time,) at 16 kHz; `text`; `spans` int32 (characters, 2) in samples."""

    samples: np.ndarray
    text: str
    spans: np.ndarray
    voice: Voice


class _Value(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    """espeak_EVENT of espeak-ng's speak_lib.h."""

    _fields_ = [
        ("type", ctypes.c_int), ("identifier", ctypes.c_uint), ("text_position", ctypes.c_int),
        ("length", ctypes.c_int), ("audio_position", ctypes.c_int), ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p), ("id", _Value),
    ]  # fmt: skip


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
_SYNCHRONOUS, _PHONEME_EVENTS, _UTF8 = 2, 1, 1
_WORD, _PHONEME = 1, 7
_RATE_PARAMETER, _PITCH_PARAMETER, _RANGE_PARAMETER = 1, 3, 4


class _Espeak:
    """The library, loaded once in each process."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libespeak-ng.so.1")
        if self._library.espeak_Initialize(_SYNCHRONOUS, 500, None, _PHONEME_EVENTS) != ESPEAK_RATE:
            raise RuntimeError("espeak-ng does not start")
        self._pieces: list[np.ndarray] = []
        self._words: dict[int, int] = {}  # sample by position in the text, counted from 1
        self._phonemes: list[tuple[int, bytes]] = []
        self._callback = _CALLBACK(self._receive)  # kept: the library holds only its address
        self._library.espeak_SetSynthCallback(self._callback)

    def _receive(self, samples, count: int, events) -> int:  # noqa: ANN001 - ctypes pointers
        if count > 0 and samples:
            self._pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        index = 0
        while events[index].type:
            event = events[index]
            if event.type == _WORD:
                self._words.setdefault(event.text_position, event.sample)
            elif event.type == _PHONEME:
                self._phonemes.append((event.sample, event.id.string))
            index += 1
        return 0

    def say(self, text: str, voice: Voice) -> tuple[np.ndarray, np.ndarray]:
        """Samples int16 at 22.05 kHz, and the (start, end) sample of every character that is not a pause."""
        self._pieces, self._words, self._phonemes = [], {}, []
        if self._library.espeak_SetVoiceByName(f"{LANGUAGE}+{voice.variant}".encode()):
            raise ValueError(f"espeak-ng has no voice {voice.variant}")
        self._library.espeak_SetParameter(_RATE_PARAMETER, voice.words_per_minute, 0)
        self._library.espeak_SetParameter(_PITCH_PARAMETER, voice.pitch, 0)
        self._library.espeak_SetParameter(_RANGE_PARAMETER, voice.range, 0)
        data = text.encode()
        self._library.espeak_Synth(data, len(data) + 1, 0, 1, 0, _UTF8, None, None)
        samples = np.concatenate(self._pieces)
        return samples, self._spans(text, len(samples))

    def phonemes(self, text: str) -> str:
        """What espeak-ng says for a text, tones included, in its own notation."""
        self._library.espeak_SetVoiceByName(LANGUAGE.encode())
        self._library.espeak_TextToPhonemes.restype = ctypes.c_char_p
        data = ctypes.create_string_buffer(text.encode())
        at = ctypes.c_void_p(ctypes.addressof(data))
        return self._library.espeak_TextToPhonemes(ctypes.byref(at), _UTF8, 0).decode()

    def _spans(self, text: str, total: int) -> np.ndarray:
        """A character lasts until the next one, or until the silence (`_:`) that follows it.

        Words that the library reports at other places of the text than characters (0, a comma) are none.
        """
        silences = [at for at, name in self._phonemes if name.startswith(b"_") and name != b"_|"]
        starts = [self._words[at] for at, symbol in enumerate(text, 1) if symbol != texts.PAUSE]
        spans = []
        for start, following in zip(starts, [*starts[1:], total], strict=True):
            spans.append((start, min((at for at in silences if start < at <= following), default=following)))
        return np.array(spans, dtype=np.int64).reshape(-1, 2)


def _synthesise(text: str, voice: Voice) -> Utterance:
    """Speak a text (with `，` for pauses), without silence before the first and after the last character."""
    samples, spans = _Espeak().say(text, voice)
    written = texts.spoken(text)
    if len(spans) != len(written):
        raise ValueError(f"espeak-ng spoke {len(spans)} characters of {text}")
    first, last = spans[0, 0], spans[-1, 1]
    up, down = 320, round(441 / voice.stretch)
    sound = resample_poly(samples[first:last].astype(np.float32), up, down)
    peak = max(1.0, float(np.abs(sound).max()))
    sound = sound * (16000 / peak)  # variants differ by 20 dB in level; the level is set later
    times = (spans - first) * (up / down)
    return Utterance(sound.astype(np.int16), written, times.astype(np.int32), voice)


def _call_into(pipe: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    # Breath and flutter come from the C library's random numbers, which a fork goes on with where its parent was.
    ctypes.CDLL(None).srand(1)
    pipe.send(function(*arguments))
    pipe.close()


def _start(function: Callable[..., Any], *arguments: Any) -> tuple[Connection, BaseProcess]:
    """Call it in a process of its own."""
    context = get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_call_into, args=(theirs, function, arguments), daemon=True)
    process.start()
    theirs.close()
    return ours, process


def _receive(pipe: Connection, process: BaseProcess) -> Any:
    try:
        result = pipe.recv()
    except EOFError:
        raise RuntimeError("espeak-ng failed; its process has said why") from None
    process.join()
    return result


def _phonemes(written: list[str]) -> list[str]:
    espeak = _Espeak()
    return [espeak.phonemes(text) for text in written]


def phonemes(written: list[str]) -> list[str]:
    """What espeak-ng says for each text, tones included, in its own notation."""
    said: list[str] = _receive(*_start(_phonemes, written))
    return said


def synthesise(jobs: Iterable[tuple[str, Voice]], processes: int = 1) -> Iterator[Utterance]:
    """Speak each (text, voice), `processes` at a time.

    Every one in a process of its own: espeak-ng goes on from where the last voice's flutter was, so only a
    fresh one says the same thing for the same job, whatever was said before.  (No pool: its threads and
    forking without end do not go together.)
    """
    running: deque[tuple[Connection, BaseProcess]] = deque()
    for text, voice in jobs:
        running.append(_start(_synthesise, text, voice))
        if len(running) >= processes:
            yield _receive(*running.popleft())
    while running:
        yield _receive(*running.popleft())


def train_voice(random: Random) -> Voice:
    """A voice setting for training."""
    stretch = 1.0 if random.random() < 0.4 else random.uniform(0.87, 1.15)
    return Voice(
        random.choice(TRAIN_VARIANTS), random.randint(130, 230), random.randint(20, 80), random.randint(30, 70), stretch
    )


def held_out_voice(random: Random) -> Voice:
    """A voice setting of a variant that training never uses."""
    return Voice(random.choice(HELD_OUT_VARIANTS), random.randint(130, 230), random.randint(20, 80), 50)


def synthesise_held_out(count: int, seed: int) -> Iterator[tuple[np.ndarray, str, Voice]]:
    """`count` utterances for measurements: (samples int16 (time,) at 16 kHz, text, voice), the same for a seed.

    Texts and voice variants are held out; the sound is clean and has 0.3 s of silence at both ends.
    """
    for utterance in speak_held_out(texts.held_out_texts(count, seed), seed):
        yield utterance.samples, utterance.text, utterance.voice


def speak_held_out(written: list[str], seed: int) -> Iterator[Utterance]:
    """Texts in held-out voices, the same for a seed; the sound is clean and has 0.3 s of silence at both ends."""
    random = Random(f"held-out voices {seed}")
    edge = np.zeros(RATE * 3 // 10, dtype=np.int16)
    for utterance in synthesise([(text, held_out_voice(random)) for text in written]):
        level = 10 ** (random.uniform(-12, 0) / 20)
        sound = (utterance.samples * level).astype(np.int16)
        yield replace(utterance, samples=np.concatenate((edge, sound, edge)), spans=utterance.spans + len(edge))


@dataclass(frozen=True)
class Corpus:
    """All training utterances: one int16 array of sound, one array of spans, and where each utterance lies."""

    sound: np.ndarray
    sound_at: np.ndarray
    spans: np.ndarray
    spans_at: np.ndarray
    written: list[str]

    def __len__(self) -> int:
        return len(self.written)

    def __getitem__(self, index: int) -> tuple[np.ndarray, str, np.ndarray]:
        """(samples int16 (time,), text, spans (characters, 2))."""
        sound = self.sound[self.sound_at[index] : self.sound_at[index + 1]]
        return sound, self.written[index], self.spans[self.spans_at[index] : self.spans_at[index + 1]]


def make_corpus(folder: Path, processes: int) -> Corpus:
    """Synthesise the training texts once and keep them in `folder`."""
    file = folder / "corpus.npz"
    if not file.exists():
        jobs = [(text, train_voice(Random(f"train voice {i}"))) for i, text in enumerate(texts.train_texts())]
        utterances = list(synthesise(jobs, processes))
        part = file.with_suffix(".part.npz")
        np.savez(
            part,
            sound=np.concatenate([u.samples for u in utterances]),
            sound_at=np.cumsum([0, *(len(u.samples) for u in utterances)]),
            spans=np.concatenate([u.spans for u in utterances]),
            spans_at=np.cumsum([0, *(len(u.spans) for u in utterances)]),
        )
        part.rename(file)
    data = np.load(file)
    written = [texts.spoken(text) for text in texts.train_texts()]
    return Corpus(data["sound"], data["sound_at"], data["spans"], data["spans_at"], written)
