"""Words to vocabulary pieces: the way back from `transcript.py`.

A Chinese character or a digit is one piece; other words are split into pieces that go on (`@@`) and one that ends.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from stream_server.speech.hotwords import Hotword, HotwordList
from stream_server.speech.transcript import IDEOGRAPHS, SPECIAL, UNFINISHED

LONGEST_ABBREVIATION = 6
"""Capital letters that may be said one by one ("NBA"); more are taken for a word that is shouted."""

_LETTERS = rf"(?:(?![{IDEOGRAPHS}])[^\W_])+"
_ALL_IDEOGRAPHS = re.compile(rf"[{IDEOGRAPHS}]+")
_UNITS = re.compile(rf"[{IDEOGRAPHS}]|{_LETTERS}(?:'{_LETTERS})*|\S")
_ALIKE = re.compile(r"\d|[^\W\d_]+(?:'[^\W\d_]+)*")
"""Digits one by one, and letters without digits."""

Ids = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SpeltWord:
    """A word as the model may write it: one or two sequences of ids, each ending its own word."""

    hotword: Hotword
    spellings: tuple[Ids, ...]


@dataclass(frozen=True, slots=True)
class Spelt:
    """`unspellable` are the words for which the vocabulary has not all pieces."""

    words: tuple[SpeltWord, ...]
    unspellable: tuple[str, ...]


class Speller:
    """Spells words in the pieces of one model's vocabulary."""

    def __init__(self, vocabulary: Sequence[str]) -> None:
        """`vocabulary[id]` is the piece that the model means by `id`."""
        self._exact: dict[str, int] = {}
        self._folded: dict[str, int] = {}
        for index, piece in enumerate(vocabulary):
            if piece and piece not in SPECIAL:
                self._exact.setdefault(piece, index)
                self._folded.setdefault(piece.lower(), index)

    def spell(self, hotwords: HotwordList) -> Spelt:
        """Every word of the list that can be spelt, and the names of those that cannot."""
        words, unspellable = [], []
        for hotword in hotwords.words:
            spellings = self.spellings(hotword.word)
            if spellings:
                words.append(SpeltWord(hotword, spellings))
            else:
                unspellable.append(hotword.word)
        return Spelt(tuple(words), tuple(unspellable))

    def spellings(self, word: str) -> tuple[Ids, ...]:
        """The ways to spell `word`, none where a piece is missing.

        First each run of letters and digits as one word, with the signs that the vocabulary has. Then, where that
        differs, said apart: abbreviations letter by letter, digits by themselves, no signs.
        """
        if _ALL_IDEOGRAPHS.fullmatch(word):
            # Most words of most lists, and there is but one way.
            ids = tuple(self._find(sign) for sign in word)
            return () if None in ids else (ids,)
        found = [self._together(word), self._apart(word)]
        return tuple(dict.fromkeys(ids for ids in found if ids))

    def _together(self, word: str) -> Ids | None:
        ids: list[int] = []
        for unit in _UNITS.findall(word):
            spelt = self._unit(unit)
            if spelt is None and not _unspoken(unit):
                return None
            ids.extend(spelt or ())
        return tuple(ids)

    def _apart(self, word: str) -> Ids | None:
        ids: list[int] = []
        for unit in _UNITS.findall(word):
            for part in _ALIKE.findall(unit):
                abbreviated = part.isalpha() and part.isupper() and 1 < len(part) <= LONGEST_ABBREVIATION
                for said in part if abbreviated else (part,):
                    spelt = self._unit(said)
                    if spelt is None:
                        return None
                    ids.extend(spelt)
            if not _ALIKE.search(unit) and not _unspoken(unit) and self._find(unit) is None:
                return None
        return tuple(ids)

    def _unit(self, unit: str) -> Ids | None:
        """One character, run of digits, or word."""
        if unit.isdigit():
            digits = [self._find(digit) for digit in unit]
            return None if None in digits else tuple(digits)
        return self._split(unit)

    def _split(self, word: str) -> Ids | None:
        """The longest piece first, as long as the rest can still be spelt."""

        @cache
        def rest(start: int) -> Ids | None:
            for end in range(len(word), start, -1):
                whole = end == len(word)
                piece = self._find(word[start:end] + ("" if whole else UNFINISHED))
                if piece is None:
                    continue
                if whole:
                    return (piece,)
                following = rest(end)
                if following is not None:
                    return (piece, *following)
            return None

        return rest(0)

    def _find(self, piece: str) -> int | None:
        """In the case that is asked for where the vocabulary has it, else in the one that it has."""
        exact = self._exact.get(piece)
        return self._folded.get(piece.lower()) if exact is None else exact


def _unspoken(unit: str) -> bool:
    """Punctuation, such as the dot within a foreign name: nobody says it."""
    return len(unit) == 1 and unicodedata.category(unit)[0] == "P"
