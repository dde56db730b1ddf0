"""Tokens: what the decoder's scores say of each row, the arg-max, or where it has hotwords what a search finds."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from stream_server.engine.runner import Row, RowResult
from stream_server.models.architecture import UNSPOKEN
from stream_server.speech.beam import LOWEST
from stream_server.speech.context_graph import ContextGraph
from stream_server.speech.decoding import Decoded, Progress, Spoken, decode

log = logging.getLogger(__name__)

OVERFLOW = RowResult(error="the model's numbers overflowed")

_TOKEN_BITS = 32


class Said(NamedTuple):
    """A row of what the decoder gave: its packed numbers, see `program.pack`, and row `place` of `scores`, which are
    [B, N, vocabulary] on the device."""

    packed: list[int]
    scores: Tensor
    place: int

    @property
    def fine(self) -> bool:
        return bool(self.packed[1])

    @property
    def columns(self) -> tuple[list[int], list[int], list[int]]:
        """The most probable token of each position, its frame and its confidence."""
        packed, count = self.packed, self.packed[0]
        room = (len(packed) - 2) // 3
        frames, confidences = 2 + room, 2 + 2 * room
        return packed[2 : 2 + count], packed[frames : frames + count], packed[confidences : confidences + count]

    def spoken(self) -> list[Spoken]:
        """The same as tokens."""
        return [Spoken(*values) for values in zip(*self.columns, strict=True)]


def answers(rows: Sequence[Row], said: Sequence[Said], vocabulary: Sequence[str]) -> list[RowResult]:
    """The rows' results. Only rows with hotwords cost more than looking up their tokens.

    Raises nothing, as the rows' state may have been written: a search that fails costs the hotwords, not the text.
    """
    results = [_plain(row, one, vocabulary) if one.fine else OVERFLOW for row, one in zip(rows, said, strict=True)]
    passes: dict[int, list[int]] = {}
    for place, (row, one) in enumerate(zip(rows, said, strict=True)):
        if row.graph is not None and one.fine:
            passes.setdefault(id(one.scores), []).append(place)
    for places in passes.values():
        try:
            decoded = _search([said[place] for place in places], [_going_on(rows[place]) for place in places])
        except Exception:
            log.exception("the search for hotwords failed in a step of %d rows; they go without", len(places))
            continue
        for place, one in zip(places, decoded, strict=True):
            results[place] = _searched(rows[place], one, vocabulary)
    return results


def _going_on(row: Row) -> Progress:
    return row.progress if row.progress is not None and row.progress.graph is row.graph else Progress(row.graph)


def _left_behind(row: Row) -> list[Spoken]:
    """What the row's search had not decided when it ended: it stays as it stood."""
    return row.progress.undecided if row.progress is not None else []


def _plain(row: Row, said: Said, vocabulary: Sequence[str]) -> RowResult:
    if row.progress is not None:
        return RowResult(*_columns([*_left_behind(row), *said.spoken()], vocabulary))
    ids, frames, confidences = said.columns
    if ids and min(ids) < UNSPOKEN:
        return RowResult(*_columns(said.spoken(), vocabulary))
    # What nearly all rows are: nothing to leave out, so that a token needs no object of its own.
    return RowResult([vocabulary[id_] for id_ in ids], frames, confidences)


def _searched(row: Row, decoded: Decoded, vocabulary: Sequence[str]) -> RowResult:
    changed = row.progress is not None and row.progress.graph is not row.graph
    certain = [*(_left_behind(row) if changed else ()), *decoded.certain]
    if row.last:
        return RowResult(*_columns([*certain, *decoded.undecided], vocabulary))
    pieces, frames, confidences = _columns([*certain, *decoded.undecided], vocabulary)
    undecided = sum(token.id >= UNSPOKEN for token in decoded.undecided)
    return RowResult(pieces, frames, confidences, undecided=undecided, progress=decoded.progress)


