"""The rooms' store: an SQLite file that all doors of a server have open. What is not in it was never said.

A caption's id rises in the order of writing, over all rooms: SQLite has one writer at a time, which is given its ids
while it holds the lock, so that whoever has read up to an id misses none below it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from secrets import token_hex, token_urlsafe
from typing import NamedTuple

from stream_server.errors import ClientError, Overloaded, SettingsError
from stream_server.speech.subtitles import Line, Piece

VERSION = 1
BUSY_S = 10.0
"""How long one door waits for another's writing, which takes milliseconds."""

UNUSED_MS = 3_600_000
"""Age from which on a room in which nobody has spoken may give way to a new one."""

SCHEMA = f"""
CREATE TABLE rooms (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    public TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    speak BLOB NOT NULL UNIQUE,
    read TEXT NOT NULL UNIQUE,
    recorded INTEGER NOT NULL,
    began_ms INTEGER NOT NULL,
    ended_ms INTEGER,
    last_ms INTEGER NOT NULL
);
CREATE TABLE speakers (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    room INTEGER NOT NULL REFERENCES rooms(id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    door TEXT NOT NULL,
    here INTEGER NOT NULL DEFAULT 1
);
CREATE INDEX speakers_of_room ON speakers(room, here);
CREATE TABLE captions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    room INTEGER NOT NULL REFERENCES rooms(id) ON DELETE CASCADE,
    speaker INTEGER NOT NULL REFERENCES speakers(id) ON DELETE CASCADE,
    segment INTEGER NOT NULL,
    begin_ms INTEGER NOT NULL,
    end_ms INTEGER NOT NULL,
    text TEXT NOT NULL,
    hotwords TEXT NOT NULL,
    pieces TEXT NOT NULL
);
CREATE INDEX captions_of_room ON captions(room, id);
CREATE INDEX captions_of_speaker ON captions(speaker);
PRAGMA user_version = {VERSION};
"""


class Room(NamedTuple):
    """A room as it is now. Times are the wall clock's, in ms."""

    id: int
    public: str
    name: str
    read: str
    recorded: bool
    began_ms: int
    ended_ms: int | None


class NewRoom(NamedTuple):
    """A room just made, and the token that makes speakers, which the store itself does not keep."""

    room: Room
    speak: str


class Speaker(NamedTuple):
    """One session in a room."""

    id: int
    name: str


class Caption(NamedTuple):
    """A final to be written. Times are the room's."""

    room: int
    speaker: int
    segment: int
    begin_ms: int
    end_ms: int
    text: str
    hotwords: Sequence[str] = ()
    pieces: Sequence[Piece] = ()


class Said(NamedTuple):
    """A final that is in the store."""

    id: int
    speaker: int
    name: str
    segment: int
    begin_ms: int
    end_ms: int
    text: str
    hotwords: list[str]

    def line(self, pieces: Sequence[Piece]) -> Line:
        return Line(self.name, self.begin_ms, self.end_ms, self.text, pieces)


class Scene(NamedTuple):
    """A room, who speaks in it now, and what was said after the id that was asked for."""

    room: Room
    speakers: list[Speaker]
    said: list[Said]


Transcript = tuple[Room, list[tuple[Said, list[Piece]]]]
"""A room and all that is kept of what was said in it, by the time at which it was spoken."""

_ROOM = "id, public, name, read, recorded, began_ms, ended_ms"
_SAID = "captions.id, speaker, name, segment, begin_ms, end_ms, text, hotwords"


