"""Marks between words: a text cut into the words that punctuation reads, and put together again with their marks.

Marks come as the models write them, full width: `，。？、`, and "" for none. The marks and capitals written are those
of FunASR's `CTTransformer` (funasr/models/ct_transformer/model.py); docs/punctuation.md says where they differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from stream_server.speech.rewritten import Rewritten, Span, rewrite

ENDS = frozenset("。？")
"""Marks that end a sentence."""

_AFTER_LATIN = {"，": ",", "。": ".", "？": "?", "、": ","}


class Word(NamedTuple):
    """A character of Chinese, or what is written without a space of anything else, at [start, end) of its text."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Carry:
    """What a session keeps of its text so far, to be given with its next words: plain data of bounded size.

    `words` were said since the last sentence ended, and have their marks already; `ended`: the text's last mark ends a
    sentence, or there is no text yet.
    """

    words: tuple[str, ...] = ()
    ended: bool = True


@dataclass(frozen=True, slots=True)
class Words:
    """New words of a text, and what `Punctuator.step` gave to carry after those before. `is_final`: the text ends."""

    words: Sequence[str]
    carry: Carry = field(default_factory=Carry)
    is_final: bool = True


@dataclass(frozen=True, slots=True)
class Marked:
    """A mark or "" for each of the new words, and what to give with the next ones.

    `before` is the mark that the last of the words before should have had, seen from here: FunASR's streaming class
    writes it in front of the new text, and writes none after the last word. With `error` there are no marks.
    """

    marks: list[str]
    carry: Carry
    before: str = ""
    error: str | None = None


def words_of(text: str) -> list[Word]:
    """The words of `text`: characters beyond ASCII are each a word, runs of others are one."""
    words = []
    start: int | None = None
    for place, character in enumerate([*text, " "]):
        inside = character.isascii() and not character.isspace()
        if start is not None and not inside:
            words.append(Word(text[start:place], start, place))
            start = None
        if inside and start is None:
            start = place
        if not character.isascii() and not character.isspace():
            words.append(Word(character, place, place + 1))
    return words


def punctuate(text: str, words: Sequence[Word], marks: Sequence[str], begins: bool = True) -> Rewritten:
    """`text` with the mark of each word behind it; `begins`: a sentence begins with the first word.

    After Latin words marks are half-width. A Latin word in small letters that begins a sentence gets a capital.
    """
    return rewrite(text, _changes(text, words, marks, begins))


def _changes(text: str, words: Sequence[Word], marks: Sequence[str], begins: bool) -> Iterator[tuple[Span, str]]:
    for word, mark in zip(words, marks, strict=True):
        if begins and word.text[0].isascii() and word.text[0].isalpha() and word.text.islower():
            yield (word.start, word.start + 1), word.text[0].upper()
        begins = mark in ENDS
        if mark:
            written = _AFTER_LATIN.get(mark, mark) if text[word.end - 1].isascii() else mark
            yield (word.end, word.end), _spaced(written, text[word.end :])


def _spaced(mark: str, rest: str) -> str:
    """A half-width mark and a space, where what follows would else be glued to it."""
    return mark + " " if mark.isascii() and rest[:1].isascii() and not rest[:1].isspace() and rest else mark


def marks_of(spans: Sequence[Span], words: Sequence[Word], marks: Sequence[str]) -> list[str]:
    """The mark behind each of the tokens that stand at `spans`: that of the last word that ends in it."""
    found = [""] * len(spans)
    place = 0
    for word, mark in zip(words, marks, strict=True):
        while place < len(spans) and spans[place][1] < word.end:
            place += 1
        if place < len(spans):
            found[place] = mark
    return found
