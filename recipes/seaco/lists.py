"""Lists of hotwords for training, and which characters of a text are theirs.

A hotword is found by its sound: whatever is said that sounds like it is written like it. So any piece of any text may
stand in a list, written with whatever characters sound the same, and how it is written cannot be learnt by heart.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from recipes.demo import texts
from recipes.seaco.names import KeptNames, known_names
from recipes.seaco.sounds import Sounds

SPAN_LENGTHS, SPAN_SHARES = (2, 3, 4, 5), (0.5, 0.33, 0.13, 0.04)
SPAN_COUNTS, SPAN_COUNT_SHARES = (0, 1, 2, 3), (0.3, 0.4, 0.2, 0.1)
NAME_SHARE = 0.4  # of the words said are names, where the text has one
AS_WRITTEN_SHARE = 0.3  # of the words said are listed as the text has them
EMPTY_SHARE = 0.1  # of the lists have nothing but what is said and what is nearly said
MOST = 110  # other words in a list
OTHERS = 110  # words of a batch that no row comes near to


@dataclass(frozen=True)
class Lists:
    """Hotwords of a batch's rows.

    words: of all rows together.  listed: for each row the numbers of the words in its list.
    decided: for each row the numbers of its list's words and of all others that are surely not said in it.
    found: for each row and each of its characters the number of the word that it is part of, or -1.
    written: for each row its text, hotwords written as they are in its list.
    """

    words: list[str]
    listed: list[list[int]]
    decided: list[list[int]]
    found: list[list[int]]
    written: list[str]


def occurrences(sound: str, part: str) -> list[int]:
    """Where `part` begins in `sound`, left to right, none within another."""
    places, at = [], sound.find(part)
    while at >= 0:
        places.append(at)
        at = sound.find(part, at + len(part))
    return places


class ListMaker:
    """Draws lists; `random` decides all."""

    def __init__(self, random: Random, sounds: Sounds, kept: KeptNames) -> None:
        self._random = random
        self._sounds = sounds
        self._kept = kept
        self._name_sounds = sorted({sounds.of(name) for name in known_names()})

    def draw(self, rows: Sequence[str]) -> Lists:
        """Lists for the texts of `rows`."""
        words: list[str] = []
        said, near = [], []
        for text in rows:
            own = self._said(text)
            said.append(list(range(len(words), len(words) + len(own))))
            words += own
            close = self._nearly_said(text)
            near.append(list(range(len(words), len(words) + len(close))))
            words += close
        words += [word for word in (self._other() for _ in range(OTHERS)) if self._may_list(word)]
        word_sounds = [self._sounds.of(word) for word in words]
        listed, decided, found, written = [], [], [], []
        for row, text in enumerate(rows):
            sound = self._sounds.of(text)
            # A word may come to sound like something that is said here by chance; it is then left out.
            absent = [number for number, part in enumerate(word_sounds) if part not in sound]
            others = self._random.sample(absent, min(len(absent), self._size()))
            present = self._mark(text, sound, said[row], words, word_sounds)
            listed.append(sorted({*others, *present[0], *(number for number in near[row] if number in absent)}))
            decided.append(sorted({*absent, *present[0]}))
            found.append(present[1])
            written.append(present[2])
        return Lists(words, listed, decided, found, written)

    def _mark(
        self, text: str, sound: str, own: list[int], words: list[str], word_sounds: list[str]
    ) -> tuple[list[int], list[int], str]:
        """Of a row's own words those that are listed, each character's word, and the text as it is to be written."""
        found, characters, listed = [-1] * len(text), list(text), []
        for number in sorted(own, key=lambda number: -len(words[number])):
            length = len(words[number])
            places = occurrences(sound, word_sounds[number])
            if any(place != -1 for at in places for place in found[at : at + length]):
                continue
            listed.append(number)
            for at in places:
                found[at : at + length] = [number] * length
                characters[at : at + length] = words[number]
        return listed, found, "".join(characters)

    def _size(self) -> int:
        """Small lists as often as large ones."""
        if self._random.random() < EMPTY_SHARE:
            return 0
        return int(math.exp(self._random.uniform(0, math.log(MOST))))

    def _may_list(self, word: str) -> bool:
        return self._kept.allow(word, self._sounds)

    def _said(self, text: str) -> list[str]:
        """Words of a text, as they might stand in a list. No two of them overlap, unless one is said again."""
        if len(text) < 2:
            return []
        (count,) = self._random.choices(SPAN_COUNTS, SPAN_COUNT_SHARES)
        taken, words, sounds = [False] * len(text), [], set()
        for _ in range(count + len(text) // 25 if count else 0):
            first, last = self._span(text)
            sound = self._sounds.of(text[first:last])
            word = self._spelt(text[first:last])
            if not any(taken[first:last]) and sound not in sounds and self._may_list(word):
                taken[first:last] = [True] * (last - first)
                sounds.add(sound)
                words.append(word)
        return words

    def _span(self, text: str) -> tuple[int, int]:
        """A name's place in the text, or any."""
        if self._random.random() < NAME_SHARE:
            sound = self._sounds.of(text)
            places = [(at, at + len(name)) for name in self._name_sounds for at in occurrences(sound, name)]
            if places:
                return self._random.choice(places)
        (length,) = self._random.choices(SPAN_LENGTHS, SPAN_SHARES)
        first = self._random.randrange(max(1, len(text) - length + 1))
        return first, min(len(text), first + length)

    def _spelt(self, word: str) -> str:
        if self._random.random() < AS_WRITTEN_SHARE:
            return word
        return "".join(self._random.choice(self._sounds.alike(character)) for character in word)

    def _nearly_said(self, text: str) -> list[str]:
        """Words that are like what is said, and are not said."""
        words = []
        for _ in range(self._random.choice((0, 1, 2, 3)) if len(text) > 1 else 0):
            first, last = self._span(text)
            word = list(self._spelt(text[first:last]))
            kind, place = self._random.random(), self._random.randrange(len(word))
            if kind < 0.3:
                word[place] = self._random.choice(self._sounds.near(word[place]) or self._sounds.characters)
            elif kind < 0.8:
                word[place] = self._any()
            elif kind < 0.9:
                word.insert(self._random.choice((0, len(word))), self._any())
            else:
                word.reverse()
            if self._may_list("".join(word)):
                words.append("".join(word))
        return words

    def _other(self) -> str:
        """Any name, word or piece of nothing."""
        kind = self._random.random()
        if kind < 0.35:
            return self._spelt(self._random.choice(known_names()))
        if kind < 0.65:
            (length,) = self._random.choices(SPAN_LENGTHS, SPAN_SHARES)
            return "".join(self._any() for _ in range(length))
        word = self._random.choice(_LONG_WORDS)
        return word if kind < 0.85 else self._spelt(word)

    def _any(self) -> str:
        return self._random.choice(self._sounds.characters)


_LONG_WORDS = sorted(word for word in texts.words() if len(word) > 1)
