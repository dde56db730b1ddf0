"""The graph against scores from the definition: what each token gains, what is taken back, what stays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_server.speech.context_graph import GraphCache, Match, build, join
from stream_server.speech.hotwords import HotwordList
from stream_server.speech.spelling import Speller
from tests.support.hotwords import bonus, credits, graph_of, occurrences

A, B, C, D = range(4)
_words = st.dictionaries(st.lists(st.integers(0, 2), min_size=1, max_size=4).map(tuple),
                         st.sampled_from([0.5, 1.0, 2.0, 3.5]), max_size=6)
_tokens = st.lists(st.integers(0, 3), max_size=12).map(tuple)


def gains(graph, tokens) -> list[float]:
    state, found = np.zeros(1, np.int32), []
    for token in tokens:
        state, gain = graph.automaton.advance(state, np.array([token]))
        found.append(float(gain[0]))
    return [*found, float(graph.automaton.finish(state)[0])]


@pytest.mark.parametrize(("words", "tokens", "expected"), [
    ({}, (A, B), [0, 0, 0]),
    ({(A, B, C): 2}, (A, B, C), [2, 2, 2, 0]),
    ({(A, B, C): 2}, (A, B, D), [2, 2, -4, 0]),
    ({(A, B, C): 2}, (A, B), [2, 2, -4]),
    ({(A, B, C): 2}, (A, A, B, C), [2, 0, 2, 2, 0]),
    ({(A, B, C): 2}, (A, B, A, B, C), [2, 2, -2, 2, 2, 0]),
    ({(A, B, C): 2, (B, D): 2}, (A, B, D), [2, 2, 0, 0]),
    ({(A, B): 2, (A, B, C): 2}, (A, B, C), [2, 2, 2, 0]),
    ({(A, B): 2, (A, B, C): 2}, (A, B, D), [2, 2, 0, 0]),
    ({(B, C): 2, (A, B, C): 2}, (A, B, C), [2, 2, 2, 0]),
    ({(B,): 2, (A, B, C): 2}, (A, B, D), [2, 2, -2, 0]),
    ({(A, B): 2, (B, C): 2}, (A, B, C), [2, 4, 2, 0]),
    ({(A, B): 1, (A, C): 3}, (A, B), [3, -1, 0]),
    ({(A, B): 5, (A, B, C): 1}, (A, B, C), [5, 5, 0, 0]),
    ({(A, A): 1}, (A, A, A), [1, 2, 2, -1]),
])
def test_what_each_token_gains(words, tokens, expected) -> None:
    assert gains(graph_of(words), tokens) == expected


@settings(deadline=None)
@given(words=_words, tokens=_tokens)
def test_gains_add_up_to_the_bonus_of_the_words_met(words, tokens) -> None:
    assert sum(gains(graph_of(words), tokens)) == pytest.approx(bonus(words, tokens))


@settings(deadline=None)
@given(words=_words)
def test_a_word_alone_is_worth_its_bonus_or_what_lies_within_it(words) -> None:
    worth = credits(words)
    for word, per_token in words.items():
        inner = sum(worth[other] * occurrences(other, word) for other in words if other != word)
        assert sum(gains(graph_of(words), word)) == pytest.approx(max(per_token * len(word), inner))


@settings(deadline=None)
@given(words=_words, tokens=_tokens)
def test_the_unfinished_is_never_worth_less_than_nothing(words, tokens) -> None:
    graph, state = graph_of(words).automaton, np.zeros(1, np.int32)
    for token in tokens:
        state = graph.follow(state, np.array([token]))
        assert graph.finish(state)[0] <= 0 <= graph.credit[state[0]] and graph.promise[state[0]] >= 0


@settings(deadline=None)
@given(words=_words, tokens=_tokens)
def test_words_found_are_those_that_are_there(words, tokens) -> None:
    expected = {(tokens[start:end], start, end) for start in range(len(tokens))
                for end in range(start + 1, len(tokens) + 1) if tokens[start:end] in words}
    found = graph_of(words).find(tokens)
    assert {(tokens[start:end], start, end) for _, start, end in found} == expected and len(found) == len(expected)
    assert [match.end for match in found] == sorted(match.end for match in found)


@settings(deadline=None)
@given(words=_words, tokens=_tokens)
def test_wanted_are_the_tokens_that_gain(words, tokens) -> None:
    graph, state = graph_of(words).automaton, np.zeros(1, np.int32)
    for token in tokens:
        state = graph.follow(state, np.array([token]))
    arcs, gain = graph.wanted(np.repeat(state, 2))
    _, each = graph.advance(np.repeat(state, 4), np.arange(4))
    expected = {token: float(gain) for token, gain in enumerate(each) if gain > 0}
    for place in (0, 1):
        here = arcs.index == place
        assert dict(zip(arcs.tokens[here].tolist(), gain[here].tolist(), strict=True)) == expected
        assert here.sum() == len(expected)


@settings(deadline=None)
@given(lists=st.lists(_words, min_size=1, max_size=4), tokens=st.lists(_tokens, min_size=1, max_size=4))
def test_many_graphs_at_once_do_as_each_alone(lists, tokens) -> None:
    graphs = [graph_of(words) for words in lists]
    joined, offsets = join(graphs)
    pairs = [(which, line) for which in range(len(graphs)) for line in tokens]
    states = np.array([offsets[which] for which, _ in pairs])
    alone = np.zeros(len(pairs), np.int32)
    for position in range(min(map(len, tokens))):
        now = np.array([line[position] for _, line in pairs])
        states, gained = joined.advance(states, now)
        for row, (which, _) in enumerate(pairs):
            state, gain = graphs[which].automaton.advance(alone[row : row + 1], now[row : row + 1])
            alone[row] = state[0]
            assert (states[row] - offsets[which], gained[row]) == (state[0], gain[0])
    arcs = joined.arcs(states, with_root=True)
    for row, (which, _) in enumerate(pairs):
        own = graphs[which].automaton.arcs(alone[row : row + 1], with_root=True)
        assert arcs.tokens[arcs.index == row].tolist() == own.tokens.tolist()


def test_nothing_asked_nothing_answered() -> None:
    graph = graph_of({(A, B): 1}).automaton
    none = np.empty(0, np.int64)
    assert [len(part) for part in graph.advance(none, none)] == [0, 0]
    assert len(graph.arcs(none).tokens) == 0 and len(graph.wanted(none)[1]) == 0


VOCABULARY = ["<blank>", "<s>", "</s>", *"阿里巴平头哥", "n@@", "b@@", "a", "n", "b"]


def test_from_a_list_to_words_found() -> None:
    cache = GraphCache(Speller(VOCABULARY))
    graph = cache.get(HotwordList.of([("阿里", 20), ("阿里巴巴", 20), ("NBA", 10), ("蚂蚁", 20)]))
    ids = [VOCABULARY.index(piece) for piece in "阿里巴巴"]
    assert graph.find(ids) == [Match("阿里", 0, 2), Match("阿里巴巴", 0, 4)]
    assert graph.unspellable == ("蚂蚁",)
    for spelling in ("n@@ b@@ a", "n b a"):
        assert [match.word for match in graph.find([VOCABULARY.index(piece) for piece in spelling.split()])] == ["NBA"]
    assert gains(graph, ids) == pytest.approx([2, 2, 2, 2, 0])


def test_of_words_spelt_alike_the_higher_weight_counts() -> None:
    spelt = Speller(VOCABULARY).spell(HotwordList.of([("阿·里", 30), ("阿里", 20), ("阿-里", 10)]))
    graph = build(spelt.words, nats_per_weight=0.1)
    ids = [VOCABULARY.index(piece) for piece in "阿里"]
    assert gains(graph, ids) == pytest.approx([3, 3, 0])
    assert graph.find(ids) == [Match("阿·里", 0, 2)]


def test_graphs_are_kept_by_content_and_within_bounds() -> None:
    cache = GraphCache(Speller(VOCABULARY), most_states=8)
    one, other = HotwordList.of([("阿里", 20), ("平头", 5)]), HotwordList.of([("平头哥", 20)])
    graph = cache.get(one)
    assert cache.get(HotwordList.of([("平头", 5), ("阿里", 20)])) is graph
    assert (len(cache), cache.states) == (1, 5)
    second = cache.get(other)
    assert (len(cache), cache.states) == (1, 4) and cache.get(other) is second
    assert cache.get(one) is not graph
    large = HotwordList.of([("阿里巴平头哥", 20), ("哥头平巴里阿", 20)])
    assert cache.get(large) is cache.get(large) and len(cache) == 1


def test_a_graph_has_as_many_arcs_as_letters_however_words_overlap() -> None:
    words = {tuple([0, n % 30 + 1] * 15 + [n + 1]): 1.0 for n in range(200)}
    graph = graph_of(words).automaton
    assert len(graph.keys) == graph.states - 1 <= sum(map(len, words))
