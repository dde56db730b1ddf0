from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import main, measurements
from stream_server import cli

NAMES = list(measurements(Path("folder"), 1.0, "random"))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_run_takes_the_options_that_it_is_given(name: str, tmp_path: Path,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    _, module, *arguments = measurements(tmp_path, 1.0, "random")[name]
    if module == "pytest":
        assert all((Path(__file__).parents[2] / folder).is_dir() for folder in arguments if folder.startswith("tests"))
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


@pytest.mark.skipif(torch.cuda.is_available(), reason="here it would not fail")
def test_what_fails_is_told_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "--only", "doctor"]) == 1
    assert "FAILED" in capsys.readouterr().out
    assert "CUDA devices here: 0" in (tmp_path / "doctor.txt").read_text("utf-8")
    assert json.loads((tmp_path / "summary.json").read_text("utf-8")) == {}


def test_an_unknown_measurement_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "--only", "everything"]) == 2
    assert "allowed are doctor" in capsys.readouterr().err
