from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu import GROUPS, main, measurements
from stream_server import cli

NAMES = list(measurements(Path("folder"), 1.0, "random"))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_run_takes_the_options_that_it_is_given(name: str, tmp_path: Path,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    _, module, *arguments = measurements(tmp_path, 1.0, "random")[name]
    if module == "pytest":
        files = [Path(__file__).parents[2] / argument for argument in arguments if argument.startswith("tests")]
        assert files and all("gpu" in file.read_text("utf-8") or "CUDA" in file.read_text("utf-8") for file in files)
        return

    class Understood(Exception):
        pass

    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(parser: argparse.ArgumentParser, given: list[str] | None = None) -> argparse.Namespace:
        parse(parser, given)
        raise Understood

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
    command = cli.main if module == "stream_server" else importlib.import_module(f"benchmarks.{arguments.pop(0)}").main
    with pytest.raises(Understood):
        command(arguments)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here: it would not fail")
def test_what_fails_is_told_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "--only", "doctor"]) == 1
    assert "FAILED" in capsys.readouterr().out
    assert "CUDA devices here: 0" in (tmp_path / "doctor.txt").read_text("utf-8")
    assert json.loads((tmp_path / "summary.json").read_text("utf-8")) == {}


def test_an_unknown_measurement_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "--only", "everything"]) == 2
    assert "allowed are steps, sockets, finals, doctor" in capsys.readouterr().err


def test_every_measurement_is_in_one_of_three_groups() -> None:
    assert sorted(name for group in GROUPS.values() for name in group) == sorted(NAMES)
    assert len(GROUPS) <= 3


def test_what_takes_too_long_is_ended_and_what_others_found_is_kept(
        tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    todo = {"doctor": ["-c", "print('{\"streams\": 3}')"],
            "tests": ["-c", "import time; print('{\"half\": 1}', flush=True); time.sleep(600)"],
            "engine_fp16": ["-c", "print('{\"half\": 2}'); raise SystemExit(3)"],
            "profile_step": ["-c", "print('{\"best\": 1}\\n{no object')"]}
    monkeypatch.setattr(gpu, "measurements", lambda *_: todo)
    monkeypatch.setattr(gpu, "LIMITS_S", {"tests": 1})
    assert main([str(tmp_path), "--only", "steps"]) == 1
    said = capsys.readouterr().out.splitlines()
    assert [line.split(" s  ")[1] for line in said] == ["done", "ENDED after 1 s", "FAILED", "done"]
    assert json.loads((tmp_path / "summary.json").read_text("utf-8")) == {
        "doctor": {"streams": 3}, "profile_step": {"best": 1}}
    assert main([str(tmp_path), "--only", "doctor", "--within", "5"]) == 1
    assert "left out" in capsys.readouterr().out
    assert "doctor" in json.loads((tmp_path / "summary.json").read_text("utf-8")), "an earlier call found it"
