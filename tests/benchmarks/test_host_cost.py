"""The measurement itself, with few chunks: every one is answered, and the figures are there."""

from __future__ import annotations

import itertools
import json

import pytest

from benchmarks.host_cost import SEGMENT_CHUNKS, bursts, main


def test_core_and_wire_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--sessions", "6", "--doors", "2", "--bursts", "30", "--rounds", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["chunks"] == 6 * 30 and found["core_us"] > 0
    assert found["process_us"] >= found["wire_us"] >= 0


def test_a_session_speaks_in_streams_that_begin_and_end() -> None:
    spoken = [chunk for burst in itertools.islice(bursts(4), 40) for session, chunk in burst if session == "3"]
    streams = [list(chunks) for _, chunks in itertools.groupby(spoken, lambda chunk: chunk.generation)]
    assert [len(chunks) for chunks in streams[1:-1]] == [SEGMENT_CHUNKS] * (len(streams) - 2)
    for chunks in streams[:-1]:
        assert [chunk.sequence for chunk in chunks] == list(range(len(chunks)))
        assert [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
