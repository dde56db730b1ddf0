"""Words in, marks out: texts of many sessions in batches, each in bounded pieces.

FunASR's `CTTransformer.inference` and `CTTransformerStreaming.inference` (funasr/models/ct_transformer/model.py,
ct_transformer_streaming/model.py) read a text 20 words at a time, each time together with what they read since the last
sentence ended. So does this, for any number of texts at once; and it gives what a session must keep until its next
words come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from stream_server.models.punctuation import Punctuation
from stream_server.models.punctuation_architecture import NO_MARK
from stream_server.speech.punctuated import ENDS, Carry, Marked, Word, Words, words_of

PIECE = 20
"""Words that are read at a time, unless another number is asked for."""

LONG_SENTENCE = 200
"""Words after which a comma ends the sentence, where no mark did."""

LONGEST_SENTENCE, KEPT_OF_IT = 400, 100
"""Words after which all but the last ones get their marks, even if there is not a comma among them. FunASR would go on
reading them again and again."""

LONGEST_CARRY = 200
"""Words that a session keeps at the most; FunASR keeps all since the last sentence ended."""

_MOST_PADDED_WORDS = 8192
_UNKNOWN = "<unk>"
_COMMA = "，"


class Punctuator:
    """Keeps nothing between calls, so that threads may share it."""

    def __init__(
        self, network: Punctuation, vocabulary: Sequence[str], cut: Callable[[str], list[Word]] = words_of,
        piece: int = PIECE,
    ) -> None:
        """`vocabulary[id]` is the word of that id; it has `<unk>` for the words that it has not. `cut` finds the words
        of a text, of which `piece` are read at a time (FunASR's `split_size`)."""
        self._network, self._cut, self._piece = network, cut, piece
        self._ids: Mapping[str, int] = {word: id_ for id_, word in enumerate(vocabulary)}
        self._unknown = self._ids[_UNKNOWN]
        architecture = network.architecture
        self._marks = ["" if mark in (NO_MARK, _UNKNOWN) else mark for mark in architecture.marks]
        self._end = self._marks[architecture.end]

    def words(self, text: str) -> list[Word]:
        """The words of `text` that this model reads."""
        return self._cut(text)

    def step(self, texts: Sequence[Words]) -> list[Marked]:
        """Marks for the new words of each text; what a text gets does not depend on the others."""
        readings = [_Reading([*text.carry.words, *text.words], len(text.carry.words)) for text in texts]
        for reading in readings:
            reading.ids = [self._ids.get(word, self._unknown) for word in reading.words]
        while unread := [reading for reading in readings if not reading.done]:
            for reading in unread:
                reading.take(self._piece)
            for batch in _batches(unread):
                self._read(batch)
        return [self._marked(text, reading) for text, reading in zip(texts, readings, strict=True)]

    def _read(self, batch: list[_Reading]) -> None:
        labels, finite = self._label([reading.piece for reading in batch], [reading.context for reading in batch])
        for reading, row, fine in zip(batch, labels, finite, strict=True):
            if fine:
                reading.accept([self._marks[label] for label in row], self._end)
            else:
                reading.fail()

    @torch.inference_mode()
    def _label(self, pieces: Sequence[Sequence[int]], context: Sequence[int]) -> tuple[Iterator[list[int]], list[bool]]:
        device = self._network.embed.weight.device
        counts = torch.tensor([len(piece) for piece in pieces])
        longest = int(counts.max())
        ids = torch.tensor([[*piece, *[0] * (longest - len(piece))] for piece in pieces])
        inside = torch.arange(longest) < counts[:, None]
        scores: Tensor = self._network(ids.to(device), inside.to(device), torch.tensor(context, device=device))
        finite = (scores.isfinite().all(-1) | ~inside.to(device)).all(1).tolist()
        labels = scores.argmax(-1).tolist()
        return (row[: len(piece)] for row, piece in zip(labels, pieces, strict=True)), finite

    def _marked(self, text: Words, reading: _Reading) -> Marked:
        before = len(text.carry.words)
        marks = reading.marks[before:]
        if marks and text.is_final and marks[-1] not in ENDS and not reading.failed:
            marks[-1] = self._end
        ended = marks[-1] in ENDS if marks else text.carry.ended
        carry = Carry() if text.is_final else Carry(reading.open_sentence(), ended)
        error = "the model's numbers overflowed" if reading.failed else None
        return Marked(marks, carry, reading.marks[before - 1] if before and marks else "", error)


class _Reading:
    """A text on its way through the model: `marks` of the words read so far, but for those of an open sentence."""

    def __init__(self, words: list[str], context: int) -> None:
        self.words, self.context = words, context
        self.ids: list[int] = []
        self.marks: list[str] = []
        self.failed = False
        # Of text that was all seen before nothing is asked.
        self.done = len(words) == context
        self._read = 0

    @property
    def piece(self) -> list[int]:
        return self.ids[len(self.marks) : self._read]

    def take(self, words: int) -> None:
        self._read = min(self._read + words, len(self.ids))

    def accept(self, marks: list[str], end: str) -> None:
        """Marks of the piece; those of whole sentences stand."""
        if self._read == len(self.ids):
            self.marks += marks
            self.done = True
            return
        last = _last_end(marks)
        comma = _last_comma(marks)
        if last < 0 and len(marks) > LONG_SENTENCE and comma >= 0:
            last = comma
            marks[last] = end
        if last < 0 and len(marks) > LONGEST_SENTENCE:
            last = len(marks) - KEPT_OF_IT - 1
        self.marks += marks[: last + 1]

    def fail(self) -> None:
        self.failed = self.done = True
        self.marks = [""] * len(self.words)

    def open_sentence(self) -> tuple[str, ...]:
        """The words since the last sentence ended, but no more than may be carried."""
        if self.failed:
            return ()
        return tuple(self.words[_last_end(self.marks) + 1 :][-LONGEST_CARRY:])


def _last_end(marks: Sequence[str]) -> int:
    """Where the last sentence ended that surely ended, or -1. The last word may yet get another mark, and as FunASR
    does, this looks for no end in the first two."""
    return next((place for place in range(len(marks) - 2, 1, -1) if marks[place] in ENDS), -1)


def _last_comma(marks: Sequence[str]) -> int:
    return next((place for place in range(len(marks) - 2, 1, -1) if marks[place] == _COMMA), -1)


def _batches(readings: list[_Reading]) -> Iterator[list[_Reading]]:
    """Rows of like lengths, so that little of a batch is padding."""
    batch: list[_Reading] = []
    for reading in sorted(readings, key=lambda reading: len(reading.piece)):
        length = len(reading.piece)
        if batch and (length > 2 * len(batch[0].piece) + PIECE or (len(batch) + 1) * length > _MOST_PADDED_WORDS):
            yield batch
            batch = []
        batch.append(reading)
    if batch:
        yield batch
