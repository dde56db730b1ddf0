"""The measurement itself, with a model that is quick: each way here is timed, and the fastest is in use again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.ways import main
from stream_server.models.native.library import way
from tests.support.int8 import NEEDS_INT8


@NEEDS_INT8
def test_ways_take_turns(small_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = way()
    assert main(["--model", str(small_model), "--threads", "1", "--batches", "1", "2", "--seconds", "0.1"]) == 0
    *lines, summary = capsys.readouterr().out.splitlines()
    found = json.loads(summary)
    assert f"{before}_batch_2_chunks_per_s" in found and "avx2_batch_1_chunks_per_s" in found
    assert all(rate > 0 for rate in found.values()) and len(lines) == len(found) + 1
    assert way() == before
