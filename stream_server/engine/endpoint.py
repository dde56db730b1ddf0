"""Where an engine listens: a local socket in a directory that only its owner may enter."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from stream_server.errors import SettingsError

LONGEST_SOCKET_PATH = 107
"""Bytes that the kernel allows for the path of a local socket."""


def engine_endpoint(directory: Path, name: str = "engine-0") -> str:
    """The ZeroMQ endpoint of the engine `name`; makes the directory, mode 0700, where it is missing.

    Raises SettingsError where others own or may enter the directory, or where the path is too long for a socket.
    """
    directory = directory.absolute()
    path = directory / name
    length = len(os.fsencode(path))
    if length > LONGEST_SOCKET_PATH:
        raise SettingsError(f"runtime directory {directory} is too long: {length} bytes with the socket's name, "
                            f"at most {LONGEST_SOCKET_PATH}")
    _make_private(directory)
    return f"ipc://{path}"


def _make_private(directory: Path) -> None:
    # Whoever can write to the socket can take slots and read transcripts; the directory's mode is the only lock.
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise SettingsError(f"runtime directory {directory} is not a directory of this user")
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077:
        raise SettingsError(f"runtime directory {directory} has mode {mode:04o}: it must be 0700")
