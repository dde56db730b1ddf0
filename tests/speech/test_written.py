"""Inverse text normalisation: what is written, what stays as it was said, and where each character went."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_server.speech.rewritten import Rewritten, rewrite, spans_of, unchanged
from stream_server.speech.written import LONGEST_PIECE, Writer, pieces

WRITTEN = {
    "numbers": [
        ("一共五千六百七十八个", "一共5678个"), ("两万零三百", "20300"), ("第一百二十三页", "第123页"),
        ("三点一四", "3.14"), ("三分之一", "1/3"), ("十五个人", "15个人"), ("四千二百三十乘以九", "4230乘以九"),
    ],
    "dates": [
        ("二零二六年十一月二十一号，星期六。", "2026/11/21，星期六。"), ("一九九八年", "1998年"),
        ("订三张十二月二十号去杭州的火车票", "订三张12/20去杭州的火车票"),
    ],
    "times": [
        ("明天下午三点半在会议室开会", "明天下午3:30在会议室开会"), ("凌晨两点零五分", "凌晨2:05"),
        ("会议九点四十六分开始", "会议9:46开始"), ("三点十分", "3:10"), ("晚上十一点五十四", "晚上11:54"),
    ],
    "money": [("一百美元", "$100"), ("三百五十块钱", "350块钱"), ("两万零三百元", "¥20300")],
    "percent": [("增长了百分之二十五点六", "增长了25.6%"), ("百分之百", "100%")],
    "phone": [("电话号码是一三八零五七二九四六一。", "电话号码是13805729461。"), ("请拨一一零", "请拨110")],
    "units": [("三百五十公里", "350km"), ("五百克", "500g"), ("三十五点五度", "35.5°")],
    "mixed": [
        ("hello一百world", "hello100world"), ("打开app，订二十三张票。OK, go.", "打开app，订23张票。OK, go."),
        ("数据增长了百分之三十五，订三张十二月二十号的票", "数据增长了35%，订三张12/20的票"),
    ],
}  # fmt: skip

STAYS = (
    "", "。", "hello, world.", "星期一", "周三", "一心一意", "万一下雨", "千万不要", "统一", "一个人", "四川", "六安",
    "有一点", "十分重要", "十几个人", "三点一刻结束", "周一两点四十分到邮局", "九九八十一", "零一零八八六六七七",
    "五月一号一点三刻", "一起",
)  # fmt: skip


@pytest.fixture(scope="module")
def writer() -> Writer:
    return Writer()


@pytest.mark.parametrize(("spoken", "written"), [case for cases in WRITTEN.values() for case in cases])
def test_is_written(writer: Writer, spoken: str, written: str):
    assert writer.write(spoken).text == written


@pytest.mark.parametrize("spoken", STAYS)
def test_stays_as_it_was_said(writer: Writer, spoken: str):
    assert writer.write(spoken) == unchanged(spoken)


def test_a_number_stands_for_all_its_words(writer: Writer):
    spoken = "增长了百分之三十五，下午三点半。"
    tokens = [*"增长了百分之三十五下午三点半"]
    written = writer.write(spoken)
    assert written.text == "增长了35%，下午3:30。"
    places = [written.place(span) for span in spans_of(tokens, spoken)]
    assert [written.text[begin:end] for begin, end in places] == [*"增长了", *["35%"] * 6, *"下午", *["3:30"] * 3]


def test_what_the_rules_cannot_do_stands_as_it_was_said(writer: Writer, monkeypatch: pytest.MonkeyPatch):
    for failing in (_raise, lambda text: "", lambda text: text + " 1", lambda text: "1" + text):
        monkeypatch.setattr(writer, "_normalise", failing)
        assert writer.write("一共五百个，百分之三") == unchanged("一共五百个，百分之三")


def test_that_the_rules_failed_is_told_once_and_not_what_was_said(caplog: pytest.LogCaptureFixture):
    writer = Writer()
    rules, writer._normalise = writer._normalise, _raise
    for _ in range(3):
        assert writer.write("一共五百个") == unchanged("一共五百个")
    writer._normalise = rules
    assert writer.write("一共五百个").text == "一共500个"
    (record,) = caplog.records
    assert record.levelname == "WARNING" and "RuntimeError" in record.getMessage()
    assert "5 characters" in record.getMessage() and "五百" not in caplog.text


def test_the_rules_raise_where_they_find_no_way(writer: Writer):
    """Which no text of Chinese characters alone is known to bring about, and no others are given to them."""
    with pytest.raises(AssertionError):
        writer._normalise("\0")
    assert writer.write("一百\0") == Rewritten("100\0", ((0, 3), (0, 3), (3, 4)))


def _raise(text: str) -> str:
    raise RuntimeError(text)


TEXTS = st.text("零一二三五十百千万点分之半刻月号年下午我们在会开，。 a1é😀\n", max_size=80)


@given(TEXTS)
@settings(max_examples=80, deadline=None)
def test_any_text_keeps_its_order_and_what_is_no_number(text: str):
    written = _WRITER.write(text)
    assert len(written.spans) == len(text)
    flat = [edge for span in dict.fromkeys(written.spans) for edge in span]
    assert flat == sorted(flat) and all(0 <= edge <= len(written.text) for edge in flat)
    inside = {place for begin, end in pieces(text) for place in range(begin, end)}
    for place, character in enumerate(text):
        if place not in inside:
            assert written.text[slice(*written.spans[place])] == character


_WRITER = Writer()


@given(TEXTS)
@settings(deadline=None)
def test_pieces_are_short_and_apart(text: str):
    end = 0
    for begin, after in pieces(text):
        assert end <= begin < after <= begin + LONGEST_PIECE
        end = after


def test_a_long_text_is_read_in_short_pieces():
    spoken = "一三八零五七二九四六一" * 20 + "我们去了三百五十公里" * 100
    assert max(end - begin for begin, end in pieces(spoken)) == LONGEST_PIECE


def test_rewriting_twice_is_one_rewriting():
    first = rewrite("abcd", [((1, 2), "XY"), ((4, 4), "!")])
    second = rewrite(first.text, [((0, 0), ">"), ((2, 3), "")])
    both = first.then(second)
    assert (first.text, second.text, both.text) == ("aXYcd!", ">aXcd!", ">aXcd!")
    assert [both.text[slice(*span)] for span in both.spans] == ["a", "X", "c", "d"]
    assert both.place((0, 2)) == (1, 3) and both.place((4, 4)) == (6, 6)


def test_tokens_are_found_in_their_text():
    assert spans_of(["我", "hello", "world", "们"], "我hello world们") == [(0, 1), (1, 6), (7, 12), (12, 13)]
    assert spans_of(["我", "?", "们"], "我们") == [(0, 1), (1, 1), (1, 2)]
