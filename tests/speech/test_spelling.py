"""Words to vocabulary pieces and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_server.speech.hotwords import HotwordList
from stream_server.speech.spelling import Speller
from stream_server.speech.transcript import Transcript

DEMO = Path(__file__).parents[2] / "stream_server" / "data" / "demo" / "tokens.json"
VOCABULARY = ["<blank>", "<s>", "</s>", "你", "好", "3", "g", "3@@", "hello", "hel@@", "lo", "he@@", "l@@", "wor@@",
              "ld", "i", "p@@", "phone", "i@@", "n", "b", "a", "n@@", "b@@", "don't", "it", "'s", "'", "&", "@", "App",
              "API", "m@@", "4", "CE@@", "o", "p", "<unk>"]
SPELLER = Speller(VOCABULARY)


def spelt(word: str) -> list[str]:
    return [" ".join(VOCABULARY[token] for token in ids) for ids in SPELLER.spellings(word)]


@pytest.mark.parametrize(("word", "pieces"), [
    ("你好", ["你 好"]),
    ("hello", ["hello"]), ("HELLO", ["hello"]), ("Hello", ["hello"]),
    ("hello world", ["hello wor@@ ld"]),
    ("hello你好world", ["hello 你 好 wor@@ ld"]),
    ("iphone", ["i@@ phone"]),
    ("don't", ["don't"]),
    ("33", ["3 3"]), ("你33好", ["你 3 3 好"]),
    ("NBA", ["n@@ b@@ a", "n b a"]), ("nba", ["n@@ b@@ a"]),
    ("3g", ["3@@ g", "3 g"]), ("3G", ["3@@ g", "3 g"]), ("mp3", ["m@@ p@@ 3", "m@@ p 3"]), ("MP3", ["m@@ p@@ 3"]),
    ("iphone 4", ["i@@ phone 4"]), ("iphone4", ["i@@ phone 4"]),
    ("a&b", ["a & b", "a b"]), ("你·好", ["你 好"]), ("你-好", ["你 好"]), ("《你好》", ["你 好"]),
    ("app", ["App"]), ("Api", ["API"]), ("ceo", ["CE@@ o"]), ("hela", ["hel@@ a"]),
])
def test_how_words_are_spelt(word, pieces) -> None:
    assert spelt(word) == pieces


@pytest.mark.parametrize("word", ["坏", "你坏", "xyz", "C++", "...", "5", "hell", "<unk>", "<s>", "@x", "привет"])
def test_what_cannot_be_spelt_is_named_and_the_others_stay(word) -> None:
    found = SPELLER.spell(HotwordList.of([("你好", 30), (word, 20)]))
    assert [(spelt.hotword, spelt.spellings) for spelt in found.words] == [(("你好", 30), ((3, 4),))]
    assert found.unspellable == (word,)


def test_a_longest_piece_that_leads_nowhere_is_given_up() -> None:
    vocabulary = ["ab@@", "a@@", "bc", "d"]
    assert Speller(vocabulary).spellings("abc") == ((1, 2),)


@settings(deadline=None)
@given(word=st.text(st.sampled_from("你好helowrdin3bap &'-·"), min_size=1, max_size=8))
def test_pieces_read_back_are_the_word(word) -> None:
    letters = "".join(sign for sign in word if sign.isalnum())
    for ids in SPELLER.spellings(word):
        transcript = Transcript(0)
        for place, token in enumerate(ids):
            transcript.append(VOCABULARY[token], 960 * place)
        assert not transcript.take_pending()
        assert "".join(sign for sign in transcript.text if sign.isalnum()).lower() == letters.lower()


@settings(deadline=None)
@given(word=st.text(st.sampled_from("helowrdi"), min_size=1, max_size=10))
def test_a_word_that_has_a_spelling_is_spelt(word) -> None:
    can = [False] * len(word) + [True]
    for start in reversed(range(len(word))):
        can[start] = word[start:] in VOCABULARY or any(
            word[start:end] + "@@" in VOCABULARY and can[end] for end in range(start + 1, len(word)))
    assert bool(SPELLER.spellings(word)) == can[0]


def test_the_demonstration_models_vocabulary() -> None:
    vocabulary = json.loads(DEMO.read_text("utf-8"))
    found = Speller(vocabulary).spell(HotwordList.of([("今天下午", 20), ("NBA", 20)]))
    assert ["".join(vocabulary[token] for token in ids) for ids in found.words[0].spellings] == ["今天下午"]
    assert found.unspellable == ("NBA",)


@pytest.mark.parametrize("word", [
    "阿里巴巴", "hello world", "iPhone 15", "NBA", "mp3", "kubernetes", "2024", "AT&T", "史蒂夫·乔布斯", "C罗",
])
def test_every_latin_word_can_be_spelt_in_a_large_vocabulary(word) -> None:
    letters = "abcdefghijklmnopqrstuvwxyz"
    vocabulary = [*letters, *(f"{letter}@@" for letter in letters), *"0123456789", "&", *"阿里巴史蒂夫乔布斯罗"]
    assert Speller(vocabulary).spellings(word)