class Store:
    """One connection to the file; for one thread at a time. All times are given, in ms of the wall clock."""

    def __init__(self, file: Path) -> None:
        """Opens the file, makes it where it is missing. Raises SettingsError where it is no store of this version."""
        try:
            self._database = sqlite3.connect(file, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
            self._database.execute("PRAGMA journal_mode = WAL")
            # After a power cut the last seconds may be missing; the file stays whole.
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.execute("PRAGMA foreign_keys = ON")
            self._prepare(file)
        except sqlite3.Error as error:
            raise SettingsError(f"rooms-store {file}: {error}") from None

    def _prepare(self, file: Path) -> None:
        with self._writing():
            (version,) = self._database.execute("PRAGMA user_version").fetchone()
            (tables,) = self._database.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if version == 0 and not tables:
                for statement in SCHEMA.split(";"):
                    self._database.execute(statement)
                file.chmod(0o600)
            elif version != VERSION:
                raise SettingsError(f"rooms-store {file}: version {version}, needed {VERSION}; name another file")

    def close(self) -> None:
        self._database.close()

    # ---- rooms

    def create(self, name: str, recorded: bool, now: int, *, most: int) -> NewRoom:
        """A room with tokens of 128 bits. Raises Overloaded where there are `most` and none may go."""
        speak, read, public = _token(), _token(), token_hex(8)
        with self._writing():
            self._make_place(now, most)
            self._database.execute(
                "INSERT INTO rooms (public, name, speak, read, recorded, began_ms, last_ms) VALUES (?,?,?,?,?,?,?)",
                (public, name, _digest(speak), read, recorded, now, now))
        return NewRoom(self.find(read), speak)

    def find(self, token: str) -> Room | None:
        """The room of this token, whether that speaks or reads."""
        if not token.isascii():
            return None
        row = self._database.execute(f"SELECT {_ROOM} FROM rooms WHERE read = ? OR speak = ?",
                                     (token, _digest(token))).fetchone()
        return _room(row)

    def end(self, speak: str, now: int) -> Room | None:
        """Ends the room of this speaker token; None where there is none. Once ended it stays as it is."""
        with self._writing():
            self._database.execute("UPDATE rooms SET ended_ms = coalesce(ended_ms, ?) WHERE speak = ?",
                                   (now, _digest(speak)))
        row = self._database.execute(f"SELECT {_ROOM} FROM rooms WHERE speak = ?", (_digest(speak),)).fetchone()
        return _room(row)

    def count(self) -> int:
        """How many rooms there are."""
        return self._database.execute("SELECT count(*) FROM rooms").fetchone()[0]

    def sweep(self, now: int, kept_ms: int) -> list[str]:
        """Deletes the rooms whose last word is older than `kept_ms` and where nobody is; their public names."""
        with self._writing():
            rows = self._database.execute(
                "DELETE FROM rooms WHERE last_ms < ? AND NOT EXISTS "
                "(SELECT 1 FROM speakers WHERE room = rooms.id AND here) RETURNING public", (now - kept_ms,)).fetchall()
        return [public for (public,) in rows]

    def _make_place(self, now: int, most: int) -> None:
        excess = self.count() - most + 1
        if excess <= 0:
            return
        deleted = self._database.execute(
            "DELETE FROM rooms WHERE id IN (SELECT id FROM rooms WHERE NOT EXISTS "
            "(SELECT 1 FROM speakers WHERE room = rooms.id AND here) AND (ended_ms IS NOT NULL OR began_ms < ? AND "
            "NOT EXISTS (SELECT 1 FROM captions WHERE room = rooms.id)) "
            "ORDER BY ended_ms IS NULL, ended_ms, began_ms LIMIT ?)", (now - UNUSED_MS, excess)).rowcount
        if deleted < excess:
            raise Overloaded(f"there are {most} rooms already", retry_after_s=60)

    # ---- speakers

    def join(self, speak: str, name: str, door: str, *, most: int) -> tuple[Room, Speaker]:
        """Another speaker. Raises ClientError where the token does not let speak, Overloaded where `most` are here."""
        with self._writing():
            row = self._database.execute(f"SELECT {_ROOM} FROM rooms WHERE speak = ? AND ended_ms IS NULL",
                                         (_digest(speak),)).fetchone()
            room = _room(row)
            if room is None:
                raise ClientError("bad_field", "nobody can speak in a room by this", field="room", value=speak,
                                  allowed="the speaker token of a room that has not ended", fatal=True)
            (here,) = self._database.execute("SELECT count(*) FROM speakers WHERE room = ? AND here",
                                             (room.id,)).fetchone()
            if here >= most:
                raise Overloaded(f"{here} people speak in this room already", retry_after_s=30)
            speaker = self._database.execute("INSERT INTO speakers (room, name, door) VALUES (?,?,?)",
                                             (room.id, name, door)).lastrowid
        return room, Speaker(speaker, name)

    def forget_door(self, door: str, doors: Sequence[str]) -> None:
        """Nobody is here by this door, which begins, nor by one that is none of `doors`."""
        others = [name for name in doors if name != door]
        with self._writing():
            self._database.execute(f"UPDATE speakers SET here = 0 WHERE here AND door NOT IN "
                                   f"({','.join('?' * len(others))})", others)

    # ---- captions

    def add(self, captions: Sequence[Caption], now: int, *, most: int, left: Iterable[int] = ()) -> None:
        """Writes finals, but those of rooms that are gone or that began after their room's end; then the speakers
        `left` are gone, and those of them who have said nothing are forgotten. All of it is done, or nothing. Of each
        room the last `most` finals are kept."""
        with self._writing():
            for caption in captions:
                self._database.execute(
                    "INSERT INTO captions (room, speaker, segment, begin_ms, end_ms, text, hotwords, pieces) "
                    "SELECT ?,?,?,?,?,?,?,? FROM rooms JOIN speakers ON room = rooms.id "
                    "WHERE speakers.id = ? AND (ended_ms IS NULL OR began_ms + ? <= ended_ms)",
                    (*caption[:6], json.dumps(caption.hotwords, ensure_ascii=False),
                     json.dumps(caption.pieces, ensure_ascii=False), caption.speaker, caption.begin_ms))
            for room in {caption.room for caption in captions}:
                self._database.execute("UPDATE rooms SET last_ms = ? WHERE id = ?", (now, room))
                self._database.execute(
                    "DELETE FROM captions WHERE room = ? AND id <= (SELECT id FROM captions WHERE room = ? "
                    "ORDER BY id DESC LIMIT 1 OFFSET ?)", (room, room, most))
            for speaker in left:
                self._database.execute("UPDATE speakers SET here = 0 WHERE id = ?", (speaker,))
                self._database.execute("DELETE FROM speakers WHERE id = ? AND NOT EXISTS "
                                       "(SELECT 1 FROM captions WHERE speaker = speakers.id)", (speaker,))

    def scene(self, token: str, after: int = 0) -> Scene | None:
        """The room of a token, and what was said in it after a caption's id; None where there is no such room."""
        self._database.execute("BEGIN")
        try:
            room = self.find(token)
            if room is None:
                return None
            speakers = self._database.execute("SELECT id, name FROM speakers WHERE room = ? AND here ORDER BY id",
                                              (room.id,)).fetchall()
            said = self._database.execute(
                f"SELECT {_SAID} FROM captions JOIN speakers ON speakers.id = speaker "
                "WHERE captions.room = ? AND captions.id > ? ORDER BY captions.id", (room.id, after)).fetchall()
        finally:
            self._database.execute("COMMIT")
        return Scene(room, [Speaker(*row) for row in speakers],
                     [Said(*row[:7], json.loads(row[7])) for row in said])

    def transcript(self, token: str) -> Transcript | None:
        """What was said; None where there is no such room."""
        room = self.find(token)
        if room is None:
            return None
        rows = self._database.execute(
            f"SELECT {_SAID}, pieces FROM captions JOIN speakers ON speakers.id = speaker WHERE captions.room = ? "
            "ORDER BY begin_ms, captions.id", (room.id,)).fetchall()
        return room, [(Said(*row[:7], json.loads(row[7])), [tuple(piece) for piece in json.loads(row[8])])
                      for row in rows]

    def _writing(self) -> _Transaction:
        return _Transaction(self._database)


class _Transaction:
    """All or nothing, with the writer's lock from the beginning: one that reads first could not get it later."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def __enter__(self) -> None:
        self._database.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._database.execute("COMMIT")
        finally:
            # Of some errors SQLite has rolled back itself.
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")


def _token() -> str:
    """128 bits. None begins with a hyphen: a command line would take it for an option."""
    while (token := token_urlsafe(16)).startswith("-"):
        pass
    return token


def _digest(token: str) -> bytes:
    # The store can be read by whoever keeps its copies: it lets them read, as they do already, not speak.
    return sha256(token.encode(errors="surrogatepass")).digest()


def _room(row: tuple | None) -> Room | None:
    return None if row is None else Room(*row[:4], bool(row[4]), *row[5:])
