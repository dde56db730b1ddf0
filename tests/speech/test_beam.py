"""The search against all sequences there are, against the arg-max, and against itself cut and batched otherwise."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_server.speech.beam import START, BeamSearch, FullScores, TopScores
from tests.support.hotwords import bonus, graph_of

SIZE = 4
WIDE = 1_000
_words = st.dictionaries(st.lists(st.integers(0, SIZE - 1), min_size=1, max_size=4).map(tuple),
                         st.sampled_from([0.3, 0.9, 2.0, 4.1]), max_size=5)
_seeds = st.integers(0, 1 << 30)


def spoken(seed: int, positions: int, size: int = SIZE) -> np.ndarray:
    """Log-probabilities [positions, size]."""
    random = np.random.default_rng(seed)
    scores = random.normal(size=(positions, size)) * random.choice([0.5, 2.0, 4.0])
    return scores - np.log(np.exp(scores).sum(-1, keepdims=True))


def search(graph, scores: np.ndarray, cuts: tuple[int, ...] = (), **options) -> list[tuple[int, ...]]:
    """The best text after each hop, and last that of the segment. What was certain must stay."""
    beams = BeamSearch([graph], **options)
    beam, certain, texts = START, (), []
    for start, end in zip((0, *cuts), (*cuts, len(scores)), strict=True):
        [step] = beams.advance([0], [beam], [end - start], FullScores(scores[None, start:end]))
        certain += tuple(step.certain.tolist())
        beam = step.beam
        texts.append(certain + tuple(step.undecided.tolist()))
        assert len(texts[-1]) == end and beam.tokens.shape == (len(beam.states), len(step.undecided))
        assert beam.kept[0] == 0 and beam.kept.max() == 0
    return texts


def reached(graph, tokens: tuple[int, ...]) -> int:
    state = np.zeros(1, np.int32)
    for token in tokens:
        state = graph.automaton.follow(state, np.array([token]))
    return int(state[0])


def total(words: dict, scores: np.ndarray, tokens: tuple[int, ...]) -> float:
    return float(scores[np.arange(len(tokens)), list(tokens)].sum()) + bonus(words, tokens)


def cuts_of(seed: int, length: int) -> tuple[int, ...]:
    random = np.random.default_rng(seed)
    return tuple(sorted(random.integers(0, length + 1, size=random.integers(0, 5)).tolist()))


@settings(deadline=None)
@given(words=_words, seed=_seeds, length=st.integers(0, 5))
def test_the_best_of_all_sequences_is_found(words, seed, length) -> None:
    scores = spoken(seed, length)
    [found] = search(graph_of(words), scores, width=WIDE)
    best = max(total(words, scores, tokens) for tokens in product(range(SIZE), repeat=length))
    assert total(words, scores, found) == pytest.approx(best)


@settings(deadline=None)
@given(seed=_seeds, length=st.integers(0, 60), ties=st.booleans(), width=st.sampled_from([1, 8]))
def test_without_hotwords_it_is_the_arg_max_and_all_is_certain(seed, length, ties, width) -> None:
    scores = spoken(seed, length)
    scores = np.round(scores) if ties else scores.astype(np.float32)
    expected = scores.argmax(-1)
    [step] = BeamSearch([graph_of({})], width=width).advance([0], [START], [length], FullScores(scores[None]))
    assert step.certain.tolist() == expected.tolist()
    assert len(step.undecided) == 0 and step.beam.tokens.shape == (1, 0)


@settings(deadline=None)
@given(words=_words, seed=_seeds, length=st.integers(0, 40))
def test_words_of_tokens_never_near_change_nothing(words, seed, length) -> None:
    near = spoken(seed, length)
    scores = np.concatenate([np.full((length, SIZE), -1e4), near], 1)
    [found] = search(graph_of(words), scores)
    assert found == tuple((near.argmax(-1) + SIZE).tolist())


@settings(deadline=None)
@given(words=_words, seed=_seeds, length=st.integers(0, 24), cutting=_seeds,
       width=st.sampled_from([1, 2, 3, WIDE]), most=st.sampled_from([1, 2, 3, 32]))
def test_cutting_into_hops_changes_nothing(words, seed, length, cutting, width, most) -> None:
    scores, graph = spoken(seed, length), graph_of(words)
    options = {"width": width, "most_undecided": most}
    whole = search(graph, scores, **options)[-1]
    assert search(graph, scores, cuts_of(cutting, length), **options)[-1] == whole


@settings(deadline=None)
@given(words=_words, seed=_seeds, length=st.integers(0, 20), hop=st.integers(1, 4), most=st.sampled_from([1, 2, 3, 32]))
def test_what_is_certain_stays_and_the_rest_is_bounded(words, seed, length, hop, most) -> None:
    scores, graph = spoken(seed, length), graph_of(words)
    beams, beam, certain = BeamSearch([graph], most_undecided=most), START, ()
    for start in range(0, length, hop):
        new = scores[None, start : start + hop]
        [step] = beams.advance([0], [beam], [new.shape[1]], FullScores(new))
        certain, beam = certain + tuple(step.certain.tolist()), step.beam
        assert len(certain) + len(step.undecided) == min(start + hop, length)
        assert len(step.undecided) <= most and len(beam.states) <= 8
        assert len(beam.states) == 1 or (beam.tokens[:, 0] != beam.tokens[0, 0]).any()
        assert len(set(beam.states.tolist())) == len(beam.states)
        for tokens, state in zip(beam.tokens.tolist(), beam.states, strict=True):
            assert state == reached(graph, (*certain, *tokens))


@settings(deadline=None)
@given(words=_words, seed=_seeds, length=st.integers(0, 8))
def test_certain_tokens_are_those_of_the_best_whatever_follows(words, seed, length) -> None:
    scores, graph = spoken(seed, length), graph_of(words)
    [step] = BeamSearch([graph], width=WIDE).advance([0], [START], [length], FullScores(scores[None]))
    for following in range(3):
        longer = np.concatenate([scores, spoken(seed + following + 1, 4)])
        final = search(graph, longer, width=WIDE)[-1]
        assert final[: len(step.certain)] == tuple(step.certain.tolist())


@settings(deadline=None)
@given(lists=st.lists(_words, min_size=1, max_size=3), rows=st.lists(st.tuples(_seeds, st.integers(0, 9)), max_size=6),
       width=st.sampled_from([1, 3, 8]), most=st.sampled_from([2, 32]))
def test_batched_is_alone(lists, rows, width, most) -> None:
    graphs = [graph_of(words) for words in lists]
    which = [seed % len(graphs) for seed, _ in rows]
    hops = [[(seed + hop, (length * (hop + 3)) % 10) for seed, length in rows] for hop in range(3)]
    options = {"width": width, "most_undecided": most}
    together, beams, alone = BeamSearch(graphs, **options), [START] * len(rows), [START] * len(rows)
    for hop in hops:
        counts = [length for _, length in hop]
        scores = np.zeros((len(rows), max(counts, default=0), SIZE))
        for row, (seed, length) in enumerate(hop):
            scores[row, :length] = spoken(seed, length)
        steps = together.advance(which, beams, counts, FullScores(scores))
        for row, step in enumerate(steps):
            [own] = BeamSearch([graphs[which[row]]], **options).advance(
                [0], [alone[row]], [counts[row]], FullScores(scores[row, None, : counts[row]]))
            for one, other in [*zip(own[:2], step[:2], strict=True), (own.beam.tokens, step.beam.tokens),
                               (own.beam.states, step.beam.states), (own.beam.kept, step.beam.kept)]:
                assert np.array_equal(one, other)
            alone[row] = own.beam
        beams = [step.beam for step in steps]


@settings(deadline=None)
@given(words=_words, seed=_seeds, length=st.integers(0, 12), k=st.integers(1, SIZE))
def test_the_top_scores_and_the_others_asked_for_are_all_scores(words, seed, length, k) -> None:
    scores, beams = spoken(seed, length)[None], BeamSearch([graph_of(words)])
    ids = np.argsort(-scores, -1, kind="stable")[..., :k]
    top = TopScores(ids, np.take_along_axis(scores, ids, -1), lambda rows, places, ids: scores[rows, places, ids])
    [one], [other] = (beams.advance([0], [START], [length], kind) for kind in (FullScores(scores), top))
    assert all(np.array_equal(left, right) for left, right in zip(one[:2], other[:2], strict=True))


def test_what_the_top_lacks_cannot_be_chosen_unless_it_is_asked_for() -> None:
    scores = np.log(np.array([[[0.7, 0.2, 0.1]]]))
    ids = scores.argsort(-1)[..., ::-1]
    top = ids[..., :1], np.take_along_axis(scores, ids, -1)[..., :1]
    beams = BeamSearch([graph_of({(2,): 5.0})])
    [step] = beams.advance([0], [START], [1], TopScores(*top))
    assert step.certain.tolist() == [0]
    [step] = beams.advance([0], [START], [1], TopScores(*top, lambda rows, places, ids: scores[rows, places, ids]))
    assert step.certain.tolist() == [2]


def rows_of(*likely: dict[int, float]) -> np.ndarray:
    """Scores [positions, SIZE] that are -20 where nothing is said."""
    return np.array([[position.get(token, -20.0) for token in range(SIZE)] for position in likely])


def test_a_word_that_ends_with_the_beginning_of_another_goes_on_for_both() -> None:
    words = {(0, 1): 2.0, (1, 2, 2): 4.0}
    scores = rows_of({3: 0.0, 0: -3.0}, {3: 0.0, 1: -6.0}, {2: 0.0}, {2: 0.0})
    assert search(graph_of(words), scores, (1, 2, 3))[-1] == (0, 1, 2, 2)


def test_beyond_the_most_undecided_the_best_decides() -> None:
    graph, scores = graph_of({(0, 1, 2): 3.0}), rows_of({3: 0.0, 0: -1.0}, {1: 0.0}, {2: 0.0})
    assert search(graph, scores, (1, 2), most_undecided=2)[-1] == (0, 1, 2)
    assert search(graph, scores, (1, 2), most_undecided=1)[-1] == (3, 1, 2)
    beams = BeamSearch([graph], most_undecided=1)
    [step] = beams.advance([0], [START], [2], FullScores(scores[None, :2]))
    assert step.certain.tolist() == [3, 1] and step.beam.states.tolist() == [0]


def test_impossible_tokens_are_not_made_possible() -> None:
    scores = np.array([[0.0, -np.inf], [-np.inf, -np.inf], [0.0, -np.inf]])
    assert search(graph_of({(1, 1, 1): 100.0}), scores)[-1] == (0, 0, 0)


def test_a_word_is_said_once_it_is_whole_and_the_text_before_it_is_certain_early() -> None:
    likely, near, far = 0.0, -3.0, -20.0
    scores = np.array([[likely, far, far, far], [far, likely, near, far], [far, likely, far, near],
                       [likely, far, far, far]])
    graph = graph_of({(2, 3): 4.0})
    beams = BeamSearch([graph])
    beam, said = START, []
    for position in range(4):
        [step] = beams.advance([0], [beam], [1], FullScores(scores[None, position : position + 1]))
        beam = step.beam
        said.append((step.certain.tolist(), step.undecided.tolist()))
    assert said == [([0], []), ([], [1]), ([2, 3], []), ([0], [])]


def test_no_rows_no_steps() -> None:
    assert BeamSearch([graph_of({})]).advance([], [], [], FullScores(np.zeros((0, 0, SIZE)))) == []
