"""Which characters sound alike: the vocabulary by the syllables that espeak-ng says for it."""

import re
from collections.abc import Mapping
from functools import cache

from recipes.demo import speech, texts


class Sounds:
    """Texts as sounds: one symbol a syllable, tone included, so that to contain is `in`.

    `syllables` has what each character sounds like, in espeak-ng's notation.
    """

    def __init__(self, syllables: Mapping[str, str]) -> None:
        self._symbols: dict[str, str] = {}
        self._alike: dict[str, list[str]] = {}
        self._near: dict[str, list[str]] = {}
        numbers: dict[str, int] = {}
        for character, syllable in syllables.items():
            # Of Unicode's private use area: no text has them.
            self._symbols[character] = chr(0xE000 + numbers.setdefault(syllable, len(numbers)))
            self._alike.setdefault(syllable, []).append(character)
            self._near.setdefault(_toneless(syllable), []).append(character)
        self._syllables = dict(syllables)

    def __contains__(self, character: str) -> bool:
        return character in self._symbols

    @property
    def characters(self) -> list[str]:
        return list(self._symbols)

    def of(self, text: str) -> str:
        """A symbol for each character's syllable. KeyError for one that is not in the vocabulary."""
        return "".join(self._symbols[character] for character in text)

    def alike(self, character: str) -> list[str]:
        """All characters of the same sound, itself too."""
        return self._alike[self._syllables[character]]

    def near(self, character: str) -> list[str]:
        """All characters of the same syllable in another tone."""
        own = self._syllables[character]
        return [other for other in self._near[_toneless(own)] if self._syllables[other] != own]


def _toneless(syllable: str) -> str:
    return re.sub(r"[0-9|]", "", syllable)


@cache
def vocabulary_sounds() -> Sounds:
    """Of every character that the demonstration's texts have."""
    characters = texts.characters()
    return Sounds(dict(zip(characters, speech.phonemes(list(characters)), strict=True)))
