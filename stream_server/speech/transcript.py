"""Vocabulary pieces to readable text, as they come.

The spelling is that of FunASR's `sentence_postprocess`: no spaces around Chinese characters and digits, a space
between English words, single letters that follow each other written as one abbreviation ("a i" is "AI").
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from stream_server.units import samples_to_ms

SPECIAL = frozenset({"<s>", "</s>", "<blank>", "<unk>", "<OOV>", "<sos/eos>"})
UNFINISHED = "@@"
IDEOGRAPHS = "\u4e00-\u9fff\u3400-\u4dbf\U00020000-\U000323af"
"""The unified ideographs, then their extensions A and B to H, as a regular expression has them."""
LONGEST_TOKEN = 6_400
"""A token lasts at most 400 ms: it fires at its end, but a pause may lie between it and the token before."""

Script = Literal["han", "latin", "other"]

WORDS_KNOWN = 1 << 14
"""Words whose script is remembered: as many as a vocabulary has pieces."""

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


class _Word(NamedTuple):
    text: str
    script: Script
    start: int
    end: int
    confidence: int

    # A word that was cut short may happen to be one letter; as its text has been shown it is never respelt.
    is_letter: bool = False


class Transcript:
    """The text of one segment. Pieces come in the order of their times, which are absolute sample indices.

    A segment is asked for its text with every hop: what no further piece changes is put together once.
    """

    def __init__(self, start: int, pending: Sequence[Piece] = ()) -> None:
        """`start`: the segment's first sample; `pending`: what `take_pending` of the segment before gave."""
        self._words: list[_Word] = []
        """Those that no further piece changes, and their text."""
        self._settled = ""
        self._letters: list[_Word] = []
        """The single letters behind them: a further one would make an abbreviation of them."""
        self._pending = list(pending)
        self._start = start
        self._text: str | None = None
        self._told = _Told(start)

    def append(self, piece: str, fired_at: int, confidence: int = 100, begun_at: int | None = None) -> None:
        """`piece` fired at the sample `fired_at`; `confidence` in percent; `begun_at`: see Piece."""
        if piece in SPECIAL or not piece:
            return
        self._text = None
        unfinished = piece.endswith(UNFINISHED)
        if self._pending:
            if _ideograph.match(piece):
                self.finish()
        elif not unfinished:
            # Nearly always a word by itself.
            self._add(self._word(piece, fired_at, fired_at, confidence, begun_at, is_letter=_is_letter(piece)))
            return
        self._pending.append(Piece(piece, fired_at, confidence, begun_at))
        if not unfinished:
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
        longer._words, longer._letters, longer._settled = list(self._words), list(self._letters), self._settled
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
            self._text = self._settled + _join(self._last, self._unsettled(with_pending=True))
        return self._text

    @property
    def stable(self) -> int:
        """Characters at the beginning of `text` that no further piece will change.

        The unfinished word may grow, and a single letter at the end becomes a capital if another one follows.
        """
        if not self._pending and not self._letters:
            return len(self.text)
        certain = self._unsettled(with_pending=False)
        if not self._pending and len(self._letters) == 1:
            certain = []
        return len(self._settled) + len(_join(self._last, certain))

    def tokens(self, start: int, end: int) -> list[Token]:
        """Each character, word or abbreviation, its times in order and within [start, end]."""
        self._told.hear(self._words, start, end)
        told, rest = self._told, self._rest(end)
        return [*told.tokens, *rest]

    def told(self, start: int, end: int) -> tuple[list[tuple[str, int, int]], list[float]]:
        """The `tokens` as clients are told them: texts with times in ms, and their confidences from 0 to 1."""
        self._told.hear(self._words, start, end)
        told, rest = self._told, self._rest(end)
        return [*told.spans, *map(_span, rest)], [*told.confidences, *(token.confidence / 100 for token in rest)]

    @property
    def _last(self) -> _Word | None:
        return self._words[-1] if self._words else None

    def _rest(self, end: int) -> list[Token]:
        """The tokens behind those of `_told`."""
        told = self._told
        words = [*self._words[len(told.tokens):], *self._unsettled(with_pending=True)]
        return list(_timed(words, told.until, end))

    def _complete(self, cut_short: bool) -> None:
        word = self._pending_word(cut_short)
        self._pending = []
        self._add(word)

    def _add(self, word: _Word) -> None:
        if word.is_letter:
            self._letters.append(word)
            return
        settled = [*_abbreviated(self._letters), word] if self._letters else [word]
        self._settled += _join(self._last, settled)
        self._words += settled
        self._letters = []

    def _pending_word(self, cut_short: bool) -> _Word:
        text = "".join(piece.text.removesuffix(UNFINISHED) for piece in self._pending)
        first, last = self._pending[0], self._pending[-1]
        confidence = min(piece.confidence for piece in self._pending)
        is_letter = not cut_short and len(self._pending) == 1 and _is_letter(text)
        return self._word(text, first.fired_at, last.fired_at, confidence, first.begun_at, is_letter)

    def _word(self, text: str, first: int, last: int, confidence: int, begun: int | None, is_letter: bool) -> _Word:
        """The word whose pieces fired from `first` to `last`."""
        last_word = self._letters[-1] if self._letters else self._last
        before = last_word.end if last_word is not None else self._start
        begins = first - LONGEST_TOKEN if begun is None else begun
        return _Word(text, _script(text), max(before, begins), last, confidence, is_letter)

    def _unsettled(self, with_pending: bool) -> list[_Word]:
        words = _abbreviated(self._letters)
        return [*words, self._pending_word(cut_short=True)] if with_pending and self._pending else words


