"""The command as a person meets it: a process, its exit status and what it prints."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from stream_server import __version__
from stream_server.audio.windows import DEFAULT_WINDOWS
from stream_server.cli import announce, main, read_settings
from stream_server.engine.wire import EngineInfo
from stream_server.errors import SettingsError


def run(*arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "stream_server", *arguments], capture_output=True, text=True,
                          timeout=timeout)


def complaint(result: subprocess.CompletedProcess[str]) -> str:
    """The one line that tells what is wrong; fails where there is a traceback or more than the line and its start."""
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if "starting model" not in line]
    assert len(lines) == 1, result.stderr
    return lines[0]


def test_version() -> None:
    assert run("--version").stdout == f"stream-server {__version__}\n"


def test_without_a_command_help_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "serve" in capsys.readouterr().out


def test_help_names_every_kind_of_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    said = capsys.readouterr().out
    assert all(flag in said for flag in ("--port", "--session-end-silence-ms", "--limits-idle-timeout-s"))


def test_a_wrong_setting() -> None:
    assert "--doors '0'" in complaint(run("serve", "--doors", "0"))


@pytest.mark.parametrize(("flag", "value", "told"), [
    ("--windows", "1,2,3", "--windows '1,2,3': needed 0,HOP,LOOK_AHEAD in frames of 60 ms as 0,10,5, "
                           "with the two look-backs or without: 0,10,5,4,1"),
    ("--device", "gpu", "--device 'gpu': needed auto, cpu, cuda or cuda:NUMBER"),
])
def test_a_setting_of_a_wrong_form_is_told_once_and_in_words(flag: str, value: str, told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({flag.removeprefix("--"): [value] if flag == "--windows" else value}, {})
    assert str(caught.value) == told


@pytest.mark.parametrize("self_signed", [False, True])
def test_what_to_try_works_as_printed_with_a_certificate_of_our_own(self_signed: bool,
                                                                    capsys: pytest.CaptureFixture[str]) -> None:
    info = EngineInfo(model="demo", model_kind="demo", windows=DEFAULT_WINDOWS, slots=4, device="cpu", dtype="float32",
                      capacity=4)
    announce("wss://127.0.0.1:1", info, self_signed)
    said = capsys.readouterr().out
    assert ("--insecure" in said) == ("curl -k https://127.0.0.1:1/" in said) == self_signed


def test_a_taken_port() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert complaint(run("serve", "--port", str(port))) == \
            f"stream-server: cannot listen on 127.0.0.1 port {port}: Address already in use"


def test_a_missing_certificate(tmp_path: Path) -> None:
    said = complaint(run("serve", "--certfile", str(tmp_path / "c.pem"), "--keyfile", str(tmp_path / "k.pem")))
    assert said == f"stream-server: --certfile {tmp_path / 'c.pem'}: no such file"


def test_an_unknown_model() -> None:
    assert "model 'nonesuch' is unknown" in complaint(run("serve", "--port", "0", "--model", "nonesuch"))


def test_doctor_finds_nothing_wrong(small_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--port", "0", "--model", str(small_model)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == "Serving would work."
    assert any(line.startswith("model") and "small (directory)" in line for line in said)
    assert any(line.startswith("int8") for line in said)


@pytest.mark.parametrize(("options", "missing"), [
    (("--model", "nonesuch"), "model 'nonesuch' is unknown"),
    (("--device", "cuda:99"), "cuda:99"),
    (("--certfile", "/no/c.pem", "--keyfile", "/no/k.pem"), "--certfile /no/c.pem: no such file"),
])
def test_doctor_tells_what_is_missing(options: tuple[str, ...], missing: str, small_model: Path,
                                      capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--port", "0", "--model", str(small_model), *options]) == 1
    said = capsys.readouterr().out
    assert any(line.startswith("MISSING") and missing in line for line in said.splitlines()), said
    assert said.splitlines()[-1].startswith("Serving would fail")
