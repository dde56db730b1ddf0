"""Hotwords in steps of the model: what a search over all scores finds, whatever the neighbours and the shapes are."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from stream_server.engine.runner import Row, RowResult
from stream_server.models import program
from stream_server.models.architecture import UNSPOKEN
from stream_server.models.paraformer import Paraformer
from stream_server.models.streaming import ParaformerRunner
from stream_server.speech.beam import START, BeamSearch, FullScores
from stream_server.speech.context_graph import ContextGraph
from stream_server.speech.decoding import Progress
from tests.models.test_program import CUDA, SLOTS, narrow
from tests.models.test_streaming import DEFAULT, alone, pieces, sound
from tests.support.hotwords import graph_of


class Recording:
    """The network, which keeps the scores of what was said."""

    def __init__(self, network: Paraformer) -> None:
        self._network = network
        self.hear = network.hear
        self.scores: list[tuple[int, torch.Tensor]] = []

    def say(self, window, batch, caches, heard, tokens, writes) -> torch.Tensor:
        scores = self._network.say(window, batch, caches, heard, tokens, writes)
        self.scores.append((int(heard.tokens.count[0]), scores))
        return scores


def recorded(model, samples: np.ndarray) -> np.ndarray:
    """The scores of all positions of a stream, [1, N, vocabulary]."""
    runner = ParaformerRunner(model, [DEFAULT], 1)
    runner.network = recording = Recording(model.network)
    alone(runner, samples)
    return torch.cat([scores[:, :count] for count, scores in recording.scores], 1).float().numpy()


def likely_words(scores: np.ndarray, seed: int, count: int = 60) -> dict[tuple[int, ...], float]:
    """Words of tokens that are nearly as likely as the best, here and there, with bonuses that may just suffice."""
    chance = random.Random(seed)
    ranked = np.argsort(-scores[0], -1)[:, :4]
    words: dict[tuple[int, ...], float] = {}
    for _ in range(count):
        start = chance.randrange(max(1, len(ranked) - 4))
        length = chance.randint(1, 4)
        ids = [int(chance.choice(list(row))) for row in ranked[start : start + length]]
        words[tuple(ids)] = chance.choice((0.2, 0.5, 1.0, 2.0))
    return words


@dataclass
class Listener:
    """A stream with hotwords, hop by hop."""

    samples: np.ndarray
    graph: ContextGraph | None
    slot: int = 0
    progress: Progress | None = None
    certain: list[tuple[str, int, int]] = field(default_factory=list)
    done: int = 0

    @property
    def hops(self) -> int:
        return -(-len(self.samples) // DEFAULT.hop_samples)

    def row(self) -> Row:
        hop = DEFAULT.hop_samples
        piece = self.samples[self.done * hop : (self.done + 1) * hop]
        return Row(self.slot, piece, self.done == 0, self.done == self.hops - 1, self.graph, self.progress)

    def hear(self, result: RowResult) -> None:
        assert result.error is None
        said = list(zip(result.pieces, result.frames, result.confidences, strict=True))
        self.certain += said[: len(said) - result.undecided]
        self.progress = result.progress
        self.done += 1
        if self.done == self.hops:
            assert not result.undecided and result.progress is None

    def listen(self, runner: ParaformerRunner) -> list[tuple[str, int, int]]:
        while self.done < self.hops:
            self.hear(runner.run(DEFAULT, [self.row()])[0])
        return self.certain


@pytest.mark.parametrize("seed", range(4))
def test_tokens_are_those_of_a_search_over_all_scores_of_the_segment(seed: int) -> None:
    model, samples = narrow(), sound(8.4, seed=seed)
    scores = recorded(model, samples)
    graph = graph_of(likely_words(scores, seed))
    (step,) = BeamSearch([graph]).advance([0], [START], [scores.shape[1]], FullScores(scores))
    ids = np.concatenate([step.certain, step.undecided])
    assert (ids != scores[0].argmax(-1)).any(), "the words change something"
    heard = Listener(samples, graph).listen(ParaformerRunner(model, [DEFAULT], 1))
    spoken = [(place, id_) for place, id_ in enumerate(ids) if id_ >= UNSPOKEN]
    assert [piece for piece, *_ in heard] == [model.vocabulary[id_] for _, id_ in spoken]
    probable = torch.from_numpy(scores[0]).softmax(-1).numpy()
    for (_, _, confidence), (place, id_) in zip(heard, spoken, strict=True):
        assert abs(confidence - 100 * probable[place, id_]) < 0.51


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize(("dtype", "fixed_shapes", "room"), [
    (torch.float32, False, 0.6), (torch.bfloat16, True, 0.6), (torch.float32, True, 0.2)])
def test_a_row_does_not_depend_on_its_neighbours_and_their_lists(
        dtype: torch.dtype, fixed_shapes: bool, room: float, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "TOKENS_PER_FRAME", room)
    # On CUDA products of other sizes are rounded otherwise, which in 16 bits may be another token.
    model = narrow(dtype if device == "cpu" else torch.float32, device)
    words = likely_words(recorded(narrow(), sound(6, seed=1)), 1)
    graphs = [graph_of(words), graph_of(dict(list(words.items())[:7])), None]
    streams = [(sound(3.2 + seed % 3, seed=seed), graphs[seed % 3]) for seed in range(7)]
    single = ParaformerRunner(model, [DEFAULT], 1, fixed_shapes=fixed_shapes)
    expected = [Listener(*stream).listen(single) for stream in streams]
    runner = ParaformerRunner(model, [DEFAULT], SLOTS, fixed_shapes=fixed_shapes)
    chance, changed = random.Random(3), 0
    listeners = [Listener(*stream, slot) for slot, stream in enumerate(streams)]
    while going := [one for one in listeners if one.done < one.hops]:
        stepping = [one for one in going if chance.random() < 0.7]
        if stepping:
            results = runner.run(DEFAULT, [one.row() for one in stepping])
            for one, result in zip(stepping, results, strict=True):
                one.hear(result)
                changed += result.undecided > 0
    assert [one.certain for one in listeners] == expected
    assert changed > 2 and sum(map(len, expected)) > 50


@pytest.mark.parametrize("fixed_shapes", [False, True])
def test_a_list_that_changes_loses_and_doubles_no_token(fixed_shapes: bool) -> None:
    model, samples = narrow(), sound(8, seed=2)
    scores = recorded(model, samples)
    graphs: Sequence[ContextGraph | None] = [graph_of(likely_words(scores, seed)) for seed in range(3)] + [None]
    runner = ParaformerRunner(model, [DEFAULT], 1, fixed_shapes=fixed_shapes)
    plain = [frame for _, frames in pieces(alone(runner, samples)) for frame in frames]
    chance = random.Random(5)
    for _ in range(5):
        one = Listener(samples, chance.choice(graphs))
        while one.done < one.hops:
            one.hear(runner.run(DEFAULT, [one.row()])[0])
            one.graph = chance.choice(graphs)
        assert [frame for _, frame, _ in one.certain] == plain


def test_a_search_that_fails_costs_the_hotwords_and_no_text() -> None:
    model, samples = narrow(), sound(6, seed=2)
    graph = graph_of(likely_words(recorded(model, samples), 2))
    runner = ParaformerRunner(model, [DEFAULT], 1)
    plain = [frame for _, frames in pieces(alone(runner, samples)) for frame in frames]
    one = Listener(samples, graph)
    while one.done < one.hops:
        if one.done == 3:
            graph.automaton.fail.resize(1, refcheck=False)
        one.hear(runner.run(DEFAULT, [one.row()])[0])
    assert [frame for _, frame, _ in one.certain] == plain
