from __future__ import annotations

import pytest

from benchmarks.demo_cer import Spoken, compare, edit_distance, summary


@pytest.mark.parametrize(
    ("wanted", "given", "edits"),
    [("", "", 0), ("今天", "今天", 0), ("今天", "", 2), ("今天好", "今日好吗", 2), ("abcd", "bcda", 2)],
)
def test_edit_distance(wanted: str, given: str, edits: int) -> None:
    assert edit_distance(wanted, given) == edit_distance(given, wanted) == edits


def test_names_that_sound_alike_count_only_strictly() -> None:
    heard = compare(Spoken(b"", "请张伟到会议室来一下", "f3"), "请章伟到会议室，来一下。")
    assert (heard.edits, heard.edits_strict) == (0, 1)


def test_rates_are_over_all_characters() -> None:
    heard = [compare(Spoken(b"", "今天天气很好啊", "f3"), "今天天气很好"), compare(Spoken(b"", "好的呀", "m4"), "好的")]
    assert summary(heard) == {"utterances": 2, "characters": 10, "cer": 0.2, "cer_strict": 0.2}
