"""The comparison with the peers: how its figures are put together, and the whole of it with a small model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.peers.engines import Form
from benchmarks.peers.results import Contender, Results
from benchmarks.peers.sherpa_files import SherpaModel
from benchmarks.peers.sockets import SHERPA_SERVER, faults, make_ruler, our_server, sherpa_server, trial
from benchmarks.peers.speech import HOP_SAMPLES, STREAM_HOPS, speaker
from stream_client.load.ruler import Ruler
from tests.support import recordings

TOP = Path(__file__).parents[2]
OURS, FUNASR, INT8 = Form("ours", "auto", 1, 2, (16, 32)), Form("funasr", "fp32", 1, 2), Form("sherpa", "int8", 1, 2)
MANY = Form("funasr", "fp32", 2, 1)

needs_recordings = pytest.mark.skipif(not recordings.present(), reason=recordings.ABSENT)


@pytest.fixture
def results() -> Results:
    rates = {Contender(OURS, 16): [8.0, 8.0, 2.0], Contender(OURS, 32): [9.0, 12.0, 3.0],
             Contender(FUNASR, 1): [3.0, 3.0, 1.0], Contender(MANY, 1): [4.0, 4.0, 2.0],
             Contender(INT8, 1): [6.0, 8.0, 4.0]}
    peaks = {OURS: [1000], FUNASR: [1500], MANY: [1400, 1600], INT8: [700]}
    return Results(rates, peaks)


def test_ratios_are_of_the_best_of_ours_round_by_round(results: Results) -> None:
    summary = results.summary()
    assert summary["ours_chunks_per_s"] == 9.0
    assert summary["ours_best"] == "ours auto, 1 x 2, batch 32"
    assert (summary["funasr_chunks_per_s"], summary["ratio_funasr"]) == (3.0, 3.0)
    assert (summary["funasr_two_processes_chunks_per_s"], summary["ratio_funasr_two_processes"]) == (4.0, 2.25)
    assert (summary["sherpa_int8_chunks_per_s"], summary["ratio_sherpa_int8"]) == (6.0, 1.5)


def test_what_was_not_measured_is_null(results: Results) -> None:
    summary = Results({Contender(OURS, 16): results.rates[Contender(OURS, 16)]}, {OURS: [1000]}).summary()
    assert summary["ours_chunks_per_s"] == 8.0
    assert [summary[name] for name in ("ratio_funasr", "ratio_sherpa_int8", "funasr_peak_mb")] == [None] * 3


def test_the_table_has_a_line_for_each(results: Results) -> None:
    lines = results.table().splitlines()
    assert len(lines) == 1 + len(results.rates)
    assert "2.25 x" in next(line for line in lines if "funasr fp32, 2 x 1" in line)


def test_speakers_say_all_hops_in_streams_of_half_a_minute() -> None:
    hops = [np.full(HOP_SAMPLES, number, np.int16) for number in range(120)]
    for number in (0, 1, 5):
        stream = speaker(hops, number)
        said = [next(stream) for _ in range(240)]
        assert sorted({int(hop.samples[0]) for hop in said}) == list(range(120))
        beginnings = [index for index, hop in enumerate(said) if hop.first]
        assert beginnings[0] == 0
        assert set(np.diff(beginnings[1:])) == {STREAM_HOPS}


def test_processes_of_sherpa_onnx_do_not_carry_pytorch() -> None:
    command = [sys.executable, "-c", "import sys, benchmarks.peers; print('torch' in sys.modules)"]
    assert subprocess.run(command, cwd=TOP, check=True, capture_output=True, text=True).stdout.strip() == "False"


@needs_recordings
@pytest.mark.slow
def test_the_whole_of_it_with_a_small_model(model_folder: Path, files: SherpaModel, exports: Path) -> None:
    pytest.importorskip("sherpa_onnx", reason="sherpa-onnx is absent: pip install '.[bench]'")
    command = [sys.executable, "-m", "benchmarks", "peers", "--model", str(model_folder), "--cache", str(exports),
               "--rounds", "2", "--seconds", "0.3", "--batches", "2", "--dtypes", "fp32", "--without-sockets"]
    ended = subprocess.run(command, cwd=TOP, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    *table, last = ended.stdout.splitlines()
    summary = json.loads(last)
    rates = ("ours_chunks_per_s", "funasr_chunks_per_s", "funasr_two_processes_chunks_per_s",
             "sherpa_int8_chunks_per_s", "sherpa_fp32_chunks_per_s")
    if summary["cores"] > 1:
        assert all(summary[name] > 0 for name in rates)
    assert summary["ratio_sockets_sherpa_int8"] is None
    assert sum(line.startswith(("ours", "funasr", "sherpa")) for line in table) == (6 if summary["cores"] > 1 else 4)


@needs_recordings
@pytest.mark.slow
@pytest.mark.parametrize("whose", ["ours", "sherpa"])
def test_no_token_of_either_server_comes_before_it_is_due(
    whose: str, model_folder: Path, files: SherpaModel, tmp_path: Path
) -> None:
    log, ruler = tmp_path / "log", tmp_path / "ruler"
    if whose == "sherpa" and not Path(sys.executable).with_name(SHERPA_SERVER).exists():
        pytest.skip("sherpa-onnx-bin is absent: pip install '.[bench]'")
    serving = our_server(str(model_folder), "fp32", log) if whose == "ours" else sherpa_server(files, "int8", 2, log)
    with serving as server:
        make_ruler(server, 9.0, ruler, print)
        figures = trial(server, 9.0, 2, ruler)
    assert faults(figures) == ""
    assert figures.tokens_compared > 10
    (kept,) = json.loads(ruler.read_text())["rulers"]
    due = Ruler(**kept).due
    # Ours are complete with a hop's last message, sherpa-onnx's with the first after it.
    assert {message % 10 for message in due if message <= kept["messages"]} == {0 if whose == "ours" else 1}
