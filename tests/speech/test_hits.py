"""Which hotwords a text has."""

from __future__ import annotations

import pytest

from stream_server.speech.hits import hits
from stream_server.speech.hotwords import HotwordList
from stream_server.speech.transcript import Transcript

WORDS = ["章伟", "伟大", "art", "NBA", "iPhone 15", "卡尔·马克思", "hello world", "5G", "C++", "C"]
LIST = HotwordList.of((word, 20) for word in WORDS)


@pytest.mark.parametrize(("pieces", "found"), [
    ("", []),
    ("请 章 伟 来", ["章伟"]),
    ("章 伟 大", ["章伟", "伟大"]),
    ("章 章 伟", ["章伟"]),
    ("start", []),
    ("st@@ art", []),
    ("pop art", ["art"]),
    ("art ist art", ["art"]),
    ("看 n b a 了", ["NBA"]),
    ("i@@ phone 1 5", ["iPhone 15"]),
    ("i@@ phone 1", []),
    ("卡 尔 马 克 思", ["卡尔·马克思"]),
    ("hello world", ["hello world"]),
    ("hello worlds", []),
    ("5 g 网", ["5G"]),
    ("我 学 c", ["C"]),
    ("章 伟 和 章 伟", ["章伟"]),
])
def test_words_in_a_text(pieces: str, found: list[str]) -> None:
    transcript = Transcript(0)
    for place, piece in enumerate(pieces.split()):
        transcript.append(piece, 960 * place)
    transcript.finish()
    assert hits(LIST, [token.text for token in transcript.tokens(0, 10**6)]) == found


def test_no_words_no_hits() -> None:
    assert hits(HotwordList(), ["章", "伟"]) == []
