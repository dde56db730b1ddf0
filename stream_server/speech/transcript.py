"""Vocabulary pieces to readable text, as they come.

The spelling is that of FunASR's `sentence_postprocess`: no spaces around Chinese characters and digits, a space
between English words, single letters that follow each other written as one abbreviation ("a i" is "AI").
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

SPECIAL = frozenset({"<s>", "</s>", "<blank>", "<unk>", "<OOV>", "<sos/eos>"})
UNFINISHED = "@@"
IDEOGRAPHS = "\u4e00-\u9fff\u3400-\u4dbf\U00020000-\U000323af"
"""The unified ideographs, then their extensions A and B to H, as a regular expression has them."""
LONGEST_TOKEN = 6_400
"""A token lasts at most 400 ms: it fires at its end, but a pause may lie between it and the token before."""

Script = Literal["han", "latin", "other"]

_ideograph = re.compile(f"[{IDEOGRAPHS}]")
_han = re.compile(rf"[{IDEOGRAPHS}\d@]*")


class Piece(NamedTuple):
    """A vocabulary entry that fired at the sample `fired_at`; `confidence` in percent; `begun_at`: where it is known,
    the sample at which it began."""

    text: str
    fired_at: int
    confidence: int = 100
    begun_at: int | None = None


class Token(NamedTuple):
    """A character or word with the samples [start, end) in which it was spoken, and the confidence of its least
    certain piece, in percent."""

    text: str
    start: int
    end: int
    confidence: int = 100


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    script: Script
    start: int
    end: int
    confidence: int

    # A word that was cut short may happen to be one letter; as its text has been shown it is never respelt.
    is_letter: bool = False


class Transcript:
    """The text of one segment. Pieces come in the order of their times, which are absolute sample indices."""

    def __init__(self, start: int, pending: Sequence[Piece] = ()) -> None:
        """`start`: the segment's first sample; `pending`: what `take_pending` of the segment before gave."""
        self._words: list[_Word] = []
        self._pending = list(pending)
        self._start = start
        self._text: str | None = None

    def append(self, piece: str, fired_at: int, confidence: int = 100, begun_at: int | None = None) -> None:
        """`piece` fired at the sample `fired_at`; `confidence` in percent; `begun_at`: see Piece."""
        if piece in SPECIAL or not piece:
            return
        self._text = None
        if self._pending and _ideograph.match(piece):
            self.finish()
        self._pending.append(Piece(piece, fired_at, confidence, begun_at))
        if not piece.endswith(UNFINISHED):
            self._complete(cut_short=False)

    def finish(self) -> None:
        """No more pieces of the pending word will come: it stands as it is."""
        self._text = None
        if self._pending:
            self._complete(cut_short=True)

    def extended(self, pieces: Sequence[Piece]) -> Transcript:
        """This transcript with `pieces` behind it; itself where there are none, else another one."""
        if not pieces:
            return self
        longer = Transcript(self._start, self._pending)
        longer._words = list(self._words)
        for piece in pieces:
            longer.append(*piece)
        return longer

    def take_pending(self) -> list[Piece]:
        """Removes the unfinished word, for the segment in which it will be finished."""
        self._text = None
        pending, self._pending = self._pending, []
        return pending

    @property
    def text(self) -> str:
        if self._text is None:
            self._text = _join(self._spelt(with_pending=True))
        return self._text

    @property
    def stable(self) -> int:
        """Characters at the beginning of `text` that no further piece will change.

        The unfinished word may grow, and a single letter at the end becomes a capital if another one follows.
        """
        if not self._pending and not (self._words and self._words[-1].is_letter):
            return len(self.text)
        spelt = self._spelt(with_pending=False)
        if not self._pending and spelt[-1].is_letter and len(spelt[-1].text) == 1:
            spelt = spelt[:-1]
        return len(_join(spelt))

    def tokens(self, start: int, end: int) -> list[Token]:
        """Each character, word or abbreviation, its times in order and within [start, end]."""
        tokens = []
        earliest = start
        for word in self._spelt(with_pending=True):
            begins = min(max(word.start, earliest), end)
            earliest = min(max(word.end, begins), end)
            tokens.append(Token(word.text, begins, earliest, word.confidence))
        return tokens

    def _complete(self, cut_short: bool) -> None:
        self._words.append(self._pending_word(cut_short))
        self._pending = []

    def _pending_word(self, cut_short: bool) -> _Word:
        text = "".join(piece.text.removesuffix(UNFINISHED) for piece in self._pending)
        before = self._words[-1].end if self._words else self._start
        first, last = self._pending[0].fired_at, self._pending[-1].fired_at
        confidence = min(piece.confidence for piece in self._pending)
        is_letter = not cut_short and len(self._pending) == 1 and len(text) == 1 and text.isascii() and text.isalpha()
        begun = self._pending[0].begun_at
        begins = first - LONGEST_TOKEN if begun is None else begun
        return _Word(text, _script(text), max(before, begins), last, confidence, is_letter)

    def _spelt(self, with_pending: bool) -> list[_Word]:
        words = [*self._words, self._pending_word(cut_short=True)] if with_pending and self._pending else self._words
        return list(_abbreviated(words))


def _abbreviated(words: list[_Word]) -> Iterator[_Word]:
    letters: list[_Word] = []
    for word in [*words, None]:
        if word is not None and word.is_letter:
            letters.append(word)
            continue
        if len(letters) == 1:
            yield letters[0]
        elif letters:
            text = "".join(letter.text for letter in letters).upper()
            confidence = min(letter.confidence for letter in letters)
            yield _Word(text, "latin", letters[0].start, letters[-1].end, confidence, is_letter=True)
        letters = []
        if word is not None:
            yield word


def _join(words: list[_Word]) -> str:
    parts: list[str] = []
    for before, word in zip([None, *words], words, strict=False):
        if before is not None and before.script == "latin" and word.script != "han":
            parts.append(" ")
        parts.append(word.text)
    return "".join(parts)


def _script(text: str) -> Script:
    if _han.fullmatch(text):
        return "han"
    if all(c.isalpha() or c == "'" for c in text):
        return "latin"
    return "other"
