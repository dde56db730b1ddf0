"""Lists of hotwords: every way of writing them, one list for all, and what is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_server.errors import ClientError, SettingsError
from stream_server.speech.hotwords import (
    DEFAULT_WEIGHT,
    LONGEST_WORD,
    MOST_WORDS,
    HotwordList,
    from_funasr,
    from_lines,
    from_native,
)


def weights(hotwords: HotwordList) -> dict[str, float]:
    return dict(hotwords.words)


@pytest.mark.parametrize(("written", "words"), [
    ("", {}), ("  \n ", {}), ("{}", {}), ({}, {}), (None, {}), (17, {}), (True, {}), ("[]", {}), ([], {}), (",,", {}),
    ('{"阿里巴巴":20,"hello world":40}', {"阿里巴巴": 20, "hello world": 40}),
    ({"阿里巴巴": 20}, {"阿里巴巴": 20}),
    ('{"阿里巴巴":"20","达摩院":"30"}', {"阿里巴巴": 20, "达摩院": 30}),
    ('{"阿里巴巴":"20","达摩院":"x"}', {"阿里巴巴": 20, "达摩院": 20}),
    ('{"阿里巴巴":null,"达摩院":[3],"平头哥":true,"蚂蚁":1e999}',
     {"阿里巴巴": 20, "达摩院": 20, "平头哥": 20, "蚂蚁": 20}),
    (' {"阿里巴巴": 12.5} ', {"阿里巴巴": 12.5}),
    ("阿里巴巴", {"阿里巴巴": 20}),
    ("阿里巴巴 达摩院", {"阿里巴巴": 20, "达摩院": 20}),
    ("阿里巴巴\u3000达摩院\t平头哥", {"阿里巴巴": 20, "达摩院": 20, "平头哥": 20}),
    ("阿里巴巴,通义实验室", {"阿里巴巴": 20, "通义实验室": 20}),
    ("阿里巴巴,hello world", {"阿里巴巴": 20, "hello world": 20}),
    ("阿里巴巴，达摩院、平头哥,", {"阿里巴巴": 20, "达摩院": 20, "平头哥": 20}),
    ("阿里巴巴\n达摩院\r\n平头哥\n", {"阿里巴巴": 20, "达摩院": 20, "平头哥": 20}),
    ("阿里巴巴 30\nhello world 40\n", {"阿里巴巴": 30, "hello world": 40}),
    ("阿里巴巴 30\n达摩院", {"阿里巴巴": 30, "达摩院": 20}),
    ("阿里巴巴 30", {"阿里巴巴": 30}),
    ("今年 2024", {"今年": 20, "2024": 20}),
    (["阿里巴巴", 7, "达摩院", ""], {"阿里巴巴": 20, "达摩院": 20}),
    ('["阿里巴巴"]', {"阿里巴巴": 20}),
    ("{not json", {"{not": 20, "json": 20}),
    ("[" * 100_000, None),
])
def test_funasr_clients_however_they_write(written, words) -> None:
    if words is None:
        with pytest.raises(ClientError, match="a word cannot be this"):
            from_funasr(written)
    else:
        assert weights(from_funasr(written)) == words


@pytest.mark.parametrize(("written", "words"), [
    ([], {}), ({}, {}),
    (["阿里巴巴", "hello world"], {"阿里巴巴": 20, "hello world": 20}),
    ([{"word": "阿里巴巴", "weight": 30}, {"word": "达摩院"}, "平头哥"], {"阿里巴巴": 30, "达摩院": 20, "平头哥": 20}),
    ({"阿里巴巴": 30, "达摩院": 0.5}, {"阿里巴巴": 30, "达摩院": 0.5}),
])
def test_our_own_way_of_writing(written, words) -> None:
    assert weights(from_native(written)) == words


@pytest.mark.parametrize(("written", "value", "allowed"), [
    ("阿里巴巴", "阿里巴巴", "a list of words"), (7, "7", "a list of words"),
    ([7], "7", "words, or objects"), ([None], "null", "words, or objects"),
    ([{"weight": 20}], "{'weight': 20}", "words, or objects"),
    ([{"word": "a", "wieght": 20}], "{'word': 'a', 'wieght': 20}", "words, or objects"),
    ([{"word": "a", "weight": "20"}], "20", "a number from 0 to 100"),
    ([{"word": "a", "weight": None}], "null", "a number from 0 to 100"),
    ([{"word": "a", "weight": float("nan")}], "nan", "a number from 0 to 100"),
    ({"a": True}, "True", "a number from 0 to 100"), ({"a": -1}, "-1", "a number from 0 to 100"),
    ({"a": 100.5}, "100.5", "a number from 0 to 100"), ([""], "", "printable characters"),
])
def test_what_is_not_ours_is_named(written, value, allowed) -> None:
    with pytest.raises(ClientError) as caught:
        from_native(written)
    assert (caught.value.field, caught.value.value) == ("hotwords", value)
    assert allowed in caught.value.allowed


@pytest.mark.parametrize("address", [
    "http://127.0.0.1/words.txt", "https://example.org/a b", "FILE:///etc/hosts", "s3://bucket", "/etc/passwd",
    "./words", "../words", "~/words", "\\\\host\\share", "C:\\words", "c:/words", "hotwords.txt", "list.JSON",
    "ｈｔｔｐ：／／host", "\u200bhttp://host",
])
def test_an_address_or_a_path_is_refused(address) -> None:
    for read, written in [(from_funasr, address), (from_funasr, f"阿里巴巴,{address}"),
                          (from_funasr, json.dumps({address: 20})), (from_native, [address])]:
        with pytest.raises(ClientError, match="not fetched or read from files") as caught:
            read(written)
        assert caught.value.allowed == "the words themselves"


@pytest.mark.parametrize("word", ["C++", "TCP/IP", "24/7", "AT&T", "A.B", "3:0", ":", "node.js", "http"])
def test_what_only_looks_like_one_is_a_word(word) -> None:
    assert weights(from_native([word])) == {word: 20}


@pytest.mark.parametrize(("pairs", "message", "allowed"), [
    ([("一" * (LONGEST_WORD + 1), 20)], "a word cannot be this", f"1 to {LONGEST_WORD} printable characters"),
    ([("a\0b", 20)], "a word cannot be this", f"1 to {LONGEST_WORD} printable characters"),
    ([("\ud800", 20)], "a word cannot be this", f"1 to {LONGEST_WORD} printable characters"),
    ([("\u200b", 20)], "a word cannot be this", f"1 to {LONGEST_WORD} printable characters"),
    ([("阿里", 100.1)], "the weight of 阿里 is out of range", "a number from 0 to 100"),
    ([("阿里", float("nan"))], "the weight of 阿里 is out of range", "a number from 0 to 100"),
    ([(f"w{n}", 20) for n in range(MOST_WORDS + 1)], "there are too many words", f"at most {MOST_WORDS}"),
    ([(f"{n:064}", 20) for n in range(157)], "the words are too long together", "at most 10000 characters in all"),
])
def test_limits(pairs, message, allowed) -> None:
    with pytest.raises(ClientError) as caught:
        HotwordList.of(pairs)
    error = caught.value
    assert (error.code, error.field, error.message, error.allowed) == ("bad_field", "hotwords", message, allowed)
    assert error.value


def test_at_the_limits() -> None:
    assert len(HotwordList.of([(f"w{n}", 100) for n in range(MOST_WORDS)] * 2).words) == MOST_WORDS
    assert HotwordList.of([("一" * LONGEST_WORD, 0)])


@pytest.mark.parametrize(("written", "word"), [
    ("ＡＩ", "AI"), ("ｉＰｈｏｎｅ１５", "iPhone15"), ("hello  world", "hello world"), (" 你\u3000好 ", "你 好"),
    ("don’t", "don't"), ("阿\u200b里", "阿里"), ("\u2f00", "一"), ("e\u0301", "é"), ("①", "1"),
])
def test_one_way_of_writing_a_word(written, word) -> None:
    assert weights(from_native([written])) == {word: DEFAULT_WEIGHT}


def test_of_a_word_given_twice_the_higher_weight_counts() -> None:
    assert weights(from_native([{"word": "ai", "weight": 5}, {"word": "AI", "weight": 9}])) == {"AI": 9}
    assert weights(from_native([{"word": "ai", "weight": 5}, {"word": "AI", "weight": 5}])) == {"AI": 5}


_pairs = st.lists(st.tuples(st.sampled_from(["阿里", "阿里巴巴", "ai", "AI", "Ai", "hello world"]),
                            st.sampled_from([0.0, 1.0, 20.0])), max_size=8)


@settings(deadline=None)
@given(pairs=_pairs, seed=st.randoms(use_true_random=False))
def test_order_does_not_matter(pairs, seed) -> None:
    shuffled = list(pairs)
    seed.shuffle(shuffled)
    first, second = HotwordList.of(pairs), HotwordList.of(shuffled)
    assert first == second and hash(first) == hash(second)


def test_the_session_wins_over_the_server() -> None:
    server = HotwordList.of([("阿里巴巴", 20), ("达摩院", 20), ("AI", 10)])
    session = HotwordList.of([("阿里巴巴", 50), ("达摩院", 0), ("ai", 30), ("平头哥", 5), ("没有", 0)])
    assert weights(server.overlaid(session)) == {"阿里巴巴": 50, "ai": 30, "平头哥": 5}
    assert server.overlaid(HotwordList()) == server
    assert HotwordList().overlaid(server) == server
    assert bool(server) and not HotwordList()


def test_the_operators_file() -> None:
    text = "\ufeff阿里巴巴 30\n\n  hello world 40\r\nhello\n达摩院\t7.5\n2024\n"
    assert weights(from_lines(text, "words.txt")) == {
        "阿里巴巴": 30, "hello world": 40, "hello": 20, "达摩院": 7.5, "2024": 20}


@pytest.mark.parametrize(("text", "said"), [
    ("阿里\n阿里巴巴 200\n", "words.txt, line 2: the weight of 阿里巴巴 is out of range "
                         "(value 200.0; allowed: a number from 0 to 100)"),
    ("阿里 -1", "words.txt, line 1: the weight of 阿里 is out of range (value -1.0; allowed: a number from 0 to 100)"),
    ("\nhttp://x", "words.txt, line 2: hotwords are not fetched or read from files here "
                   "(value http://x; allowed: the words themselves)"),
    ("\n".join(f"w{n}" for n in range(MOST_WORDS + 1)),
     f"words.txt: there are too many words (value more than {MOST_WORDS} words; allowed: at most {MOST_WORDS})"),
])
def test_the_operator_is_told_the_line(text, said) -> None:
    with pytest.raises(SettingsError) as caught:
        from_lines(text, "words.txt")
    assert str(caught.value) == said


_anything = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
                         lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
                         max_leaves=8)


@settings(deadline=None)
@given(value=_anything)
def test_anything_is_a_list_or_a_client_error(value) -> None:
    for read in (from_funasr, from_native, lambda value: from_funasr(json.dumps(value))):
        try:
            hotwords = read(value)
        except ClientError as error:
            assert error.field == "hotwords" and error.allowed
        else:
            assert HotwordList.of(hotwords.words) == hotwords
