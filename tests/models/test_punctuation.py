"""Punctuation equals FunASR's classes: scores, labels and text, alone and in any batch."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch

from stream_server.models.architecture import Architecture
from stream_server.models.punctuation_architecture import PunctuationArchitecture
from stream_server.models.punctuation_checkpoint import PunctuationModel, random_punctuation_model
from stream_server.speech.punctuated import Carry, Words, punctuate, words_of
from tests.support.punctuation_reference import PunctuationReference

OFFLINE = PunctuationArchitecture(
    Architecture(size=64, encoder_heads=4, encoder_hidden=96, encoder_layers=3, vocabulary=500), width=64
)
SIZES = {
    "offline": OFFLINE,
    "streaming": replace(OFFLINE, shift=5, causal=True),
    "narrow embedding": replace(OFFLINE, width=48),
    "two layers, leaning": replace(OFFLINE, base=replace(OFFLINE.base, encoder_layers=2), shift=3, causal=True),
}
EACH_WORD_SEES_ALL = pytest.mark.parametrize("model", ["offline", "narrow embedding"], indirect=True)
CAUSAL = pytest.mark.parametrize("model", ["streaming", "two layers, leaning"], indirect=True)
LENGTHS = [1, 2, 3, 19, 20, 21, 40, 41, 100, 333]
ENGLISH = "the meeting starts at nine AI ok it's iPhone v2 a b".split()


@pytest.fixture(scope="module", params=SIZES)
def model(request: pytest.FixtureRequest) -> PunctuationModel:
    return random_punctuation_model(SIZES[request.param])


@pytest.fixture(scope="module")
def reference(model: PunctuationModel) -> PunctuationReference:
    return PunctuationReference(model)


def some_words(seed: int, count: int, vocabulary: list[str], english: float) -> list[str]:
    """Words that the vocabulary has, with a share of English ones, which it has not."""
    source = random.Random(seed)
    return [source.choice(ENGLISH) if source.random() < english else source.choice(vocabulary[3:-1])
            for _ in range(count)]


def spelt(words: list[str]) -> str:
    """As the server spells: spaces between English words alone."""
    text = ""
    for word in words:
        text += " " + word if text and text[-1].isascii() and word.isascii() else word
    return text


def texts_of(vocabulary: list[str]) -> list[list[str]]:
    shares = (0.0, 0.3, 1.0)
    texts = [some_words(number, length, vocabulary, share)
             for number, (length, share) in enumerate((length, share) for length in LENGTHS for share in shares)]
    return [*texts, some_words(99, 2500, vocabulary, 0.1)]


def test_scores_are_funasrs_whatever_lies_beside(model: PunctuationModel, reference: PunctuationReference):
    source = random.Random(5)
    rows = [[source.randrange(500) for _ in range(length)] for length in (1, 5, 33, 64, 7)]
    context = [0, 5, 20, 1, 2]
    longest = max(map(len, rows))
    # What lies in the padding is not zero: it must not matter.
    ids = torch.tensor([[*row, *[17] * (longest - len(row))] for row in rows])
    inside = torch.arange(longest) < torch.tensor([len(row) for row in rows])[:, None]
    with torch.inference_mode():
        scores = model.network(ids, inside, torch.tensor(context))
    for row, before, found in zip(rows, context, scores, strict=True):
        torch.testing.assert_close(found[: len(row)], reference.scores(row, before), atol=1e-4, rtol=1e-4)


def test_marks_do_not_depend_on_what_lies_beside(model: PunctuationModel):
    texts = texts_of(model.vocabulary)[:-1]
    punctuator = model.punctuator()
    together = punctuator.step([Words(words) for words in texts])
    assert together[::3] == [punctuator.step([Words(words)])[0] for words in texts[::3]]
    shuffled = random.Random(3).sample(range(len(texts)), len(texts))
    mixed = punctuator.step([Words(texts[place]) for place in shuffled])
    assert mixed == [together[place] for place in shuffled]
    for words, found in zip(texts, together, strict=True):
        assert len(found.marks) == len(words) and found.carry == Carry()


@EACH_WORD_SEES_ALL
def test_marks_are_funasrs(model: PunctuationModel, reference: PunctuationReference):
    texts = texts_of(model.vocabulary)
    marked = 0
    for words, found in zip(texts, model.punctuator().step([Words(words) for words in texts]), strict=True):
        _, labels = reference.punctuate(spelt(words))
        assert found.marks == [label.replace("_", "") for label in labels]
        marked += sum(map(bool, found.marks[:-1]))
    assert marked > 200


@EACH_WORD_SEES_ALL
@pytest.mark.parametrize("piece", [5, 64, 400])
def test_pieces_may_be_of_another_length(model: PunctuationModel, reference: PunctuationReference, piece: int):
    words = some_words(21, 333, model.vocabulary, 0.2)
    (found,) = model.punctuator(piece).step([Words(words)])
    _, labels = reference.punctuate(spelt(words), piece=piece)
    assert found.marks == [label.replace("_", "") for label in labels]


@CAUSAL
def test_a_session_of_many_finals_is_funasrs(model: PunctuationModel, reference: PunctuationReference):
    """The streaming class with its cache, text after text; its last mark comes with the next one."""
    source = random.Random(8)
    cache: dict = {}
    carry, revised = Carry(), 0
    for number in range(40):
        words = some_words(number, source.choice([1, 2, 5, 12, 20, 30, 90]), model.vocabulary, 0.2)
        expected, _ = reference.punctuate(spelt(words), cache)
        (found,) = model.punctuator().step([Words(words, carry, is_final=False)])
        marks = found.marks[:-1] + [""]
        assert found.before + _as_the_streaming_class_writes(words, marks, carry) == expected
        assert [word.strip() for word in cache["pre_text"]] == list(found.carry.words)
        revised += found.before != "" and number > 0
        carry = found.carry
    assert revised, "marks that came late were among them"


def _as_the_streaming_class_writes(words: list[str], marks: list[str], carry: Carry) -> str:
    """Full-width marks only, no capitals, and a space before a Latin word behind another one."""
    text = ""
    before = carry.words[-1] if carry.words else ""
    for word, mark in zip(words, marks, strict=True):
        text += " " * bool(before and before[-1].isascii() and word[0].isascii()) + word + mark
        before = word
    return text


@EACH_WORD_SEES_ALL
def test_text_is_funasrs(model: PunctuationModel, reference: PunctuationReference):
    """Of Chinese alone, and of English alone but for the space that FunASR puts in front of a sentence."""
    for seed, count in enumerate(LENGTHS):
        for share in (0.0, 1.0):
            words = [word.lower() for word in some_words(seed, count, model.vocabulary, share)]
            text = spelt(words)
            expected, _ = reference.punctuate(text)
            (found,) = model.punctuator().step([Words(words)])
            if share:
                # FunASR has no half-width form of the enumeration comma, nor of what it puts in that one's place.
                expected = expected.replace("、", ",").replace("。", ".")
            assert punctuate(text, words_of(text), found.marks).text == expected.strip()
