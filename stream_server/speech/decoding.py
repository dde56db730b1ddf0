"""Decoding with hotwords: what a hop's positions say, in streams that each have a list, and what stays undecided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from stream_server.speech.beam import START, Beam, BeamSearch, Scores
from stream_server.speech.context_graph import ContextGraph


class Spoken(NamedTuple):
    """A token, the frame of 60 ms since the stream's start in which it fired, and the model's confidence in percent."""

    id: int
    frame: int
    confidence: int


@dataclass(frozen=True, slots=True, eq=False)
class Progress:
    """What a stream with hotwords carries from hop to hop; never changed, so that a step may be run again.

    `frames` are those of the undecided tokens, `confidences` for each the percents of the tokens that are possible.
    """

    graph: ContextGraph
    beam: Beam = START
    frames: tuple[int, ...] = ()
    confidences: tuple[dict[int, int], ...] = ()

    @property
    def undecided(self) -> list[Spoken]:
        """The undecided tokens as the best hypothesis has them."""
        return self._spoken(self.beam.tokens[0], 0)

    def _spoken(self, ids: np.ndarray, start: int) -> list[Spoken]:
        return [Spoken(id_, self.frames[place], self.confidences[place][id_])
                for place, id_ in enumerate(ids.tolist(), start)]


class Confident(Scores, Protocol):
    """Scores that also know how probable a token is."""

    def confidences(self, rows: np.ndarray, positions: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """Percents int [M] of `ids` [M] at `positions` [M] of `rows` [M]."""


class Decoded(NamedTuple):
    """What a hop brought to a stream: tokens that nothing will change, those that stand behind them as of now, and
    what to go on with."""

    certain: list[Spoken]
    undecided: list[Spoken]
    progress: Progress


def decode(streams: Sequence[Progress], frames: Sequence[Sequence[int]], scores: Confident) -> list[Decoded]:
    """A hop of some streams; `frames[i]` are those of the positions that are new in row i of `scores`.

    A row's result does not depend on the other rows.
    """
    graphs = list({id(stream.graph): stream.graph for stream in streams}.values())
    places = {id(graph): place for place, graph in enumerate(graphs)}
    steps = BeamSearch(graphs).advance([places[id(stream.graph)] for stream in streams],
                                       [stream.beam for stream in streams], [len(new) for new in frames], scores)
    possible = _possible(streams, frames, [(step.certain, step.beam) for step in steps], scores)
    decoded = []
    for stream, new, percents, step in zip(streams, frames, possible, steps, strict=True):
        whole = Progress(stream.graph, step.beam, (*stream.frames, *new), (*stream.confidences, *percents))
        certain = len(step.certain)
        left = Progress(stream.graph, step.beam, whole.frames[certain:], whole.confidences[certain:])
        decoded.append(Decoded(whole._spoken(step.certain, 0), left.undecided, left))
    return decoded


def _possible(streams: Sequence[Progress], frames: Sequence[Sequence[int]], found: Sequence[tuple[np.ndarray, Beam]],
              scores: Confident) -> list[list[dict[int, int]]]:
    """For each new position of each row the percents of the tokens that are chosen there or still may be."""
    asked: list[tuple[int, int, int]] = []
    for row, (stream, new, (certain, beam)) in enumerate(zip(streams, frames, found, strict=True)):
        old = len(stream.frames)
        for position in range(len(new)):
            place = old + position
            left = place - len(certain)
            ids = certain[place : place + 1] if left < 0 else np.unique(beam.tokens[:, left])
            asked.extend((row, position, id_) for id_ in ids.tolist())
    possible: list[list[dict[int, int]]] = [[{} for _ in new] for new in frames]
    if asked:
        rows, positions, ids = np.array(asked, np.int64).T
        for (row, position, id_), percent in zip(asked, scores.confidences(rows, positions, ids).tolist(), strict=True):
            possible[row][position][id_] = percent
    return possible
