"""Pieces to text."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_server.speech.transcript import Transcript

PIECES = ["你", "好", "3", "a", "i", "m", "hel@@", "lo", "world", "it's", "<s>", "</s>", "<blank>", "<unk>", "o@@", "&"]


def written(pieces: list[str]) -> Transcript:
    transcript = Transcript(0)
    for place, piece in enumerate(pieces):
        transcript.append(piece, 3_200 * (place + 1))
    return transcript


LISTS = [
    "你 好 世 界", "hel@@ lo world", "hello world", "你 hel@@ lo 好", "想 听 歌 曲 let it go", "call me maybe 好",
    "打 开 a i 助 手", "a i", "a i m", "use a i now", "b b c 新 闻", "i 我 a", "我 有 3 个 i d", "a 你 b",
    "<s> 你 </s> 好", "i am a b", "nba", "n b a 球 星", "it's go@@ od", "2 0 2 6 年", "w i@@ fi", "x 光",
    "是 a p@@ p 吗", "hello a i hello",
]


@pytest.fixture(scope="module")
def postprocess():
    """FunASR's module by its file: the package around it would load all of torch for some string handling."""
    package = importlib.util.find_spec("funasr")
    if package is None:
        pytest.skip("funasr is not installed")
    file = Path(package.origin).parent / "utils" / "postprocess_utils.py"
    spec = importlib.util.spec_from_file_location("funasr_postprocess_utils", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("pieces", LISTS)
def test_the_spelling_is_that_of_funasr(pieces, postprocess):
    assert written(pieces.split()).text == postprocess.sentence_postprocess(pieces.split())[0]


@pytest.mark.parametrize(("pieces", "text", "stable"), [
    ("", "", 0),
    ("你 好", "你好", 2),
    ("hello", "hello", 5),
    ("hello wor@@", "hello wor", 5),
    ("你 wor@@", "你wor", 1),
    ("a", "a", 0),
    ("你 a", "你a", 1),
    ("a i", "AI", 2),
    ("go a", "go a", 2),
    ("a wor@@", "a wor", 1),
    ("a i wor@@", "AI wor", 2),
    ("hel@@ 你", "hel你", 4),
    ("o@@ <unk> ne", "one", 3),
    ("3@@ 5", "35", 2),
])
def test_text_and_how_much_of_it_is_stable(pieces, text, stable):
    transcript = written(pieces.split())
    assert (transcript.text, transcript.stable) == (text, stable)


@given(pieces=st.lists(st.sampled_from(PIECES), max_size=12))
def test_stable_text_is_never_taken_back(pieces):
    transcript, stable = Transcript(0), ""
    for place, piece in enumerate(pieces):
        transcript.append(piece, 960 * place)
        assert transcript.text.startswith(stable)
        stable = transcript.text[: transcript.stable]
    transcript.finish()
    assert transcript.text.startswith(stable)
    assert transcript.stable >= len(stable)


@given(pieces=st.lists(st.sampled_from(PIECES), max_size=12), gap=st.integers(0, 20_000), start=st.integers(0, 30_000),
       length=st.integers(0, 60_000))
def test_token_times_are_in_order_and_inside_the_segment(pieces, gap, start, length):
    transcript = Transcript(0)
    for place, piece in enumerate(pieces):
        transcript.append(piece, gap * place)
    tokens = transcript.tokens(start, start + length)
    times = [start, *(time for token in tokens for time in (token.start, token.end)), start + length]
    assert times == sorted(times)
    assert "".join(token.text for token in tokens) == transcript.text.replace(" ", "")


def test_a_token_lasts_from_the_one_before_it_but_not_through_a_pause():
    transcript = Transcript(1_000)
    for piece, fired_at in [("你", 5_000), ("hel@@", 9_000), ("lo", 12_000), ("好", 40_000)]:
        transcript.append(piece, fired_at)
    tokens = [token[:3] for token in transcript.tokens(0, 50_000)]
    assert tokens == [("你", 1_000, 5_000), ("hello", 5_000, 12_000), ("好", 33_600, 40_000)]


def test_an_unfinished_word_can_move_to_the_next_segment():
    transcript = written("你 hel@@".split())
    pending = transcript.take_pending()
    following = Transcript(9_600, pending)
    following.append("lo", 12_000)
    assert (transcript.text, following.text) == ("你", "hello")
