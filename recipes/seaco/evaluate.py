"""How well the second pass does on held-out texts in held-out voices, through the server's own network.

Error rates and times without hotwords; then, with 100 other hotwords in each list, how often a name is written as the
list has it, and how often a word is taken for one of a list that was not said.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from random import Random

import numpy as np
from torch import Tensor, stack

from recipes.demo import lexicon, speech, texts
from recipes.demo.evaluate import distance
from recipes.seaco.lists import occurrences
from recipes.seaco.names import KeptNames, known_names
from recipes.seaco.sounds import Sounds
from stream_server.engine.pieces import finished
from stream_server.models.offline import Recognised
from stream_server.models.offline_checkpoint import OfflineModel
from stream_server.speech.context_graph import GraphCache
from stream_server.speech.hotwords import DEFAULT_WEIGHT, HotwordList
from stream_server.speech.spelling import Speller

OTHERS = 100
BATCH = 16


@dataclass(frozen=True)
class Case:
    """An utterance, what is to be written, the names in it that a list is for, and the list; None for no list."""

    utterance: speech.Utterance
    wanted: str
    names: tuple[str, ...] = ()
    words: tuple[str, ...] | None = None


@dataclass
class Score:
    """Sums over cases. `cer` counts known names that sound alike as equal, `cer_strict` does not.

    inserted: words of lists that were written and not said.  words: said, by the lexicon.
    late: ms between each character's start and espeak-ng's, where the text is right.
    """

    characters: int = 0
    errors: int = 0
    strict_errors: int = 0
    names: int = 0
    found: int = 0
    words: int = 0
    inserted: int = 0
    late: list[float] = field(default_factory=list)

    def add(self, case: Case, text: str, times: Sequence[tuple[int, int]]) -> None:
        self.characters += len(case.wanted)
        self.errors += distance(texts.canonical_names(case.wanted), texts.canonical_names(text))
        self.strict_errors += distance(case.wanted, text)
        for name in set(case.names):
            self.names += case.wanted.count(name)
            self.found += min(case.wanted.count(name), text.count(name))
        self.words += len(words_of(case.wanted))
        self.inserted += sum(max(0, text.count(word) - case.wanted.count(word)) for word in case.words or ())
        if texts.canonical_names(text) == texts.canonical_names(case.wanted):
            starts = case.utterance.spans[:, 0] / speech.RATE * 1000
            self.late += [start - true for (start, _), true in zip(times, starts, strict=True)]


@dataclass(frozen=True)
class Recogniser:
    """The server's network and its search for hotwords, and the vectors of hotwords that it has read."""

    model: OfflineModel
    vectors: dict[str, Tensor] = field(default_factory=dict)

    @cached_property
    def _graphs(self) -> GraphCache:
        return GraphCache(Speller(self.model.vocabulary))

    def score(self, cases: Sequence[Case], show: Callable[[Case, str], None] | None = None) -> Score:
        """Recognise them all."""
        total = Score()
        for case, result in self._results(cases):
            text = "".join(self.model.vocabulary[id_] for id_ in result.ids)
            total.add(case, text, result.times)
            if show:
                show(case, text)
        return total

    def _results(self, cases: Sequence[Case]) -> Iterator[tuple[Case, Recognised]]:
        ordered = sorted(cases, key=lambda case: len(case.utterance.samples))
        for at in range(0, len(ordered), BATCH):
            part = ordered[at : at + BATCH]
            lists = [None if case.words is None else self._list(case.words) for case in part]
            samples = [case.utterance.samples for case in part]
            graphs = [None if case.words is None else self._graphs.get(_weighted(case.words)) for case in part]
            work = self.model.network.recognise_in_pieces(samples, lists, graphs)
            yield from zip(part, finished(work), strict=True)

    def _list(self, words: Sequence[str]) -> Tensor:
        new = [word for word in words if word not in self.vectors]
        ids = {piece: id_ for id_, piece in enumerate(self.model.vocabulary)}
        read = self.model.network.encode_words([[ids[character] for character in word] for word in new])
        self.vectors.update(zip([*new, ""], read, strict=True))
        return stack([self.vectors[word] for word in (*words, "")])


def _weighted(words: Sequence[str]) -> HotwordList:
    return HotwordList.of([(word, DEFAULT_WEIGHT) for word in words])


def words_of(text: str) -> list[str]:
    """A text cut into the lexicon's words, the longest first; what is in none is a word by itself."""
    found, at = [], 0
    while at < len(text):
        length = next((n for n in range(6, 1, -1) if text[at : at + n] in texts.words()), 1)
        found.append(text[at : at + length])
        at += length
    return found


def names_said(text: str) -> tuple[str, ...]:
    """Names of the groups that sound alike in a text."""
    return tuple(name for group in lexicon.NAME_GROUPS for name in group if name in text)


