from __future__ import annotations

import stat
from pathlib import Path

import pytest

from stream_server.engine.endpoint import engine_endpoint
from stream_server.errors import SettingsError


def test_the_directory_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    assert engine_endpoint(directory, "engine-1") == f"ipc://{directory}/engine-1"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert engine_endpoint(directory, "engine-1") == f"ipc://{directory}/engine-1"


def test_a_directory_open_to_others_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    directory.mkdir()
    directory.chmod(0o750)
    with pytest.raises(SettingsError, match="mode 0750"):
        engine_endpoint(directory)


def test_a_link_to_elsewhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SettingsError, match="not a directory of this user"):
        engine_endpoint(tmp_path / "run")


def test_a_path_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="at most 107"):
        engine_endpoint(tmp_path / ("x" * 107))
    assert list(tmp_path.iterdir()) == []
