"""`stream-server bench engine` as it is called, over a model that is quick."""

from __future__ import annotations

import gc
import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from stream_server.cli import main

QUICK = ("--dtype", "fp32", "--seconds", "1", "--slots", "4", "--threads", "1", "--buckets", "1", "4")


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """The command sets the collector for its own process, which here is that of all tests."""
    threshold = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*threshold)


def measured(small_model: Path, capsys: pytest.CaptureFixture[str], *options: str) -> list[dict[str, object]]:
    assert main(["bench", "engine", "--model", str(small_model), "--json", *QUICK, *options]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_what_it_finds_hangs_together(small_model: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    drawn = ("--plot", str(tmp_path / "engine.svg")) if importlib.util.find_spec("matplotlib") else ()
    *steps, held, summary = measured(small_model, capsys, "--streams", "3", "--lag-ms", "60000", *drawn)
    if drawn:
        check_picture(tmp_path / "engine.svg")
    assert [bucket["rows"] for bucket in steps] == [1, 4]
    for bucket in steps:
        assert bucket["chunks_per_s"] == pytest.approx(1000 / bucket["chunk_ms"], rel=0.01)
        assert bucket["realtime_streams"] == pytest.approx(0.6 * bucket["chunks_per_s"], rel=0.01)
        assert 0 < bucket["ceiling_share"] <= bucket["floor_share"]
    best = max(steps, key=lambda bucket: bucket["chunks_per_s"])
    assert held["chunks"] >= 3
    assert summary == {
        "streams": 3, "chunk_to_tokens_p99_ms": held["p99_ms"], "step_p99_ms": held["step_p99_ms"],
        "chunks_per_s": best["chunks_per_s"], "ceiling_share": best["ceiling_share"],
        "slot_bytes": summary["slot_bytes"], "device": "cpu", "dtype": "float32"}


def test_a_lag_that_nothing_can_meet_is_met_by_no_stream(small_model: Path,
                                                         capsys: pytest.CaptureFixture[str]) -> None:
    assert measured(small_model, capsys, "--lag-ms", "0.001")[-1]["streams"] == 0


def test_the_search_ends_at_the_slots(small_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "engine", "--model", str(small_model), "--lag-ms", "60000", *QUICK]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-1].startswith("4 streams of 600 ms") and "for want of --slots" in said[-1]


def check_picture(file: Path) -> None:
    """It is one file of its own: whatever it refers to lies within it."""
    picture = ElementTree.parse(file).getroot()
    assert picture.tag == "{http://www.w3.org/2000/svg}svg"
    links = [value for element in picture.iter() for name, value in element.attrib.items() if name.endswith("href")]
    assert links and all(link.startswith("#") for link in links)


def test_without_matplotlib_a_picture_is_refused_before_anything_is_measured(
        small_model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["bench", "engine", "--model", str(small_model), "--plot", "x.svg"]) == 2
    said = capsys.readouterr()
    assert "--plot needs matplotlib" in said.err and not said.out


@pytest.mark.parametrize(("options", "told"), [
    (("--buckets", "0"), "'0': needed a whole number from 1 to 65536"),
    (("--seconds", "-1"), "'-1': needed a number above 0"),
    (("--streams", "many"), "'many': needed a whole number"),
    (("--session-vad", "none"), "unrecognized arguments: --session-vad"),
])
def test_wrong_options_are_told(options: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["bench", "engine", *options])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(("options", "told"), [
    (("--threads", "1", "--buckets", "5"), "--buckets 5: with 4 slots a worker's step has at most 4 chunks"),
    (("--audio", "/nonesuch"), "--audio /nonesuch"),
    (("--threads", "-1"), "--threads '-1'"),
])
def test_what_cannot_be_measured_is_told_in_a_line(options: tuple[str, ...], told: str, small_model: Path,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "engine", "--model", str(small_model), *QUICK, *options]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and told in said[0]


def test_a_variable_counts_and_a_flag_counts_more(small_model: Path, capsys: pytest.CaptureFixture[str],
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_SERVER_MODEL", "nonesuch")
    assert main(["bench", "engine", *QUICK]) == 2
    assert "'nonesuch' is unknown" in capsys.readouterr().err
    assert main(["bench", "engine", *QUICK, "--model", str(small_model), "--buckets", "5"]) == 2
    assert "--buckets 5" in capsys.readouterr().err