class Lists:
    """Draws lists of hotwords; the same for a seed."""

    def __init__(self, sounds: Sounds, kept: KeptNames, seed: int) -> None:
        self._sounds = sounds
        self._random = Random(f"evaluation {seed}")
        long = sorted(word for word in texts.words() if len(word) > 1 and word not in known_names())
        self.known = (*known_names(), *long)
        self.new = (*kept.spellings.values(), *(name for group in kept.names for name in group))

    def others(self, wanted: str, source: Sequence[str], names_first: int = 0) -> tuple[str, ...]:
        """100 words that sound like nothing that is said, the first `names_first` of `source` before all others."""
        sound = self._sounds.of(wanted)
        absent = [word for word in source if not occurrences(sound, self._sounds.of(word))]
        first = [word for word in absent if word in source[:names_first]]
        rest = self._random.sample(absent, len(absent))
        chosen = [*self._random.sample(first, len(first)), *(word for word in rest if word not in first)]
        return tuple(chosen[:OTHERS])

    def with_names(
        self, utterance: speech.Utterance, wanted: str, names: tuple[str, ...], source: Sequence[str]
    ) -> Case:
        """Names that are said in a list with 100 other words."""
        words = [*names, *self.others(wanted, source, len(known_names()) if source is self.known else 0)]
        self._random.shuffle(words)
        return Case(utterance, wanted, names, tuple(words))

    def without_names(self, utterance: speech.Utterance, source: Sequence[str]) -> Case:
        """A list of 100 words, none of which is said."""
        words = self.others(utterance.text, source, len(known_names()) if source is self.known else 0)
        return Case(utterance, utterance.text, (), words)


def respelt(text: str, kept: KeptNames) -> tuple[str, tuple[str, ...]]:
    """A text whose names of groups are written as training never wrote them, and these names."""
    names = []
    for group, spelling in kept.spellings.items():
        for name in group:
            if name in text:
                text = text.replace(name, spelling)
                names.append(spelling)
    return text, tuple(dict.fromkeys(names))


def new_name_texts(count: int, seed: int, kept: KeptNames) -> list[tuple[str, tuple[str, ...]]]:
    """Held-out sentences in which one name is replaced by a new one, as read; and how it may be written."""
    random, found = Random(f"new names {seed}"), []
    for text in texts.held_out_texts(8 * count, seed):
        names = [name for name in names_said(text) if text.count(name) == 1]
        if names and len(found) < count:
            ways = random.choice(kept.names)
            found.append((text.replace(random.choice(names), ways[0]), ways))
    return found


def new_name_cases(count: int, seed: int, kept: KeptNames, lists: Lists) -> list[Case]:
    """Names said that training never said, each written in one of two ways."""
    random = Random(f"ways {seed}")
    drawn = new_name_texts(count, seed, kept)
    cases = []
    for (_, ways), utterance in zip(drawn, speech.speak_held_out([text for text, _ in drawn], seed), strict=True):
        way = random.choice(ways)
        cases.append(lists.with_names(utterance, utterance.text.replace(ways[0], way), (way,), lists.new))
    return cases


def all_cases(count: int, seed: int, sounds: Sounds, kept: KeptNames) -> dict[str, list[Case]]:
    """What is measured, by its name."""
    lists = Lists(sounds, kept, seed)
    said = list(speech.speak_held_out(texts.held_out_texts(count, seed), seed))
    named = [(utterance, names_said(utterance.text)) for utterance in said]
    new = [(utterance, *respelt(utterance.text, kept)) for utterance in said]
    return {
        "no hotwords": [Case(utterance, utterance.text, names) for utterance, names in named],
        "known names listed": [lists.with_names(u, u.text, names, lists.known) for u, names in named if names],
        "new spellings listed": [lists.with_names(u, wanted, names, lists.new) for u, wanted, names in new if names],
        "new names said and listed": new_name_cases(count * 3 // 5, seed + 1, kept, lists),
        "100 known words absent": [lists.without_names(utterance, lists.known) for utterance in said],
        "100 new names absent": [lists.without_names(utterance, lists.new) for utterance in said],
    }


def table(scores: dict[str, Score]) -> str:
    """The scores as a Markdown table."""
    heads = ("case", "characters", "CER", "CER, names as written", "names right", "words inserted")
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for name, s in scores.items():
        right = f"{100 * s.found / s.names:.1f} % of {s.names}" if s.names else ""
        inserted = f"{100 * s.inserted / s.words:.2f} % of {s.words}"
        rates = (f"{100 * errors / s.characters:.2f} %" for errors in (s.errors, s.strict_errors))
        lines.append("| " + " | ".join((name, str(s.characters), *rates, right, inserted)) + " |")
    late = np.array(scores["no hotwords"].late)
    lines.append(
        f"\nStarts of {len(late)} characters: {np.abs(late).mean():.1f} ms from espeak-ng's in the mean, "
        f"{late.mean():+.1f} ms late, {100 * (np.abs(late) <= 50).mean():.1f} % within 50 ms."
    )
    return "\n".join(lines)
