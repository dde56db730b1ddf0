"""The operator's file of hotwords, as the supervisor reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream_server.errors import SettingsError
from stream_server.speech.hotwords import EMPTY, from_native
from stream_server.supervisor import LONGEST_HOTWORDS, read_hotwords


def test_a_line_for_each_word(tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    file.write_text("\ufeff章伟 30\n\nhello world\r\n达摩院 0.5\n", "utf-8")
    assert read_hotwords(file) == from_native({"章伟": 30, "hello world": 20, "达摩院": 0.5})
    assert read_hotwords(None) == EMPTY


@pytest.mark.parametrize(("content", "words"), [
    ("章伟\n达摩院 200\n".encode(), ["line 2", "200", "0 to 100"]),
    ("章伟\nhttp://127.0.0.1/a\n".encode(), ["line 2", "http://127.0.0.1/a"]),
    (b"\xff\xfe", ["not UTF-8 at byte 0"]),
    ("\n".join(f"词{number}" for number in range(1001)).encode(), ["more than 1000 words"]),
    (b"\n" * (LONGEST_HOTWORDS + 1), ["bytes"]),
])
def test_a_file_that_cannot_be_says_where_and_what_is_allowed(tmp_path: Path, content: bytes, words: list[str]) -> None:
    file = tmp_path / "words.txt"
    file.write_bytes(content)
    with pytest.raises(SettingsError) as raised:
        read_hotwords(file)
    assert all(word in str(raised.value) for word in [str(file), *words]), raised.value


@pytest.mark.parametrize("name", ["absent.txt", "."])
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="hotwords"):
        read_hotwords(tmp_path / name)
