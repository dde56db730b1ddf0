"""What hotwords do to names that sound alike, with the demonstration model and held-out speech.

`python -m benchmarks hotwords` speaks held-out sentences with names (espeak-ng is needed), recognises them once, and
searches the scores hop by hop with several lists: the sentence's names among 100 other words, and those 100 alone.
What a search finds in recorded scores is what the server finds: tests/models/test_hotwords.py. A `--second-model` hears
the same sentences with the same lists. `--tune` tries weights and widths, over other sentences than those that are
reported without it.

The last line is one flat JSON object. Of the names, `recall_final` are right in finals, `recall_partial` in the first
partial that is long enough, `recall_without` in finals without a list; `false_hits` are absent words that were written,
for each word said; `step_cost_200` is the processor time of a step of the large model (random weights) with a list of
200 words in each row, over that of one without.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from random import Random

import numpy as np
import torch

from benchmarks.demo_cer import edit_distance
from benchmarks.step_cost import hotwords_cost
from recipes.demo import lexicon, texts
from recipes.demo.speech import RATE, held_out_voice, synthesise
from stream_server.audio.windows import Window
from stream_server.engine.pieces import finished
from stream_server.engine.runner import Row, Segment
from stream_server.models.architecture import UNSPOKEN
from stream_server.models.checkpoint import Model, load
from stream_server.models.devices import DTYPES
from stream_server.models.offline_checkpoint import OfflineModel, load_offline
from stream_server.models.paraformer import Paraformer
from stream_server.models.second_runner import OfflineRunner
from stream_server.models.streaming import ParaformerRunner
from stream_server.speech.beam import START, WIDTH, BeamSearch, FullScores
from stream_server.speech.context_graph import build
from stream_server.speech.hotwords import DEFAULT_WEIGHT, HotwordList
from stream_server.speech.spelling import Speller

WINDOW = Window(10, 5)
HOP_MS = WINDOW.hop * 60
SEED, TUNING_SEED = 31, 32
ABSENT = 100
TOGETHER = 8
TRIED_WEIGHTS = (5, 10, 15, 20, 25, 30, 40, 60)
TRIED_WIDTHS = (2, 4, 8, 16)


@dataclass
class Sentence:
    """A sentence, the names in it, words that are not, and the scores of each hop's tokens, [n, vocabulary]."""

    text: str
    names: list[str]
    absent: list[str]
    samples: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int16))
    hops: list[np.ndarray] = field(default_factory=list)


@dataclass
class Found:
    """What a search made of a sentence: the partial after each hop, the last being the final, and for each token how
    many hops after it was first shown it was certain."""

    partials: list[str] = field(default_factory=list)
    delays: list[int] = field(default_factory=list)

    @property
    def text(self) -> str:
        return self.partials[-1] if self.partials else ""


class Recording:
    """The network, which keeps the scores of the last step's rows."""

    def __init__(self, network: Paraformer) -> None:
        self._network = network
        self.hear = network.hear
        self.said: tuple[list[int], torch.Tensor] | None = None

    def say(self, window, batch, caches, heard, tokens, writes) -> torch.Tensor:  # noqa: ANN001 - the network's own
        scores = self._network.say(window, batch, caches, heard, tokens, writes)
        self.said = heard.tokens.count.tolist(), scores.log_softmax(-1)
        return scores


def main(argv: Sequence[str]) -> int:
    options = _options(argv)
    torch.set_num_threads(1)
    model = load(options.model)
    sentences = recorded(model, options.sentences, TUNING_SEED if options.tune else SEED)
    if options.tune:
        for weight in TRIED_WEIGHTS:
            print(json.dumps(_measured(model, sentences, weight, WIDTH)), flush=True)
        for width in TRIED_WIDTHS:
            print(json.dumps(_measured(model, sentences, DEFAULT_WEIGHT, width)), flush=True)
    report = _measured(model, sentences, options.weight, WIDTH)
    if options.second_model != "none":
        report |= _second_pass(load_offline(options.second_model, torch.float32, "cpu"), sentences, options.weight)
    if options.step_repeats:
        report["step_cost_200"] = round(hotwords_cost(200, options.step_dtype, repeats=options.step_repeats), 4)
    if not options.json:
        for name, value in report.items():
            print(f"{name.replace('_', ' ')}: {value}")
    print(json.dumps(report))
    return 0


