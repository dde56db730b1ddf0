"""Marks put into a text: which form, which capitals, and where each token went."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_server.speech.punctuated import marks_of, punctuate, words_of
from stream_server.speech.rewritten import spans_of

TEXTS = st.text("我们开会ab1 Zé，.\n\u3000", max_size=40)
MARKS = st.sampled_from(["", "", "，", "。", "？", "、"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("我们开会", ["我", "们", "开", "会"]),
        ("用app打开 the  file吧", ["用", "app", "打", "开", "the", "file", "吧"]),
        ("2026年it's", ["2026", "年", "it's"]),
        ("caf\u00e9 ok", ["caf", "\u00e9", "ok"]),
        ("", []),
        (" \n", []),
    ],
)
def test_characters_and_latin_words(text: str, words: list[str]):
    assert [word.text for word in words_of(text)] == words


@given(TEXTS)
@settings(deadline=None)
def test_words_lie_where_they_say(text: str):
    assert all(text[word.start : word.end] == word.text for word in words_of(text))


@pytest.mark.parametrize(
    ("text", "marks", "punctuated"),
    [
        ("我们开会好", "..，.。", "我们开，会好。"),
        ("hello world", "，。", "Hello, world."),
        ("好hello你", "。.？", "好。Hello你？"),
        ("hello你好", "，..", "Hello,你好"),
        ("用AI吧iPhone好", "..。。？", "用AI吧。iPhone.好？"),
        ("2026年x", ".，。", "2026年，x."),
        ("猫狗鸟", "、.。", "猫、狗鸟。"),
        ("cats dogs", "、。", "Cats, dogs."),
        ("ok the end", "。.。", "Ok. The end."),
    ],
)
def test_marks_and_capitals(text: str, marks: str, punctuated: str):
    """`.` stands for a word without a mark."""
    found = [mark.replace(".", "") for mark in marks]
    assert punctuate(text, words_of(text), found).text == punctuated


def test_within_a_sentence_no_capital():
    assert punctuate("hello", words_of("hello"), ["。"], begins=False).text == "hello."


@given(TEXTS, st.data())
@settings(deadline=None)
def test_nothing_is_lost_and_every_word_is_found(text: str, data: st.DataObject):
    words = words_of(text)
    marks = data.draw(st.lists(MARKS, min_size=len(words), max_size=len(words)))
    done = punctuate(text, words, marks)
    for place, (begin, end) in enumerate(done.spans):
        assert done.text[begin:end].lower() == text[place].lower()
    for word, mark in zip(words, marks, strict=True):
        behind = done.text[done.place((word.start, word.end))[1] :][:1]
        assert not mark or behind in {mark, {"，": ",", "。": ".", "？": "?", "、": ","}[mark]}
    added = len(done.text) - len(text)
    assert sum(map(bool, marks)) <= added <= 2 * sum(map(bool, marks))


def test_tokens_get_the_marks_of_their_last_words():
    text = "打开iphone15好"
    tokens = ["打", "开", "iphone", "1", "5", "好"]
    words = words_of(text)
    assert [word.text for word in words] == ["打", "开", "iphone15", "好"]
    spans = spans_of(tokens, text)
    assert marks_of(spans, words, ["", "，", "、", "。"]) == ["", "，", "", "", "、", "。"]
    done = punctuate(text, words, ["", "，", "、", "。"])
    assert [done.text[slice(*done.place(span))] for span in spans] == tokens
    assert done.text == "打开，iphone15,好。"
