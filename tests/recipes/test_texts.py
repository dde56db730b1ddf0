"""The demonstration's texts: enough words, seeded, held-out ones apart, names that sound alike."""

from itertools import islice
from random import Random

import pytest

from recipes.demo import lexicon, texts
from recipes.demo.texts import canonical_names, number_text


def test_at_least_five_hundred_words() -> None:
    assert len(texts.words()) >= 500


def test_every_character_said_is_in_the_vocabulary() -> None:
    said = set("".join(map(texts.spoken, texts.train_texts())))
    assert said <= set(texts.characters())


def test_texts_follow_from_their_seed() -> None:
    assert texts.held_out_texts(50, 3) == texts.held_out_texts(50, 3)
    assert texts.held_out_texts(50, 3) != texts.held_out_texts(50, 4)


def test_held_out_texts_are_never_spoken_in_training() -> None:
    spoken = set(map(texts.spoken, texts.train_texts()))
    assert not spoken & set(map(texts.spoken, texts.held_out_texts(500, 1)))


def test_sentences_of_a_seed_are_distinct() -> None:
    spoken = [texts.spoken(text) for text in islice(texts.distinct_sentences(5), 2000)]
    assert len(set(spoken)) == 2000


def test_words_are_combined_freely() -> None:
    """Two words that follow each other in free text hardly ever do so again."""
    pairs = set()
    random = Random(1)
    for _ in range(1000):
        text = texts.free_text(random)
        pairs |= {text[i : i + 4] for i in range(len(text) - 3)}
    assert len(pairs) > 5000


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "零"), (7, "七"), (10, "十"), (15, "十五"), (20, "二十"), (105, "一百零五"), (110, "一百一十"),
        (1010, "一千零一十"), (2222, "两千二百二十二"), (20300, "两万零三百"), (99999, "九万九千九百九十九"),
    ],
)  # fmt: skip
def test_numbers_are_written_as_they_are_read(value: int, text: str) -> None:
    assert number_text(value) == text


@pytest.mark.parametrize("group", lexicon.NAME_GROUPS, ids=lambda group: group[0])
def test_names_of_a_group_count_as_one(group: tuple[str, ...]) -> None:
    assert {canonical_names(f"请{name}发言") for name in group} == {f"请{group[0]}发言"}


def test_a_mixture_that_sounds_the_same_counts_too() -> None:
    assert canonical_names("章炜") == "张伟"


def test_other_text_stays_as_it_is() -> None:
    assert canonical_names("张三在会议室开会") == "张三在会议室开会"
    assert canonical_names("") == ""