def _columns(tokens: Sequence[Spoken], vocabulary: Sequence[str]) -> tuple[list[str], list[int], list[int]]:
    spoken = [token for token in tokens if token.id >= UNSPOKEN]
    return ([vocabulary[token.id] for token in spoken], [token.frame for token in spoken],
            [token.confidence for token in spoken])


def _search(said: Sequence[Said], streams: Sequence[Progress]) -> list[Decoded]:
    """The rows of one pass, each with its list, together."""
    tops = [one.spoken() for one in said]
    scores = WantedScores(said[0].scores, [one.place for one in said], [stream.graph for stream in streams], tops)
    return decode(streams, [[token.frame for token in top] for top in tops], scores)


def search_whole(scores: Tensor, ids: Tensor, counts: Sequence[int], graphs: Mapping[int, ContextGraph]
                 ) -> dict[int, list[Spoken]]:
    """The tokens of those rows of [B, N, vocabulary] that have hotwords, each a whole segment of `counts` positions
    whose most probable tokens are `ids` [B, N]."""
    rows = [row for row in graphs if counts[row]]
    if not rows:
        return {}
    best = ids.tolist()
    tops = [[Spoken(id_, place, 0) for place, id_ in enumerate(best[row][: counts[row]])] for row in rows]
    found = WantedScores(scores, rows, [graphs[row] for row in rows], tops)
    decoded = decode([Progress(graphs[row]) for row in rows], [list(range(counts[row])) for row in rows], found)
    return {row: [*one.certain, *one.undecided] for row, one in zip(rows, decoded, strict=True)}


class WantedScores:
    """Of some rows of [B, N, vocabulary] the best scores, and those of the tokens that their graphs have.

    Taken from the device at once: where a search will ask is not known before it asks. Scores are the decoder's own:
    they differ from log-probabilities by one number a position, which no choice depends on.
    """

    def __init__(self, scores: Tensor, places: Sequence[int], graphs: Sequence[ContextGraph],
                 tops: Sequence[Sequence[Spoken]]) -> None:
        """`places[i]` is the row in `scores` of row i here, `tops[i]` the arg-max of its positions."""
        sizes = [len(graph.alphabet) for graph in graphs]
        ids = np.zeros((len(graphs), max(sizes)), np.int64)
        for row, graph in enumerate(graphs):
            ids[row, : sizes[row]] = graph.alphabet
        self._first = np.cumsum([0, *sizes[:-1]])
        self._keys = np.concatenate([row << _TOKEN_BITS | graph.alphabet for row, graph in enumerate(graphs)])
        rows = torch.tensor(places, device=scores.device)
        chosen = scores[rows]
        wanted = torch.from_numpy(ids).to(scores.device)[:, None].expand(-1, scores.shape[1], -1)
        best, total = chosen.amax(-1).float(), chosen.float().logsumexp(-1)
        taken = torch.cat((chosen.gather(-1, wanted).float(), best[..., None], total[..., None]), -1).cpu().numpy()
        self._scores, self._total = taken[..., :-2], taken[..., -1]
        self.best_scores = taken[..., -2].astype(np.float64)
        self.best = np.zeros(best.shape, np.int64)
        for row, top in enumerate(tops):
            self.best[row, : len(top)] = [token.id for token in top]

    def of(self, rows: np.ndarray, positions: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """The scores float64 [M] of `ids` [M], which the rows' graphs have, at `positions` [M] of `rows` [M]."""
        columns = np.searchsorted(self._keys, rows << _TOKEN_BITS | ids) - self._first[rows]
        return np.maximum(self._scores[rows, positions, columns].astype(np.float64), LOWEST)

    def confidences(self, rows: np.ndarray, positions: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """Percents int [M]."""
        scores = self.best_scores[rows, positions]
        others = np.flatnonzero(ids != self.best[rows, positions])
        scores[others] = self.of(rows[others], positions[others], ids[others])
        return np.rint(100 * np.exp(scores - self._total[rows, positions])).astype(np.int64)
