"""Contextual biasing: an Aho-Corasick automaton over token ids that scores hotwords as they are being said.

Shallow fusion of a phrase list with failure arcs (Zhao et al., "Shallow-Fusion End-to-End Contextual Biasing",
Interspeech 2019; the context graphs of icefall, sherpa and WeNet), over Aho and Corasick's automaton (1975). Each
token along a word earns the word's bonus at once; where a match breaks, what was earned for the unfinished part is
taken back; a completed word keeps its bonus.

The bonus of a sequence is the sum of the *credits* of all words that occur in it. A word's credit is its bonus (per
token, times its tokens) less the credits of other words that lie within it, at least 0. So 阿里巴巴 is worth the same
whether or not 阿里 is in the list too; icefall's graph would count both in full. As credits are never negative,
search can tell what cannot matter any more: see `beam.py`.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from stream_server.speech.hotwords import HotwordList
from stream_server.speech.spelling import Speller, SpeltWord

NATS_PER_WEIGHT = 0.1
"""Of a token: FunASR's usual weight 20 is 2 nats, the usual score in icefall. Chosen on synthetic names:
docs/hotwords.md."""
WORDS_AT_ONCE = 20
STATES_AT_ONCE = 500
"""Of a graph that is being made: what takes about a millisecond."""
_TOKEN_BITS = 32


class Arcs(NamedTuple):
    """Arcs out of states: `index[i]` is the place of the state in the question, `tokens[i]` the arc's token."""

    index: np.ndarray
    tokens: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Automaton:
    """The arrays of one graph, or of several put behind each other, for all operations on many states at once.

    E arcs, sorted by state and token: `keys` int64 [E] (state << 32 | token), `targets` int32 [E]; those of state s are
    `first[s]` to `first[s + 1]` (`first` int64 [S + 1]). By state: `fail` int32 [S] (a root's is itself), and in nats
    float64 [S]: `pending` (earned for what is unfinished), `credit` (kept for the words that end here), `promise` (the
    most that words which have begun here may still bring).
    """

    keys: np.ndarray
    targets: np.ndarray
    first: np.ndarray
    fail: np.ndarray
    pending: np.ndarray
    credit: np.ndarray
    promise: np.ndarray

    @property
    def states(self) -> int:
        return len(self.fail)

    def follow(self, states: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """The states int32 [N] after `tokens` [N] at `states` [N]."""
        states = np.array(states, np.int64)
        tokens = np.asarray(tokens, np.int64)
        reached = np.empty(len(states), np.int32)
        # As many rounds as the longest chain of failures is deep: two, mostly, the second at the root.
        open_ = np.arange(len(states))
        while len(open_):
            here = states[open_]
            key = here << _TOKEN_BITS | tokens[open_]
            place = np.searchsorted(self.keys, key)
            place[place == len(self.keys)] = 0
            found = self.keys[place] == key if len(self.keys) else np.zeros(len(open_), bool)
            reached[open_[found]] = self.targets[place[found]]
            back = self.fail[here]
            stuck = ~found & (back == here)
            reached[open_[stuck]] = here[stuck]
            states[open_] = back
            open_ = open_[~found & ~stuck]
        return reached

    def advance(self, states: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The states after `tokens` [N] at `states` [N], and what each step gained, in nats: float64 [N].

        Gains add up to the credits of the words met so far, plus `pending` of the last state.
        """
        reached = self.follow(states, tokens)
        return reached, self.pending[reached] - self.pending[states] + self.credit[reached]

    def finish(self, states: np.ndarray) -> np.ndarray:
        """What the end of a segment gains at `states` [N]: it takes back what was earned for the unfinished."""
        return -self.pending[states]

    def wanted(self, states: np.ndarray) -> tuple[Arcs, np.ndarray]:
        """The tokens that would earn something at each of `states` [N], and their gains; each once for a state."""
        states = np.asarray(states)
        arcs = self.arcs(states, with_root=True)
        _, gains = self.advance(states[arcs.index], arcs.tokens)
        good = gains > 0
        return Arcs(arcs.index[good], arcs.tokens[good]), gains[good]

    def arcs(self, states: np.ndarray, with_root: bool = False) -> Arcs:
        """The tokens that go along some word from each of `states` [N]: on with what is being said, or with a part
        of it that begins a word too; with those that only begin a word if `with_root`. Each once for a state."""
        found: list[np.ndarray] = []
        index, here = np.arange(len(states)), np.asarray(states, np.int64)
        while len(index):
            at_root = self.fail[here] == here
            if not with_root:
                index, here = index[~at_root], here[~at_root]
            whose, places = self.own_arcs(index, here)
            found.append(whose << _TOKEN_BITS | self.tokens(places))
            going_on = self.fail[here] != here
            index, here = index[going_on], self.fail[here[going_on]].astype(np.int64)
        if not found:
            return Arcs(np.empty(0, np.int64), np.empty(0, np.int64))
        pairs = np.unique(np.concatenate(found))
        return Arcs(pairs >> _TOKEN_BITS, pairs & (1 << _TOKEN_BITS) - 1)

    def own_arcs(self, index: np.ndarray, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The arcs of `states` [N] alone: for each the entry of `index` [N] that belongs to its state, and the arc."""
        starts, counts = self.first[states], self.first[states + 1] - self.first[states]
        places = np.arange(counts.sum()) + np.repeat(starts - (np.cumsum(counts) - counts), counts)
        return np.repeat(index, counts), places

    def tokens(self, arcs: np.ndarray) -> np.ndarray:
        """The tokens int64 of arcs."""
        return self.keys[arcs] & (1 << _TOKEN_BITS) - 1


class Match(NamedTuple):
    """`word` is tokens [start, end) of what was searched."""

    word: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, eq=False)
class ContextGraph:
    """The automaton of one list; its root is state 0. Immutable: any number of streams share it.

    `unspellable` are the words of the list that the vocabulary cannot spell.
    """

    automaton: Automaton
    words: tuple[str, ...]
    unspellable: tuple[str, ...]
    ends: np.ndarray
    """int32 [S]: the word of `words` that is the state's whole string, -1 where there is none."""
    depth: np.ndarray
    """int32 [S]: tokens of the state's string."""
    alphabet: np.ndarray
    """int64: the tokens that its words have, in order."""

    def words_at(self, state: int) -> list[tuple[str, int]]:
        """The words that end at `state`, each with the number of its tokens, the longest first."""
        found = []
        while state:
            if self.ends[state] >= 0:
                found.append((self.words[self.ends[state]], int(self.depth[state])))
            state = int(self.automaton.fail[state])
        return found

    def find(self, tokens: Sequence[int]) -> list[Match]:
        """Every word in `tokens`, a whole segment's, in order of their ends."""
        found, state = [], np.zeros(1, np.int64)
        for end, token in enumerate(tokens, 1):
            state = self.automaton.follow(state, np.array([token]))
            found.extend(Match(word, end - length, end) for word, length in self.words_at(int(state[0])))
        return found


def build(words: Sequence[SpeltWord], *, nats_per_weight: float = NATS_PER_WEIGHT,
          unspellable: tuple[str, ...] = ()) -> ContextGraph:
    """The graph of spelt words; where two are spelt alike the one of the higher weight counts."""
    return _last(building(words, nats_per_weight=nats_per_weight, unspellable=unspellable))


def building(words: Sequence[SpeltWord], *, nats_per_weight: float = NATS_PER_WEIGHT,
             unspellable: tuple[str, ...] = ()) -> Iterator[ContextGraph | None]:
    """As `build`, in pieces of about a millisecond: gives None behind each, and the graph at last."""
    children: list[dict[int, int]] = [{}]
    ends: list[int] = [-1]
    for place, word in enumerate(words):
        for ids in word.spellings:
            state = 0
            for token in ids:
                if token not in children[state]:
                    children[state][token] = len(children)
                    children.append({})
                    ends.append(-1)
                state = children[state][token]
            if ends[state] < 0 or words[ends[state]].hotword.weight < word.hotword.weight:
                ends[state] = place
        if place % WORDS_AT_ONCE == 0:
            yield None
    bonus = [nats_per_weight * word.hotword.weight for word in words]
    order, parent, fail = yield from _breadth_first(children)
    names = tuple(word.hotword.word for word in words)
    yield (yield from _tables(children, ends, bonus, order, parent, fail, names, unspellable))


def _last(pieces: Iterator[ContextGraph | None]) -> ContextGraph:
    (graph,) = deque(pieces, maxlen=1)
    return graph


def _breadth_first(children: list[dict[int, int]]
                   ) -> Generator[None, None, tuple[list[int], list[int], list[int]]]:
    """States by depth, each state's parent, and where it fails to: its longest proper suffix that is a state."""
    order, parent, fail = [0], [0] * len(children), [0] * len(children)
    for place, state in enumerate(order):
        if place % STATES_AT_ONCE == 0:
            yield
        for token, child in children[state].items():
            parent[child] = state
            back = fail[state]
            while back and token not in children[back]:
                back = fail[back]
            fail[child] = children[back].get(token, 0) if state else 0
            order.append(child)
    return order, parent, fail


def _tables(children: list[dict[int, int]], ends: list[int], bonus: list[float], order: list[int], parent: list[int],
            fail: list[int], words: tuple[str, ...], unspellable: tuple[str, ...]
            ) -> Generator[None, None, ContextGraph]:
    count = len(children)
    depth = [0] * count
    own, credit, within = [0.0] * count, [0.0] * count, [0.0] * count
    for state in order[1:]:
        if state % STATES_AT_ONCE == 0:
            yield
        up, back = parent[state], fail[state]
        depth[state] = depth[up] + 1
        # All that lies within this state's string ends within its parent's, or ends here and is a suffix.
        within[state] = within[up] + credit[back]
        if ends[state] >= 0:
            own[state] = max(0.0, bonus[ends[state]] * depth[state] - within[state])
        within[state] += own[state]
        credit[state] = own[state] + credit[back]
    highest, longest = [0.0] * count, [0.0] * count
    for state in reversed(order[1:]):
        if state % STATES_AT_ONCE == 0:
            yield
        here = bonus[ends[state]] if ends[state] >= 0 else 0.0
        up = parent[state]
        highest[up] = max(highest[up], highest[state], here)
        longest[up] = max(longest[up], longest[state] + own[state])
    pending, promise = [0.0] * count, [0.0] * count
    for state in order[1:]:
        if state % STATES_AT_ONCE == 0:
            yield
        pending[state] = max(highest[state] * depth[state] - within[state], pending[fail[state]])
        promise[state] = longest[state] + promise[fail[state]]
    yield
    arcs = sorted((state << _TOKEN_BITS | token, child)
                  for state, tokens in enumerate(children) for token, child in tokens.items())
    yield
    automaton = Automaton(
        keys=np.array([key for key, _ in arcs], np.int64), targets=np.array([child for _, child in arcs], np.int32),
        first=np.cumsum([0, *map(len, children)]), fail=np.array(fail, np.int32),
        pending=np.array(pending), credit=np.array(credit), promise=np.array(promise),
    )
    alphabet = np.unique(automaton.tokens(np.arange(len(arcs))))
    return ContextGraph(automaton, words, unspellable, np.array(ends, np.int32), np.array(depth, np.int32), alphabet)


def join(graphs: Sequence[ContextGraph]) -> tuple[Automaton, np.ndarray]:
    """One automaton of all graphs, and for each graph what to add to its states: int64 [len(graphs)]."""
    parts = [graph.automaton for graph in graphs]
    offsets = np.cumsum([0, *(part.states for part in parts)])[:-1]
    arcs = np.cumsum([0, *(len(part.keys) for part in parts)])
    shifted = list(zip(parts, offsets, strict=True))
    return Automaton(
        keys=np.concatenate([part.keys + (offset << _TOKEN_BITS) for part, offset in shifted]),
        targets=np.concatenate([part.targets + np.int32(offset) for part, offset in shifted]),
        first=np.concatenate([*(part.first[:-1] + at for part, at in zip(parts, arcs, strict=False)), arcs[-1:]]),
        fail=np.concatenate([part.fail + np.int32(offset) for part, offset in shifted]),
        pending=np.concatenate([part.pending for part in parts]),
        credit=np.concatenate([part.credit for part in parts]),
        promise=np.concatenate([part.promise for part in parts]),
    ), offsets


class GraphCache:
    """Graphs by the content of their lists, for one vocabulary: those last asked for, as many as fit.

    Knows no lock: one thread asks.
    """

    def __init__(self, speller: Speller, *, most_states: int = 1_000_000,
                 nats_per_weight: float = NATS_PER_WEIGHT) -> None:
        """`most_states`: states kept, of about 70 bytes each; the graph asked for last is kept whatever its size."""
        self._speller = speller
        self._most_states = most_states
        self._nats_per_weight = nats_per_weight
        self._graphs: OrderedDict[HotwordList, ContextGraph] = OrderedDict()
        self.states = 0
        """Of all graphs that are kept."""

    def get(self, hotwords: HotwordList) -> ContextGraph:
        """The graph of a list, built where it is not kept."""
        graph = self.find(hotwords)
        if graph is None:
            graph = _last(self.building(hotwords))
            self.keep(hotwords, graph)
        return graph

    def find(self, hotwords: HotwordList) -> ContextGraph | None:
        """The graph of a list where it is kept."""
        if hotwords not in self._graphs:
            return None
        self._graphs.move_to_end(hotwords)
        return self._graphs[hotwords]

    def building(self, hotwords: HotwordList) -> Iterator[ContextGraph | None]:
        """The graph of a list, made in pieces as by `building`. It is not kept yet: `keep` does that."""
        words, unspellable = [], []
        for start in range(0, len(hotwords.words), WORDS_AT_ONCE):
            spelt = self._speller.spell(HotwordList(hotwords.words[start : start + WORDS_AT_ONCE]))
            words += spelt.words
            unspellable += spelt.unspellable
            yield None
        yield from building(words, nats_per_weight=self._nats_per_weight, unspellable=tuple(unspellable))

    def keep(self, hotwords: HotwordList, graph: ContextGraph) -> None:
        """Keeps a graph that `building` gave, for as long as it fits."""
        if hotwords not in self._graphs:
            self._graphs[hotwords] = graph
            self.states += graph.automaton.states
        while self.states > self._most_states and len(self._graphs) > 1:
            _, dropped = self._graphs.popitem(last=False)
            self.states -= dropped.automaton.states

    def __len__(self) -> int:
        return len(self._graphs)
