"""Finals as people read them: marks, numbers, and where each token stands."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_server.models.punctuation_checkpoint import load_punctuation
from stream_server.models.punctuator import Punctuator
from stream_server.speech.punctuated import Carry, Marked, Words
from stream_server.speech.scribe import Scribe, Scribed, Spoken
from stream_server.speech.transcript import Transcript
from stream_server.speech.written import Writer

SAID = "明天下午三点半在会议室开会讨论新闻和预算数据增长了百分之三十五"


@pytest.fixture(scope="module")
def punctuator() -> Punctuator:
    return load_punctuation("demo").punctuator()


@pytest.fixture(scope="module")
def scribe(punctuator: Punctuator) -> Scribe:
    return Scribe(punctuator, Writer())


def shown(final: Scribed) -> list[str]:
    return [final.text[begin:end] for begin, end in final.spans]


def test_a_final_has_marks_and_its_tokens_keep_their_places(scribe: Scribe):
    (plain, written) = scribe.write([Spoken(SAID, [*SAID]), Spoken(SAID, [*SAID], written=True)])
    assert plain.text == "明天下午三点半在会议室开会，讨论新闻和预算。数据增长了百分之三十五。"
    assert shown(plain) == [*SAID]
    assert {SAID[place]: mark for place, mark in enumerate(plain.marks) if mark} == {"会": "，", "算": "。", "五": "。"}
    assert written.text == "明天下午3:30在会议室开会，讨论新闻和预算。数据增长了35%。"
    assert shown(written)[4:8] == ["3:30", "3:30", "3:30", "在"] and shown(written)[-6:] == ["35%"] * 6
    assert written.marks == plain.marks


def test_tokens_of_a_transcript_are_found_whatever_their_script(scribe: Scribe):
    transcript = Transcript(0)
    for number, piece in enumerate(["打", "开", "wi@@", "fi", "a", "i", "很", "好", "the", "end"]):
        transcript.append(piece, number * 960)
    tokens = [token.text for token in transcript.tokens(0, 9600)]
    (final,) = scribe.write([Spoken(transcript.text, tokens)])
    assert [text.lower() for text in shown(final)] == [text.lower() for text in tokens]


def test_without_a_model_or_a_writer_the_text_stands(punctuator: Punctuator):
    final = Spoken(SAID, [*SAID], Carry(("好",), ended=False), written=True)
    assert Scribe().write([final]) == [Scribed(SAID, [(n, n + 1) for n in range(len(SAID))], [""] * len(SAID),
                                               final.carry)]
    assert Scribe(None, Writer()).write([final])[0].text.startswith("明天下午3:30在")
    assert "三点半" in Scribe(punctuator).write([final])[0].text


def test_a_segment_that_was_cut_goes_on_in_the_next(scribe: Scribe):
    (first,) = scribe.write([Spoken("北京明天的天气", [*"北京明天的天气"], ends=False)])
    assert first.text == "北京明天的天气" and first.carry.words == tuple("北京明天的天气")
    (second,) = scribe.write([Spoken("怎么样", [*"怎么样"], first.carry)])
    (alone,) = scribe.write([Spoken("怎么样", [*"怎么样"])])
    assert second.text == "怎么样？" and second.carry == Carry() and alone.carry == Carry()


class Failing:
    """A model whose device has room for one text, and none for some."""

    def __init__(self, punctuator: Punctuator) -> None:
        self.words = punctuator.words
        self._punctuator = punctuator

    def step(self, texts: Sequence[Words]) -> list[Marked]:
        if len(texts) > 1 or "坏" in texts[0].words:
            raise MemoryError("no room")
        return self._punctuator.step(texts)


def test_a_final_that_cannot_be_punctuated_comes_without_marks(punctuator: Punctuator):
    finals = [Spoken(text, [*text], written=True) for text in ("今天是星期一", "坏了三百个", "谢谢")]
    first, bad, last = Scribe(Failing(punctuator), Writer()).write(finals)
    assert (bad.text, bad.marks, bad.error) == ("坏了300个", [""] * 5, "no room")
    assert [first, last] == Scribe(punctuator, Writer()).write([finals[0], finals[2]])


CHARACTERS = "明天三点半十百五在会议室开会好a"


@given(st.lists(st.text(CHARACTERS, max_size=20), min_size=1, max_size=4), st.booleans())
@settings(max_examples=25, deadline=None)
def test_a_final_is_as_if_alone_and_loses_nothing(texts: list[str], written: bool):
    scribe = _SCRIBE
    finals = [Spoken(text, [*text], written=written) for text in texts]
    together = scribe.write(finals)
    assert together == [scribe.write([final])[0] for final in finals]
    for final, text in zip(together, texts, strict=True):
        flat = [edge for span in dict.fromkeys(final.spans) for edge in span]
        assert flat == sorted(flat) and len(final.marks) == len(text)
        if not written:
            assert [part.lower() for part in shown(final)] == [*text]


_SCRIBE = Scribe(load_punctuation("demo").punctuator(), Writer())
