"""Search for the tokens of a stream with hotwords: many streams at once, hop by hop.

Paraformer gives each position scores that do not depend on what is chosen elsewhere. So all that two hypotheses in
the same state of the graph may still differ in is behind them: the better one is kept (Viterbi over graph states), and
without hotwords the search is the arg-max. What can be left out without loss, because no credit is negative:

- At each position only the best token and those that go along a word matter: any other leads to the root, having
  earned nothing, for less than the best token.
- A token that begins a word matters from the best hypothesis alone, and only where it lacks less than the words that
  it begins can bring.
- A hypothesis matters only while what it lacks is less than what its unfinished words can still bring. So one that
  has won is soon alone, and its text decided.

What is lost is what `width` cuts off.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from stream_server.speech.context_graph import ContextGraph, join

WIDTH = 8
"""Hypotheses of a stream."""
MOST_UNDECIDED = 32
"""Tokens; beyond, the oldest is decided as the best hypothesis has it."""
LOWEST = -1e5
"""Nats: stands for a log-probability of -inf, which could not be subtracted."""


class Scores(Protocol):
    """Log-probabilities of B rows, N positions each. `best` int [B, N] and `best_scores` [B, N]: the arg-max."""

    best: np.ndarray
    best_scores: np.ndarray

    def of(self, rows: np.ndarray, positions: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """The scores float64 [M] of `ids` [M] at `positions` [M] of `rows` [M]."""


class FullScores:
    """All scores, [B, N, vocabulary], natural logarithms or anything with the same differences; no NaN."""

    def __init__(self, scores: np.ndarray) -> None:
        self._scores = scores
        self.best = scores.argmax(-1)
        best = np.take_along_axis(scores, self.best[..., None], -1)[..., 0]
        self.best_scores = np.maximum(best.astype(np.float64), LOWEST)

    def of(self, rows: np.ndarray, positions: np.ndarray, ids: np.ndarray) -> np.ndarray:
        return np.maximum(self._scores[rows, positions, ids].astype(np.float64), LOWEST)


class TopScores:
    """The k best of each position, best first: `ids` and `scores` [B, N, k]; and whoever knows of the others."""

    def __init__(self, ids: np.ndarray, scores: np.ndarray,
                 others: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray] | None = None) -> None:
        """`others(rows, positions, ids)` [M] gives the scores [M] of ids outside; without it they cannot be chosen."""
        self._ids, self._scores, self._others = ids, scores, others
        self.best = ids[..., 0]
        self.best_scores = np.maximum(scores[..., 0].astype(np.float64), LOWEST)

    def of(self, rows: np.ndarray, positions: np.ndarray, ids: np.ndarray) -> np.ndarray:
        same = self._ids[rows, positions] == np.asarray(ids)[:, None]
        found = same.any(1)
        scores = self._scores[rows, positions, same.argmax(1)].astype(np.float64)
        missing = np.flatnonzero(~found)
        scores[missing] = LOWEST
        if self._others is not None and len(missing):
            scores[missing] = self._others(rows[missing], positions[missing], ids[missing])
        return np.maximum(scores, LOWEST)


@dataclass(frozen=True, slots=True, eq=False)
class Beam:
    """What a stream carries from hop to hop: H hypotheses about its U undecided tokens, the best first.

    `tokens` int32 [H, U]; `states` int32 [H], of the stream's graph; `kept` float64 [H], nats by which each falls
    short of the best if the segment ended here. The best is so without what unfinished words have earned.
    """

    tokens: np.ndarray
    states: np.ndarray
    kept: np.ndarray


START = Beam(np.zeros((1, 0), np.int32), np.zeros(1, np.int32), np.zeros(1))
"""The beam of a stream of which nothing has been heard."""


class Step(NamedTuple):
    """What a hop brought: `certain`, int32, tokens behind those of the last hop's `certain` that nothing will change;
    `undecided`, int32, those that follow as of now. Together they are the best text so far, and at a segment's end
    the final one."""

    certain: np.ndarray
    undecided: np.ndarray
    beam: Beam


class _Hypotheses(NamedTuple):
    """Of all rows, row by row and the best of each first. `recent` [M, most_undecided + 1]: the latest tokens,
    right-aligned."""

    rows: np.ndarray
    states: np.ndarray
    kept: np.ndarray
    recent: np.ndarray

    def take(self, places: np.ndarray) -> _Hypotheses:
        return _Hypotheses(*(part[places] for part in self))


class _Candidates(NamedTuple):
    """Ways to go on: hypothesis `parents[i]` with `tokens[i]`, which lacks `lacks[i]` nats (at most 0) of the best."""

    parents: np.ndarray
    tokens: np.ndarray
    lacks: np.ndarray


class _Starts(NamedTuple):
    """Tokens that may begin a word, where they are likely enough for it."""

    rows: np.ndarray
    positions: np.ndarray
    tokens: np.ndarray
    lacks: np.ndarray


class BeamSearch:
    """Searches with some graphs at once; immutable. Made anew when the set of graphs in use changes."""

    def __init__(self, graphs: Sequence[ContextGraph], *, width: int = WIDTH,
                 most_undecided: int = MOST_UNDECIDED) -> None:
        """`graphs`: at least one, each once."""
        self._automaton, self._offsets = join(graphs)
        self._width = width
        self._most_undecided = most_undecided

    def advance(self, which: Sequence[int], beams: Sequence[Beam], counts: Sequence[int], scores: Scores) -> list[Step]:
        """A hop of B streams: row i has graph `which[i]`, the beam of its last step, and `counts[i]` new positions.

        A row's result does not depend on the other rows, nor on how a segment is cut into hops.
        """
        if not beams:
            return []
        counts = np.asarray(counts, np.int64)
        offsets = self._offsets[np.asarray(which, np.int64)]
        hypotheses = self._begin(beams, offsets)
        starts = self._starts(offsets, counts, scores)
        lengths = np.array([beam.tokens.shape[1] for beam in beams], np.int64)
        overflow: list[tuple[np.ndarray, np.ndarray]] = []
        for position in range(counts.max(initial=0)):
            hypotheses = self._step(position, hypotheses, counts, starts, scores)
            lengths[position < counts] += 1
            if lengths.max() > self._most_undecided:
                hypotheses, fallen = self._limit(hypotheses, lengths)
                overflow.append(fallen)
                lengths[fallen[0]] = self._most_undecided
        return self._results(hypotheses, lengths, overflow, offsets)

    def _begin(self, beams: Sequence[Beam], offsets: np.ndarray) -> _Hypotheses:
        sizes = [len(beam.states) for beam in beams]
        recent = np.full((sum(sizes), self._most_undecided + 1), -1, np.int32)
        end = 0
        for beam, size in zip(beams, sizes, strict=True):
            end += size
            recent[end - size : end, recent.shape[1] - beam.tokens.shape[1] :] = beam.tokens
        rows = np.repeat(np.arange(len(beams)), sizes)
        states = np.concatenate([beam.states for beam in beams]) + offsets[rows]
        return _Hypotheses(rows, states, np.concatenate([beam.kept for beam in beams]), recent)

    def _starts(self, roots: np.ndarray, counts: np.ndarray, scores: Scores) -> _Starts:
        rows, arcs = self._automaton.own_arcs(np.arange(len(roots)), roots)
        tokens, targets = self._automaton.tokens(arcs), self._automaton.targets[arcs]
        brings = self._automaton.credit[targets] + self._automaton.promise[targets]
        times = counts[rows]
        positions = np.arange(times.sum()) - np.repeat(np.cumsum(times) - times, times)
        rows, tokens, brings = (np.repeat(part, times) for part in (rows, tokens, brings))
        lacks = scores.of(rows, positions, tokens) - scores.best_scores[rows, positions]
        good = (lacks + brings > 0) & (tokens != scores.best[rows, positions])
        return _Starts(rows[good], positions[good], tokens[good], lacks[good])

    def _step(self, position: int, all_: _Hypotheses, counts: np.ndarray, starts: _Starts,
              scores: Scores) -> _Hypotheses:
        going = position < counts[all_.rows]
        hypotheses = all_.take(np.flatnonzero(going))
        candidates = self._candidates(position, hypotheses, starts, scores)
        rows = hypotheses.rows[candidates.parents]
        states = self._automaton.follow(hypotheses.states[candidates.parents], candidates.tokens)
        kept = hypotheses.kept[candidates.parents] + candidates.lacks + self._automaton.credit[states]
        chosen, kept = self._select(rows, states, kept)
        recent = hypotheses.recent[candidates.parents[chosen]]
        recent[:, :-1] = recent[:, 1:]
        recent[:, -1] = candidates.tokens[chosen]
        moved = _Hypotheses(rows[chosen], states[chosen].astype(np.int64), kept, recent)
        if going.all():
            return moved
        resting = all_.take(np.flatnonzero(~going))
        together = _Hypotheses(*(np.concatenate(pair) for pair in zip(resting, moved, strict=True)))
        return together.take(np.argsort(together.rows, kind="stable"))

    def _candidates(self, position: int, hypotheses: _Hypotheses, starts: _Starts, scores: Scores) -> _Candidates:
        rows = hypotheses.rows
        everyone = np.arange(len(rows))
        best = scores.best[rows, position]
        along = self._automaton.arcs(hypotheses.states)
        other = along.tokens != best[along.index]
        index, tokens = along.index[other], along.tokens[other]
        at = np.full(len(index), position)
        lacks = scores.of(rows[index], at, tokens) - scores.best_scores[rows[index], position]
        now = np.flatnonzero(starts.positions == position)
        heads = np.searchsorted(rows, starts.rows[now])
        return _Candidates(
            np.concatenate([everyone, index, heads]),
            np.concatenate([best, tokens, starts.tokens[now]]).astype(np.int64),
            np.concatenate([np.zeros(len(rows)), lacks, starts.lacks[now]]),
        )

    def _select(self, rows: np.ndarray, states: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which candidates live on, row by row and the best of each first, and what they lack of the best."""
        order = np.lexsort((-kept, states, rows))
        order = order[_changes(rows[order]) | _changes(states[order])]
        order = order[np.lexsort((-kept[order], rows[order]))]
        heads = _changes(rows[order])
        lacks = kept[order] - kept[order][heads][np.cumsum(heads) - 1]
        alive = heads | (lacks + self._automaton.promise[states[order]] > 0)
        order, lacks, heads = order[alive], lacks[alive], heads[alive]
        hopes = lacks + self._automaton.pending[states[order]]
        ranked = np.lexsort((-hopes, ~heads, rows[order]))
        order, lacks, heads = order[ranked], lacks[ranked], heads[ranked]
        first = np.flatnonzero(heads)
        rank = np.arange(len(order)) - first[np.cumsum(heads) - 1]
        return order[rank < self._width], lacks[rank < self._width]

    def _limit(self, hypotheses: _Hypotheses, lengths: np.ndarray) -> tuple[_Hypotheses, tuple[np.ndarray, np.ndarray]]:
        """Decides the oldest token of the rows that have one too many: the rows, and their tokens."""
        heads = np.flatnonzero(_changes(hypotheses.rows))
        oldest = hypotheses.recent[:, 0]
        over = np.flatnonzero(lengths > self._most_undecided)
        agrees = oldest == oldest[heads][hypotheses.rows]
        within = lengths[hypotheses.rows] <= self._most_undecided
        return hypotheses.take(np.flatnonzero(agrees | within)), (over, oldest[heads][over])

    def _results(self, hypotheses: _Hypotheses, lengths: np.ndarray, overflow: list[tuple[np.ndarray, np.ndarray]],
                 offsets: np.ndarray) -> list[Step]:
        heads = np.flatnonzero(_changes(hypotheses.rows))
        ends = [*heads[1:], len(hypotheses.rows)]
        same = hypotheses.recent == hypotheses.recent[heads][hypotheses.rows]
        common = np.logical_and.reduceat(same, heads)
        steps = []
        for row, (head, end) in enumerate(zip(heads, ends, strict=True)):
            tokens = hypotheses.recent[head:end, hypotheses.recent.shape[1] - lengths[row] :]
            agreed = int(np.logical_and.accumulate(common[row, common.shape[1] - lengths[row] :]).sum())
            fallen = [column[rows == row] for rows, column in overflow]
            states = (hypotheses.states[head:end] - offsets[row]).astype(np.int32)
            beam = Beam(tokens[:, agreed:].copy(), states, hypotheses.kept[head:end].copy())
            steps.append(Step(np.concatenate([*fallen, tokens[0, :agreed]]), beam.tokens[0], beam))
        return steps


def _changes(values: np.ndarray) -> np.ndarray:
    """Where a run of equal values begins: bool [N]."""
    changes = np.ones(len(values), bool)
    changes[1:] = values[1:] != values[:-1]
    return changes