def recorded(model: Model, count: int, seed: int) -> list[Sentence]:
    """`count` sentences with names, spoken and recognised."""
    chance = Random(f"hotwords {seed}")
    written = _with_names(count, seed)
    sentences = [sentence(text, chance) for text in written]
    jobs = [(text, held_out_voice(chance)) for text in written]
    edge = np.zeros(RATE * 3 // 10, np.int16)
    sounds = [np.concatenate((edge, said.samples, edge)) for said in synthesise(jobs)]
    order = sorted(range(count), key=lambda place: len(sounds[place]))
    for place, sound in enumerate(sounds):
        sentences[place].samples = sound
    for start in range(0, count, TOGETHER):
        _recognise(model, [sentences[place] for place in order[start : start + TOGETHER]])
    return sentences


def _with_names(count: int, seed: int) -> list[str]:
    found = [text for text in texts.held_out_texts(20 * count, seed) if _names(texts.spoken(text))]
    return found[:count]


def _names(text: str) -> list[str]:
    return [name for name in chain.from_iterable(lexicon.NAME_GROUPS) if name in text]


def sentence(text: str, chance: Random) -> Sentence:
    """A text, the names in it, and ABSENT words of its world that are not in it and sound like no name in it."""
    text = texts.spoken(text)
    names = _names(text)
    alike = {name for group in lexicon.NAME_GROUPS if set(group) & set(names) for name in group}
    others = sorted(word for word in texts.words() if len(word) > 1 and word not in text and word not in alike)
    strangers = [name for name in chain.from_iterable(lexicon.NAME_GROUPS) if name not in alike]
    return Sentence(text, names, chance.sample(sorted({*strangers, *others}), ABSENT))


def _recognise(model: Model, sentences: Sequence[Sentence]) -> None:
    runner = ParaformerRunner(model, [WINDOW], len(sentences))
    runner.network = recording = Recording(model.network)
    hop = WINDOW.hop_samples
    sounds = [sentence.samples for sentence in sentences]
    lengths = [-(-len(sound) // hop) for sound in sounds]
    for number in range(max(lengths)):
        going = [place for place, length in enumerate(lengths) if number < length]
        recording.said = None
        runner.run(WINDOW, [Row(place, sounds[place][number * hop : (number + 1) * hop], number == 0,
                                number == lengths[place] - 1) for place in going])
        counts, scores = recording.said or ([0] * len(going), torch.zeros(len(going), 0, len(model.vocabulary)))
        for row, place in enumerate(going):
            sentences[place].hops.append(scores[row, : counts[row]].numpy().copy())


def search(model: Model, sentences: Sequence[Sentence], lists: Sequence[Sequence[str]], weight: float,
           width: int) -> Iterator[Found]:
    """What is found in each sentence with its list."""
    speller = Speller(model.vocabulary)
    for start in range(0, len(sentences), TOGETHER):
        group = sentences[start : start + TOGETHER]
        graphs = [build(speller.spell(HotwordList.of((word, weight) for word in words)).words)
                  for words in lists[start : start + TOGETHER]]
        yield from _search(model, group, BeamSearch(graphs, width=width))


def _search(model: Model, sentences: Sequence[Sentence], beam_search: BeamSearch) -> list[Found]:
    found = [Found() for _ in sentences]
    beams, texts_, ages = [START] * len(sentences), [""] * len(sentences), [[] for _ in sentences]
    for hop in range(max(len(sentence.hops) for sentence in sentences)):
        going = [row for row, sentence in enumerate(sentences) if hop < len(sentence.hops)]
        counts = [len(sentences[row].hops[hop]) for row in going]
        scores = np.zeros((len(going), max(counts), len(model.vocabulary)), np.float32)
        for place, row in enumerate(going):
            scores[place, : counts[place]] = sentences[row].hops[hop]
        steps = beam_search.advance(going, [beams[row] for row in going], counts, FullScores(scores))
        for count, row, step in zip(counts, going, steps, strict=True):
            last = hop == len(sentences[row].hops) - 1
            certain = np.concatenate([step.certain, step.undecided]) if last else step.certain
            texts_[row] += _spelt(model, certain)
            beams[row], ages[row] = step.beam, [*ages[row], *[hop] * count]
            found[row].delays += [hop - shown for shown in ages[row][: len(certain)]]
            ages[row] = ages[row][len(certain) :]
            found[row].partials.append(texts_[row] + ("" if last else _spelt(model, step.undecided)))
    return found


def _spelt(model: Model, ids: np.ndarray) -> str:
    return "".join(model.vocabulary[id_] for id_ in ids if id_ >= UNSPOKEN)


def _measured(model: Model, sentences: Sequence[Sentence], weight: float, width: int) -> dict[str, float]:
    without = list(search(model, sentences, [[] for _ in sentences], weight, width))
    right = list(search(model, sentences, [[*one.names, *one.absent] for one in sentences], weight, width))
    absent = list(search(model, sentences, [one.absent for one in sentences], weight, width))
    delays = np.array([delay for found in right for delay in found.delays])
    return {
        "weight": weight, "width": width,
        "sentences": len(sentences), "names": sum(len(one.names) for one in sentences),
        "words": sum(len(_words(one.text)) for one in sentences),
        "recall_partial_without": _recall(sentences, without, partials=True),
        "recall_without": _recall(sentences, without),
        "recall_partial": _recall(sentences, right, partials=True), "recall_final": _recall(sentences, right),
        "false_hits": _false_hits(sentences, absent),
        "cer_without": _cer(sentences, without), "cer_absent": _cer(sentences, absent),
        "cer_right": _cer(sentences, right), "tokens_certain_at_once": round(float((delays == 0).mean()), 4),
        "mean_delay_ms": round(float(delays.mean()) * HOP_MS, 1), "longest_delay_ms": int(delays.max()) * HOP_MS,
    }


def _second_pass(model: OfflineModel, sentences: Sequence[Sentence], weight: float) -> dict[str, float]:
    """What a second pass says of the same sentences, without lists, with their names and with absent words alone."""
    runner = OfflineRunner(model)
    without = _heard_again(runner, sentences, [[] for _ in sentences], weight)
    right = _heard_again(runner, sentences, [[*one.names, *one.absent] for one in sentences], weight)
    absent = _heard_again(runner, sentences, [one.absent for one in sentences], weight)
    return {
        "second_recall_without": _recall(sentences, without), "second_recall_final": _recall(sentences, right),
        "second_false_hits": _false_hits(sentences, absent), "second_cer_without": _cer(sentences, without),
        "second_cer_absent": _cer(sentences, absent), "second_cer_right": _cer(sentences, right),
    }


def _heard_again(runner: OfflineRunner, sentences: Sequence[Sentence], lists: Sequence[Sequence[str]],
                 weight: float) -> list[Found]:
    found = [Found() for _ in sentences]
    order = sorted(range(len(sentences)), key=lambda place: len(sentences[place].samples))
    for start in range(0, len(order), TOGETHER):
        group = order[start : start + TOGETHER]
        segments = [Segment(sentences[place].samples, HotwordList.of((word, weight) for word in lists[place]))
                    for place in group]
        for place, heard in zip(group, finished(runner.hear(segments)), strict=True):
            found[place].partials.append("".join(heard.pieces))
    return found


def _false_hits(sentences: Sequence[Sentence], found: Sequence[Found]) -> float:
    said = sum(len(_words(one.text)) for one in sentences)
    false = sum(word in heard.text for one, heard in zip(sentences, found, strict=True) for word in one.absent)
    return round(false / said, 5)


def _recall(sentences: Sequence[Sentence], found: Sequence[Found], partials: bool = False) -> float:
    """Share of the names in finals; with `partials`, in the first partial that is long enough to have it all."""
    right, names = 0, 0
    for sentence, one in zip(sentences, found, strict=True):
        for name in sentence.names:
            end = sentence.text.index(name) + len(name)
            shown = next((text for text in one.partials if len(text) >= end), "") if partials else one.text
            right, names = right + (name in shown), names + 1
    return round(right / names, 4)


def _cer(sentences: Sequence[Sentence], found: Sequence[Found]) -> float:
    edits = sum(edit_distance(sentence.text, one.text) for sentence, one in zip(sentences, found, strict=True))
    return round(edits / sum(len(sentence.text) for sentence in sentences), 5)


def _words(text: str) -> list[str]:
    """The text in the grammar's words, the longest first."""
    known, words, start = texts.words(), [], 0
    while start < len(text):
        length = next((length for length in range(8, 1, -1) if text[start : start + length] in known), 1)
        words.append(text[start : start + length])
        start += length
    return words


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks hotwords", description=__doc__.partition("\n")[0])
    parser.add_argument("--sentences", type=int, default=200, help="how many (default: %(default)s)")
    parser.add_argument("--model", default="demo", help="demo, or a directory (default: %(default)s)")
    parser.add_argument("--second-model", default="none", help="demo, or a directory (default: %(default)s)")
    parser.add_argument("--weight", type=float, default=DEFAULT_WEIGHT, help="of each word (default: %(default)s)")
    parser.add_argument("--tune", action="store_true", help="try weights and widths, over other sentences")
    parser.add_argument("--step-dtype", default="fp32", choices=DTYPES, help="of `step_cost_200`")
    parser.add_argument("--step-repeats", type=int, default=5, help="for `step_cost_200`; 0 leaves it out")
    parser.add_argument("--json", action="store_true", help="only the line at the end")
    return parser.parse_args(argv)
