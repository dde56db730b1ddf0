"""An engine that recognises markers in the audio: what is lost, doubled or out of order shows at once.

It gives a marker's token as the real model gives a token: in the hop in which the look-ahead behind it is complete,
and the tail with the last chunk. It holds every caller to the contract of chunks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from stream_server.audio.windows import Window
from stream_server.speech.recognition import Chunk, Guess, Hypothesis, SecondPass, Span
from stream_server.units import FRAME_SAMPLES
from tests.support.audio import markers

UNSURE = 0x1000


def han(number: int) -> str:
    """One Chinese character for each marker."""
    return chr(0x4E00 + number)


def unsure(character: str) -> str:
    """Another character, for one marker alone too: what `han` gives is held to be as long as it is undecided."""
    return chr(ord(character) + UNSURE) if len(character) == 1 else character


def half_words(number: int) -> str:
    """Two markers to an English word: an even one begins it, the odd one after it completes it."""
    word = "".join(chr(ord("b") + int(digit)) for digit in f"{number // 2:04d}")
    return f"{word}@@" if number % 2 == 0 else f"z{word}"


SECOND = 0x3000
"""Added to a character by the second pass, so that one sees which pass a text is of."""


def han_again(number: int) -> str:
    """As the second pass writes it."""
    return chr(ord(han(number)) + SECOND)


@dataclass
class _Stream:
    window: Window
    audio: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int16))
    kept_from: int = 0
    sequence: int = 0
    received: int = 0
    given_up_to: int = 0
    waiting: list[tuple[int, int]] = field(default_factory=list)
    patience: int = 0
    undecided: list[tuple[int, int]] = field(default_factory=list)


class ScriptedEngine:
    """Answers one session's chunks. `fail_on(generation, sequence)` says which chunks it fails on.

    As many tokens as there are hotwords stay undecided, and are other ones until they are decided. It cannot spell
    words with a "+". What a chunk that closes a segment is to be told of it later is put into `second_passes`.
    """

    def __init__(self, spell: Callable[[int], str] = han,
                 fail_on: Callable[[int, int], bool] = lambda generation, sequence: False) -> None:
        self.spell = spell
        self.fail_on = fail_on
        self.chunks = 0
        self.samples = 0
        self.streams: dict[int, _Stream] = {}
        self.newest = -1
        self.second_passes: list[SecondPass] = []

    def answer(self, chunk: Chunk) -> Hypothesis:
        stream = self._stream(chunk)
        self.chunks += 1
        self.samples += len(chunk.samples)
        if self.fail_on(chunk.generation, chunk.sequence):
            del self.streams[chunk.generation]
            return Hypothesis(chunk.generation, chunk.sequence, error="scripted failure", last=chunk.last)
        stream.waiting += [(stream.received + index, number) for index, number in markers(chunk.samples)]
        stream.received += len(chunk.samples)
        stream.sequence += 1
        up_to = stream.received if chunk.last else stream.received - chunk.window.look_ahead * FRAME_SAMPLES
        self._hear_again(stream, chunk)
        given = [(index, number) for index, number in stream.waiting if index < up_to]
        stream.waiting = stream.waiting[len(given) :]
        settled, unspelt = [], None
        if chunk.hotwords is not None:
            settled, stream.undecided = stream.undecided, []
            stream.patience = len(chunk.hotwords.words)
            unspelt = [word for word, _ in chunk.hotwords.words if "+" in word]
        given = stream.undecided + given
        certain = len(given) if chunk.last else max(0, len(given) - stream.patience)
        stream.undecided = given[certain:]
        if chunk.last:
            del self.streams[chunk.generation]
        pieces = [*(unsure(self.spell(number)) for _, number in settled),
                  *(self.spell(number) for _, number in given[:certain]),
                  *(unsure(self.spell(number)) for _, number in given[certain:])]
        frames = [index // FRAME_SAMPLES for index, _ in settled + given]
        return Hypothesis(chunk.generation, chunk.sequence, pieces, frames, chunk.last, None, [90] * len(pieces),
                          len(given) - certain, unspelt)

    def guess(self, guess: Guess) -> None:
        """A guess is of the stream that is there, and brings what of its span is not."""
        stream = self.streams.get(guess.generation)
        if stream is not None and guess.span is not None:
            assert len(guess.samples) <= stream.window.hop_samples
            assert stream.kept_from <= guess.span.begin < guess.span.end
            assert guess.span.end == len(stream.audio) + len(guess.samples) or len(guess.samples) == 0
            assert guess.span.end <= len(stream.audio) + len(guess.samples)

    def forget_everything(self) -> None:
        """The engine died, and another took its place."""
        self.streams.clear()
        self.second_passes.clear()

    def _hear_again(self, stream: _Stream, chunk: Chunk) -> None:
        """The second pass hears the same markers, each around its sample."""
        if chunk.keep_from is None:
            assert chunk.closed is None, "what is heard again has to be kept"
            return
        assert chunk.keep_from >= stream.kept_from, "what was let go of is wanted again"
        stream.kept_from = chunk.keep_from
        stream.audio = np.concatenate([stream.audio, chunk.samples])
        if chunk.closed is None:
            return
        begin, end = chunk.closed
        assert chunk.keep_from <= begin < end <= len(stream.audio)
        heard = [(begin + index, number) for index, number in markers(stream.audio[begin:end])]
        spans = [Span(max(index - 50, 0), index + 50) for index, _ in heard]
        pieces = [han_again(number) for _, number in heard]
        self.second_passes.append(SecondPass(chunk.generation, chunk.sequence, pieces, spans, [90] * len(pieces)))

    def _stream(self, chunk: Chunk) -> _Stream:
        assert chunk.samples.dtype == np.int16
        if chunk.first:
            assert chunk.generation > self.newest, "generations rise"
            assert not self.streams, "one stream at a time"
            self.newest = chunk.generation
            self.streams[chunk.generation] = _Stream(chunk.window)
        stream = self.streams[chunk.generation]
        assert chunk.sequence == stream.sequence
        assert chunk.window == stream.window
        hop = chunk.window.hop_samples
        assert len(chunk.samples) <= hop if chunk.last else len(chunk.samples) == hop
        return stream