class _Told:
    """The tokens of a transcript's first words: those whose times no `end` has cut, so that they stay."""

    def __init__(self, start: int) -> None:
        self.tokens: list[Token] = []
        self.spans: list[tuple[str, int, int]] = []
        self.confidences: list[float] = []
        self.until = self._start = start

    def hear(self, words: list[_Word], start: int, end: int) -> None:
        """Takes in what of `words` is new and ends by `end`."""
        if start != self._start or self.until > end:
            self.__init__(start)
        for word in words[len(self.tokens):]:
            begins = max(word.start, self.until)
            ends = max(word.end, begins)
            if ends > end:
                return
            token = Token(word.text, begins, ends, word.confidence)
            self.tokens.append(token)
            self.spans.append(_span(token))
            self.confidences.append(token.confidence / 100)
            self.until = ends


def _timed(words: Sequence[_Word], earliest: int, end: int) -> Iterator[Token]:
    for word in words:
        begins = min(max(word.start, earliest), end)
        earliest = min(max(word.end, begins), end)
        yield Token(word.text, begins, earliest, word.confidence)


def _span(token: Token) -> tuple[str, int, int]:
    return token.text, samples_to_ms(token.start), samples_to_ms(token.end)


def _abbreviated(letters: Sequence[_Word]) -> list[_Word]:
    """Single letters that follow each other, as one word."""
    if len(letters) < 2:
        return list(letters)
    text = "".join(letter.text for letter in letters).upper()
    confidence = min(letter.confidence for letter in letters)
    return [_Word(text, "latin", letters[0].start, letters[-1].end, confidence, is_letter=True)]


def _join(before: _Word | None, words: Sequence[_Word]) -> str:
    """The text of `words` behind `before`."""
    parts: list[str] = []
    for word in words:
        if before is not None and before.script == "latin" and word.script != "han":
            parts.append(" ")
        parts.append(word.text)
        before = word
    return "".join(parts)


def _is_letter(text: str) -> bool:
    return len(text) == 1 and text.isascii() and text.isalpha()


@lru_cache(WORDS_KNOWN)
def _script(text: str) -> Script:
    if _han.fullmatch(text):
        return "han"
    if all(c.isalpha() or c == "'" for c in text):
        return "latin"
    return "other"
