"""Names for hotwords: those that training says, and those kept from it to measure on."""

from dataclasses import dataclass
from functools import cache
from itertools import chain, product
from random import Random

from recipes.demo import lexicon, texts
from recipes.seaco.sounds import Sounds

SEED = 20260702
NEW_NAMES = 60


@dataclass(frozen=True)
class KeptNames:
    """What training never has in a list.

    spellings: for some groups of the lexicon, a name that sounds like them and is written as none of them.
    names: names whose sound no training text has, each with a second one that sounds like it where there is one.
    """

    spellings: dict[tuple[str, ...], str]
    names: tuple[tuple[str, ...], ...]

    def allow(self, word: str, sounds: Sounds) -> bool:
        """Whether training may have this word in a list."""
        return word not in self.spellings.values() and sounds.of(word) not in self._sounds(sounds)

    def _sounds(self, sounds: Sounds) -> frozenset[str]:
        return _sounds_of(self.names, sounds)


@cache
def _sounds_of(names: tuple[tuple[str, ...], ...], sounds: Sounds) -> frozenset[str]:
    return frozenset(sounds.of(group[0]) for group in names)


@cache
def known_names() -> tuple[str, ...]:
    """Every name that training says."""
    return (*chain.from_iterable(lexicon.NAME_GROUPS), *lexicon.PLAIN_NAMES)


def spellings(name: str, sounds: Sounds) -> list[str]:
    """All ways to write what sounds like `name` with the vocabulary."""
    return ["".join(characters) for characters in product(*map(sounds.alike, name))]


@cache
def kept_names(sounds: Sounds) -> KeptNames:
    """The same names always."""
    random = Random(SEED)
    new_spellings = {}
    for group in lexicon.NAME_GROUPS:
        others = sorted(set(spellings(group[0], sounds)) - set(group))
        if others:
            new_spellings[group] = random.choice(others)
    said = "，".join(sounds.of(texts.spoken(text)) for text in texts.train_texts())
    surnames = sorted({name[0] for name in known_names()})
    given = sorted(set("".join(name[1:] for name in known_names())))
    names: dict[str, tuple[str, ...]] = {}
    while len(names) < NEW_NAMES:
        name = random.choice(surnames) + "".join(random.choices(given, k=random.choice((1, 1, 2))))
        if sounds.of(name) not in said and sounds.of(name) not in names:
            others = sorted(set(spellings(name, sounds)) - {name})
            names[sounds.of(name)] = (name, *random.sample(others, min(1, len(others))))
    return KeptNames(new_spellings, tuple(names.values()))
