"""Hotwords scored the slow way, from the definition alone."""

from __future__ import annotations

from stream_server.speech.context_graph import ContextGraph, build
from stream_server.speech.hotwords import Hotword
from stream_server.speech.spelling import SpeltWord

Ids = tuple[int, ...]


def graph_of(words: dict[Ids, float]) -> ContextGraph:
    """A graph of words given by their ids, each with its bonus per token in nats."""
    spelt = [SpeltWord(Hotword("".join(map(chr, (97 + token for token in ids))), bonus), (ids,))
             for ids, bonus in words.items()]
    return build(spelt, nats_per_weight=1.0)


def occurrences(word: Ids, tokens: Ids) -> int:
    return sum(tokens[start : start + len(word)] == word for start in range(len(tokens) - len(word) + 1))


def credits(words: dict[Ids, float]) -> dict[Ids, float]:
    """What an occurrence of each word is worth: its bonus less what lies within it, at least 0."""
    worth: dict[Ids, float] = {}
    for word in sorted(words, key=len):
        inner = sum(worth[other] * occurrences(other, word) for other in worth)
        worth[word] = max(0.0, words[word] * len(word) - inner)
    return worth


def bonus(words: dict[Ids, float], tokens: Ids) -> float:
    """The bonus of a whole segment."""
    return sum(worth * occurrences(word, tokens) for word, worth in credits(words).items())
