"""What every test may ask for. Servers are real processes, each started once for all tests that use it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.support.server import DEMO, Server, running_server

# How long an example takes says something of the machine that runs it.
hypothesis.settings.register_profile("without a clock", deadline=None)
hypothesis.settings.load_profile("without a clock")


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's directory, quick to load and to run; its text means nothing."""
    from tests.support.small_model import write_small_model

    return write_small_model(tmp_path_factory.mktemp("model") / "small")


@pytest.fixture(scope="session")
def served_model(request: pytest.FixtureRequest) -> str:
    """What the test servers serve: the bundled demonstration, or made-up weights where there is none yet."""
    return "demo" if (DEMO / "model.pt").is_file() else str(request.getfixturevalue("small_model"))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, served_model: str) -> Iterator[Server]:
    """A server with two doors and otherwise as it comes."""
    log = tmp_path_factory.mktemp("server") / "log"
    with running_server(log, "--model", served_model, "--doors", "2", "--threads", "1") as running:
        yield running
