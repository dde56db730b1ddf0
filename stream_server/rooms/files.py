"""Where the rooms are kept."""

from __future__ import annotations

import os
from pathlib import Path

from stream_server.config import RoomSettings
from stream_server.errors import SettingsError
from stream_server.rooms.store import Store

STORE = "rooms.sqlite"
"""Name of the file in the server's private directory, where none is set."""


def store_file(settings: RoomSettings, runtime: Path) -> Path:
    """The file; `runtime` is the server's private directory."""
    return settings.store or runtime / STORE


def make_store(settings: RoomSettings, runtime: Path) -> None:
    """Makes the file before doors come upon it. Raises SettingsError where it cannot be used."""
    Store(store_file(settings, runtime)).close()
    folder = settings.recording_folder
    if folder is not None and not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        raise SettingsError(f"rooms-recording-folder {folder}: needed a folder that can be written to")
