"""Texts with marks: seeded, held-out ones apart, every word known; and the training's batches and checkpoint."""

from __future__ import annotations

import dataclasses
import hashlib
from itertools import islice
from pathlib import Path
from random import Random

import torch

from recipes.demo import texts as spoken
from recipes.punctuation import evaluate, texts
from recipes.punctuation.export import export
from recipes.punctuation.train import Batches, Plan, architecture, train, words
from stream_server.models.punctuation_checkpoint import PUNCTUATION_DEMO, load_punctuation
from stream_server.models.punctuator import Punctuator
from stream_server.speech.punctuated import punctuate, words_of


def test_the_recognition_models_texts_are_what_they_were():
    """Its weights were trained on these: a change of the grammar they share would make the recipe another one."""
    said = "\n".join(spoken.train_texts())
    assert hashlib.sha256(said.encode()).hexdigest().startswith("5bebed32555b97ce")
    held_out = "\n".join(spoken.held_out_texts(500, 1))
    assert hashlib.sha256(held_out.encode()).hexdigest().startswith("4b87618f17717f18")


def test_every_word_said_is_in_the_vocabulary():
    said = {word for text in islice(texts.training_texts(1), 2000) for word in texts.read(text)[0]}
    assert said <= set(texts.vocabulary()) and set(words()) >= said


def test_texts_follow_from_their_seed_and_differ():
    assert list(islice(texts.training_texts(1), 20)) == list(islice(texts.training_texts(1), 20))
    assert list(islice(texts.training_texts(1), 20)) != list(islice(texts.training_texts(2), 20))
    assert len(set(texts.held_out_texts(300))) > 290


def test_no_held_out_sentence_is_trained_on():
    held_out = {sentence for text in texts.held_out_texts(texts.HELD_OUT) for sentence in texts.sentences(text)}
    trained = {sentence for text in islice(texts.training_texts(3), 1000) for sentence in texts.sentences(text)}
    assert len(held_out) > 1000 and not held_out & trained


def test_marks_read_off_a_text_give_it_back():
    random = Random(4)
    for _ in range(200):
        text = texts.text(random)
        said, marks = texts.read(text)
        assert set(marks) <= {texts.NO_MARK, *texts.MARKS} and marks[-1] in "。？"
        plain = "".join(said)
        if not any(word.isascii() for word in said):
            assert punctuate(plain, words_of(plain), [mark.replace("_", "") for mark in marks]).text == text


def test_a_batch_follows_from_its_number():
    first, again, other = Batches(4)[3], Batches(4)[3], Batches(4)[4]
    assert torch.equal(first.ids, again.ids) and torch.equal(first.labels, again.labels)
    assert first.ids.shape != other.ids.shape or not torch.equal(first.ids, other.ids)
    assert ((first.labels >= 0).sum(1) >= 1).all() and int(first.ids.max()) < architecture().base.vocabulary
    assert (first.labels != 0).all(), "nothing is taught to be <unk>"


def test_training_goes_on_where_it_stopped(tmp_path: Path):
    plan = Plan(steps=6, rows=3, save_every=3)
    for folder in ("whole", "parts"):
        (tmp_path / folder).mkdir()
    whole = train(tmp_path / "whole", plan)
    stopped = dataclasses.replace(plan, steps=3, warm_up=plan.warm_up)
    train(tmp_path / "parts", stopped)
    parts = train(tmp_path / "parts", plan)
    for name, weight in whole.average.items():
        assert torch.equal(weight, parts.average[name]), name
    export(tmp_path / "hub", whole.average)
    assert (tmp_path / "hub" / "config.yaml").read_text() == (PUNCTUATION_DEMO / "config.yaml").read_text()
    assert load_punctuation(str(tmp_path / "hub")).vocabulary == load_punctuation("demo").vocabulary


def test_what_is_measured():
    punctuator: Punctuator = load_punctuation("demo").punctuator()
    report = evaluate.report(punctuator, 40)
    assert report.startswith("40 held-out texts") and "| all | 9" in report
