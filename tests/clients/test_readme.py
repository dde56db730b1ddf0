"""Every command and program of the README, run as it stands there against the server that it starts."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SERVE = "stream-server serve"
NOT_RUN = {
    "./run_stream.sh": "installs gigabytes; the tests of the house run it with installing left out",
    "./run_stream.sh test": "runs all tests, this one too",
    "stream-client mic": "needs a microphone; the tests of the client give it one that is made up",
    "stream-server serve --model paraformer-zh-streaming": "fetches 881 MB",
    "stream-server serve --model /models/paraformer-zh-streaming": "needs the model there",
}


@dataclass(frozen=True)
class Block:
    language: str
    text: str


def blocks(language: str) -> list[Block]:
    found = (Block(*parts) for parts in re.findall(r"^```(\w+)\n(.*?)^```$", README, re.M | re.S))
    return [block for block in found if block.language == language]


COMMANDS = [line for block in blocks("sh") for line in block.text.splitlines()]
RUN = [command for command in COMMANDS if command not in NOT_RUN and command != SERVE]


@pytest.fixture(scope="module")
def place() -> Iterator[dict[str, str]]:
    """The environment in which the commands find the server that the README starts, on a port that is free here."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    environment = {
        **os.environ,
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
        "STREAM_SERVER_PORT": port,
        "STREAM_CLIENT_URL": f"ws://127.0.0.1:{port}",
        "PORT": port,
    }
    with subprocess.Popen(SERVE.split(), cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            for line in server.stdout:
                if "Ready at" in line:
                    break
            else:
                pytest.fail(f"`{SERVE}` ended before it was ready")
            yield environment
        finally:
            server.terminate()
            server.wait(30)


@pytest.mark.parametrize("command", RUN)
def test_command(command: str, place: dict[str, str]) -> None:
    # The doctor looks whether the server's port is free, and here the server has it.
    environment = {**place, "STREAM_SERVER_PORT": "0"} if "doctor" in command else place
    done = subprocess.run(
        command.replace("10095", place["PORT"]), shell=True, cwd=ROOT, env=environment, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("program", [block.text for block in blocks("python")])
def test_program(program: str, place: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program.replace("10095", place["PORT"])], cwd=ROOT, env=place, capture_output=True,
        text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.search(r"[\u4e00-\u9fff]", done.stdout)


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.parametrize("page", [block.text for block in blocks("html")])
def test_script_of_the_page_is_javascript(page: str, tmp_path: Path) -> None:
    (script,) = re.findall(r"<script type=\"module\">(.*?)</script>", page, re.S)
    path = tmp_path / "page.mjs"
    path.write_text(script)
    done = subprocess.run(["node", "--check", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_is_not_run_is_still_there() -> None:
    assert set(NOT_RUN) <= set(COMMANDS)
    assert SERVE in COMMANDS


def test_no_block_is_overlooked() -> None:
    assert {language for language in re.findall(r"^```(\w+)$", README, re.M)} == {"sh", "python", "html"}


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\((?!https://)([^)#]+)\)", README))))
def test_link(target: str) -> None:
    assert (ROOT / target).is_file()
