"""`python -m benchmarks transcript`: the command runs, and its page has what was said."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks import transcript
from benchmarks.transcript import Heard, table
from stream_client import Final, Partial


def test_partials_and_finals_side_by_side_the_hotwords_bold_what_is_not_stable_slanting() -> None:
    heard = [
        Heard(0.5, Partial(segment=0, text="请张|", stable=2, start_ms=100, end_ms=600)),
        Heard(1.0, Partial(segment=0, text="请章玮<来", stable=4, start_ms=100, end_ms=1_200)),
        Heard(2.0, Final(segment=0, text="请章玮来。", hotwords=("章玮",), start_ms=100, end_ms=1_500)),
        Heard(3.0, Final(segment=1, text="章玮，好", hotwords=(), start_ms=1_600, end_ms=2_000)),
    ]
    assert table(heard, ["章", "章玮"]).splitlines()[2:] == [
        "| 0.50 s | 请张<i>&#124;</i> |  | 0.1 to 0.6 s |",
        "| 1.00 s | 请<b>章玮</b>&lt;<i>来</i> |  | 0.1 to 1.2 s |",
        "| 2.00 s |  | 请<b>章玮</b>来。 | 0.1 to 1.5 s |",
        "| 3.00 s |  | 章玮，好 | 1.6 to 2.0 s |",
    ]


def test_the_command_writes_what_is_in_docs_but_for_the_times(tmp_path: Path) -> None:
    written = tmp_path / "transcript.md"
    assert transcript.main(["--fast", "--out", str(written)]) == 0
    kept = transcript.SAMPLES.parent / "docs" / "transcript.md"
    # Of partials that a client has not been sent yet the latest wins: sent fast, there may be fewer.
    assert set(_timeless(written)) <= set(_timeless(kept))
    finals = re.findall(r"s \|  \| (.+?) \|", written.read_text(encoding="utf-8"))
    assert "会议室</b>开会，讨论新闻和<b>预算</b>。" in finals[0] and "请<b>章玮</b>" in finals[1]


def _timeless(page: Path) -> list[str]:
    return [re.sub(r"^\| [0-9.]+ s", "|", line) for line in page.read_text(encoding="utf-8").splitlines()]
