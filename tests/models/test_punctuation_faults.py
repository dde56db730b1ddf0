"""Where FunASR's punctuation goes wrong: what it does, pinned, and what we do instead."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_server.models.punctuation_checkpoint import PunctuationModel, random_punctuation_model
from stream_server.models.punctuator import KEPT_OF_IT, LONGEST_CARRY, LONGEST_SENTENCE, PIECE, Punctuator
from stream_server.speech.punctuated import Carry, Words, punctuate, words_of
from tests.models.test_punctuation import OFFLINE, SIZES
from tests.support.punctuation_reference import PunctuationReference

MARKS = OFFLINE.marks
WORDS = [chr(0x4E00 + place) for place in range(400)]


def model_that_says(label_of: dict[str, str], causal: bool = False, otherwise: str = "_") -> PunctuationModel:
    """Marks follow from the word alone: what a text gets can be read off it."""
    model = random_punctuation_model(SIZES["streaming"] if causal else OFFLINE)
    network = model.network
    for name, weight in network.named_parameters():
        if name.startswith("encoder.encoders") and ("linear_out" in name or "fsmn" in name or "w_2" in name):
            weight.zero_()
        if name.startswith("encoder.encoders") and "linear_q_k_v" in name:
            weight.zero_()
    network.encoder.after_norm.weight.fill_(1.0)
    # The position says next to nothing beside a word this loud, whose mark is the direction it points to.
    network.embed.weight.zero_()
    for id_, word in enumerate(model.vocabulary):
        network.embed.weight[id_, MARKS.index(label_of.get(word, otherwise))] = 1e4
    network.decoder.weight.zero_()
    network.decoder.bias.zero_()
    for label in range(len(MARKS)):
        network.decoder.weight[label, label] = 1.0
    return model


@pytest.fixture(scope="module")
def chatty() -> PunctuationModel:
    """一 is followed by a comma, 丁 by a full stop, 丂 by `、`, 七 by what FunASR calls `<unk>`."""
    return model_that_says({"一": "，", "丁": "。", "丂": "、", "七": "<unk>"})


def ours(model: PunctuationModel, text: str) -> str:
    words = words_of(text)
    (found,) = model.punctuator().step([Words([word.text for word in words])])
    return punctuate(text, words, found.marks).text


def test_a_long_text_without_a_mark_costs_no_more_than_its_length():
    model = model_that_says({})
    reference = PunctuationReference(model)
    text = "".join(WORDS[10:310] * 2)
    reference.punctuate(text)
    assert max(reference.widths) == len(text), "FunASR reads all of it again with every 20 words"
    assert sum(reference.widths) > 15 * len(text)
    widths = []
    model.network.embed.register_forward_hook(lambda _, ids, __: widths.append(ids[0].shape[1]))
    (found,) = model.punctuator().step([Words(list(text))])
    assert found.marks == [""] * (len(text) - 1) + ["。"]
    assert max(widths) == LONGEST_SENTENCE + PIECE and sum(widths) < 14 * len(text)


def test_what_a_session_carries_is_bounded():
    model = model_that_says({}, causal=True)
    reference, cache, carry = PunctuationReference(model), {}, Carry()
    for _ in range(8):
        words = WORDS[10:50]
        reference.punctuate("".join(words), cache)
        (found,) = model.punctuator().step([Words(words, carry, is_final=False)])
        carry = found.carry
    assert len(cache["pre_text"]) == 320, "FunASR keeps every word since a sentence ended"
    assert len(carry.words) == LONGEST_CARRY and carry.words[-40:] == tuple(WORDS[10:50])


def test_the_streaming_class_writes_a_mark_one_text_late(chatty: PunctuationModel):
    model = model_that_says({"一": "，"}, causal=True)
    reference, cache = PunctuationReference(model), {}
    assert [reference.punctuate(text, cache)[0] for text in ("丈三上一", "下丌不")] == ["丈三上一", "，下丌不"]
    (first,) = model.punctuator().step([Words(list("丈三上一"), is_final=False)])
    (second,) = model.punctuator().step([Words(list("下丌不"), first.carry, is_final=False)])
    assert (first.marks[-1], second.before, second.marks) == ("，", "，", ["", "", ""])


def test_an_unknown_mark_is_none_where_funasr_writes_unk(chatty: PunctuationModel):
    assert PunctuationReference(chatty).punctuate("丈七三")[0] == "丈七<unk>三。"
    assert ours(chatty, "丈七三") == "丈七三。"


@pytest.mark.parametrize(
    ("text", "funasrs", "written"),
    [
        ("hello world", " Hello world.", "Hello world."),
        ("AI三iPhone", " Ai三iPhone.", "AI三iPhone."),
        ("iPhone三", " Iphone三。", "iPhone三。"),
        ("丈hello", "丈hello.", "丈hello."),
        ("丈三丁hello", "丈三丁。Hello.", "丈三丁。Hello."),
        ("三丈 hello 三", "三丈hello三。", "三丈 hello 三。"),
    ],
)
def test_spaces_and_capitals(chatty: PunctuationModel, text: str, funasrs: str, written: str):
    assert PunctuationReference(chatty).punctuate(text)[0] == funasrs
    assert ours(chatty, text) == written


def test_a_space_before_english_does_not_depend_on_where_pieces_end(chatty: PunctuationModel):
    short = "三三三丁hello三三"
    reference = PunctuationReference(chatty)
    for text, funasrs in ((short, "丁。Hello"), (short + "三" * 30, "丁。 Hello")):
        assert funasrs in reference.punctuate(text)[0] and "丁。Hello" in ours(chatty, text)


def test_a_list_in_english_has_no_chinese_comma():
    model = model_that_says({"<unk>": "、"})
    assert PunctuationReference(model).punctuate("cats dogs 三")[0] == " Cats、 dogs、三。"
    assert ours(model, "cats dogs三") == "Cats, dogs,三。"


def test_an_end_in_the_first_two_words_is_not_looked_for(chatty: PunctuationModel):
    """Kept: what is read together decides marks."""
    (found,) = chatty.punctuator().step([Words(["丁", "三", "三"], is_final=False)])
    assert found.marks == ["。", "", ""] and found.carry == Carry(("丁", "三", "三"), ended=False)
    (found,) = chatty.punctuator().step([Words(["三", "三", "丁", "三"], is_final=False)])
    assert found.carry == Carry(("三",), ended=False)


@pytest.mark.parametrize("last", ["一", "丂", "三", "七", "丁"])
def test_a_text_that_ends_has_an_end(chatty: PunctuationModel, last: str):
    assert ours(chatty, "三三" + last) == "三三" + last + "。"


def test_nothing_said_is_nothing_written(chatty: PunctuationModel):
    carry = Carry(("三",), ended=False)
    found = chatty.punctuator().step([Words([]), Words([], carry, is_final=False), Words(["三"])])
    assert [(row.marks, row.carry) for row in found] == [([], Carry()), ([], carry), (["。"], Carry())]
    with pytest.raises((IndexError, RuntimeError)):
        PunctuationReference(model_that_says({}, causal=True)).punctuate("", {})


def test_a_row_whose_numbers_overflow_harms_no_other():
    model = random_punctuation_model(OFFLINE)
    alone = model.punctuator().step([Words(WORDS[50:90])])
    model.network.embed.weight[model.vocabulary.index("三")] = torch.inf
    found = model.punctuator().step([Words(["丈", "三"] * 30), Words(WORDS[50:90])])
    assert found[0].error == "the model's numbers overflowed" and found[0].marks == [""] * 60
    assert found[0].carry == Carry() and found[1:] == alone


CUT = Punctuator(random_punctuation_model(replace(OFFLINE, causal=True, shift=5)).network,
                 random_punctuation_model(OFFLINE).vocabulary)


@given(st.lists(st.lists(st.sampled_from([*WORDS[:30], "hello"]), max_size=30), max_size=5), st.data())
@settings(max_examples=15, deadline=None)
def test_sessions_in_any_batches_are_as_if_alone(finals: list[list[str]], data: st.DataObject):
    carry, other = Carry(), Carry(tuple(WORDS[:7]), False)
    for words in finals:
        rows = [Words(words, carry, is_final=False), Words(WORDS[3:40], other, is_final=False)]
        (alone,) = CUT.step(rows[:1])
        if data.draw(st.booleans()):
            rows.reverse()
        together = CUT.step(rows)[rows.index(Words(words, carry, is_final=False))]
        assert together == alone and len(alone.marks) == len(words)
        assert len(alone.carry.words) <= LONGEST_CARRY
        carry = alone.carry


def test_words_are_those_that_funasr_reads():
    from funasr.models.ct_transformer.utils import split_words

    for text in ("我们开会", "用app打开 the  file吧", "2026年it's", "caf\u00e9 ok", "", " \n", "Zé1，a.\u3000b"):
        assert [word.text for word in words_of(text)] == split_words(text)


def test_the_bounds_leave_room_for_each_other():
    assert KEPT_OF_IT < LONGEST_SENTENCE and LONGEST_CARRY <= LONGEST_SENTENCE
