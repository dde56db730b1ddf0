"""The rooms' store: who may what, what is kept, in which order, and for how long."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from stream_server.errors import ClientError, Overloaded, SettingsError
from stream_server.rooms.store import UNUSED_MS, Caption, NewRoom, Store

HOUR = 3_600_000
NOW = 1_800_000_000_000


@pytest.fixture
def store(tmp_path: Path):
    opened = Store(tmp_path / "rooms.sqlite")
    yield opened
    opened.close()


def made(store: Store, name: str = "晨会", now: int = NOW, most: int = 10) -> NewRoom:
    return store.create(name, False, now, most=most)


def say(store: Store, room: NewRoom, speaker: int, *texts: str, begin: int = 0, now: int = NOW,
        most: int = 1000) -> None:
    store.add([Caption(room.room.id, speaker, number, begin + 1000 * number, begin + 1000 * number + 900, text, ["词"],
                       [(text, begin, begin + 900)]) for number, text in enumerate(texts)], now, most=most)


def join(store: Store, room: NewRoom, name: str = "小王", door: str = "door-0", most: int = 9) -> int:
    return store.join(room.speak, name, door, most=most)[1].id


def leave(store: Store, *speakers: int) -> None:
    store.add([], NOW, most=1000, left=speakers)


def texts(store: Store, room: NewRoom, after: int = 0) -> list[str]:
    return [said.text for said in store.scene(room.room.read, after).said]


def test_both_tokens_find_the_room_and_one_of_them_speaks(store: Store) -> None:
    room = made(store)
    assert store.find(room.speak) == store.find(room.room.read) == room.room
    assert store.find("") is store.find(room.room.public) is store.find("x" * 200) is store.find("\ud800") is None
    join(store, room)
    for token in (room.room.read, room.room.public, "", "no"):
        with pytest.raises(ClientError) as raised:
            store.join(token, "小王", "door-0", most=9)
        assert raised.value.fatal and raised.value.field == "room"
    assert store.end(room.room.read, NOW) is None


def test_tokens_are_long_and_none_twice(store: Store) -> None:
    rooms = [made(store, most=1000) for _ in range(100)]
    tokens = [token for room in rooms for token in (room.speak, room.room.read)]
    assert len(set(tokens)) == 200 and all(len(token) == 22 and token[0] != "-" for token in tokens)


def test_the_file_does_not_have_what_lets_speak(store: Store, tmp_path: Path) -> None:
    room = made(store)
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert room.room.read.encode() in content and room.speak.encode() not in content
    assert (tmp_path / "rooms.sqlite").stat().st_mode & 0o077 == 0


def test_what_was_said_after_an_id_of_all_who_speak(store: Store) -> None:
    room, other = made(store), made(store)
    first, second = join(store, room, "小王"), join(store, room, "小李", "door-1")
    say(store, room, first, "一", "二")
    say(store, other, join(store, other), "别的")
    say(store, room, second, "三")
    scene = store.scene(room.room.read)
    assert [(said.name, said.text, said.hotwords) for said in scene.said] == \
        [("小王", "一", ["词"]), ("小王", "二", ["词"]), ("小李", "三", ["词"])]
    assert [speaker.name for speaker in scene.speakers] == ["小王", "小李"]
    assert texts(store, room, scene.said[1].id) == ["三"] and texts(store, room, scene.said[2].id) == []


def test_a_transcript_is_in_the_order_in_which_it_was_spoken(store: Store) -> None:
    room = made(store)
    long, short = join(store, room, "长"), join(store, room, "短")
    say(store, room, short, "插话", begin=5_000)
    say(store, room, long, "很长的话", begin=1_000)
    found, captions = store.transcript(room.speak)
    assert found == room.room
    assert [(said.text, pieces) for said, pieces in captions] == \
        [("很长的话", [("很长的话", 1_000, 1_900)]), ("插话", [("插话", 5_000, 5_900)])]


def test_who_leaves_is_named_still_where_words_are_left(store: Store) -> None:
    room = made(store)
    speaks, silent = join(store, room, "说"), join(store, room, "听")
    say(store, room, speaks, "话")
    leave(store, speaks, silent, 12_345)
    scene = store.scene(room.room.read)
    assert scene.speakers == [] and scene.said[0].name == "说"
    say(store, room, silent, "太晚")
    assert texts(store, room) == ["话"]


def test_too_many_speakers_until_one_leaves(store: Store) -> None:
    room = made(store)
    first = join(store, room, most=2)
    join(store, room, most=2)
    with pytest.raises(Overloaded):
        join(store, room, most=2)
    leave(store, first)
    join(store, room, most=2)


def test_an_ended_room_takes_what_was_begun_before_its_end(store: Store) -> None:
    room = made(store)
    speaker = join(store, room)
    ended = store.end(room.speak, NOW + 10_000)
    assert ended.ended_ms == NOW + 10_000
    assert store.end(room.speak, NOW + 99_000).ended_ms == NOW + 10_000
    say(store, room, speaker, "之前", begin=10_000)
    say(store, room, speaker, "之后", begin=10_001)
    assert texts(store, room) == ["之前"]
    with pytest.raises(ClientError):
        join(store, room)


def test_the_last_captions_are_kept(store: Store) -> None:
    room, other = made(store), made(store)
    speaker, beside = join(store, room), join(store, other)
    say(store, other, beside, "别的")
    say(store, room, speaker, *map(str, range(30)), most=7)
    say(store, room, speaker, "30", most=7)
    assert texts(store, room) == [str(number) for number in range(24, 31)]
    assert texts(store, other) == ["别的"]


def test_a_room_expires_after_its_last_word_unless_someone_is_there(store: Store) -> None:
    silent, spoken, busy = made(store), made(store), made(store)
    speaker = join(store, spoken)
    say(store, spoken, speaker, "话", now=NOW + 2 * HOUR)
    leave(store, speaker)
    here = join(store, busy)
    assert store.sweep(NOW + HOUR, HOUR) == []
    assert store.sweep(NOW + HOUR + 1, HOUR) == [silent.room.public]
    assert store.sweep(NOW + 3 * HOUR + 1, HOUR) == [spoken.room.public]
    assert store.scene(spoken.room.read) is store.transcript(spoken.room.read) is store.find(spoken.speak) is None
    leave(store, here)
    assert store.sweep(NOW + 3 * HOUR + 1, HOUR) == [busy.room.public] and store.count() == 0


def test_when_there_are_too_many_ended_rooms_go_first_then_unused_ones(store: Store) -> None:
    unused, spoken, late, early = (made(store, name, most=4) for name in ("unused", "spoken", "late", "early"))
    say(store, spoken, join(store, spoken), "话")
    store.end(late.speak, NOW + 20)
    store.end(early.speak, NOW + 10)
    for expected in (early, late):
        made(store, "new", NOW + UNUSED_MS, most=4)
        assert store.find(expected.speak) is None
    with pytest.raises(Overloaded):
        made(store, "new", NOW + UNUSED_MS, most=4)
    made(store, "new", NOW + UNUSED_MS + 1, most=4)
    assert store.find(unused.speak) is None and store.find(spoken.speak) is not None and store.count() == 4


def test_a_door_that_begins_has_nobody(store: Store) -> None:
    room = made(store)
    for door in ("door-0", "door-1", "door-7"):
        join(store, room, door, door)
    store.forget_door("door-0", ("door-0", "door-1"))
    assert [speaker.name for speaker in store.scene(room.room.read).speakers] == ["door-1"]


def test_doors_write_at_once_and_whoever_reads_on_misses_nothing(store: Store, tmp_path: Path) -> None:
    """Ids are seen in order: what has a lower id than something seen was seen."""
    room = made(store)
    speakers = [join(store, room, str(number)) for number in range(4)]

    def write(speaker: int) -> None:
        own = Store(tmp_path / "rooms.sqlite")
        for number in range(50):
            say(own, room, speaker, f"{speaker}:{number}")
        own.close()

    writers = [threading.Thread(target=write, args=(speaker,)) for speaker in speakers]
    for writer in writers:
        writer.start()
    seen: list[str] = []
    last, rounds = 0, 0
    while len(seen) < 200 and rounds < 1_000_000:
        rounds += 1
        said = store.scene(room.room.read, last).said
        seen += [each.text for each in said]
        last = said[-1].id if said else last
    for writer in writers:
        writer.join()
    assert sorted(seen) == sorted(f"{speaker}:{number}" for speaker in speakers for number in range(50))


def test_what_was_said_outlives_the_store_object(tmp_path: Path) -> None:
    first = Store(tmp_path / "kept")
    room = made(first)
    say(first, room, join(first, room), "话")
    first.close()
    again = Store(tmp_path / "kept")
    assert texts(again, room) == ["话"]
    again.close()


def test_another_file_is_left_alone_and_told(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a database, but long enough to be taken for one" * 20)
    newer = sqlite3.connect(tmp_path / "newer")
    newer.executescript("CREATE TABLE rooms (id); PRAGMA user_version = 99")
    newer.close()
    for name, told in (("text", "not a database"), ("newer", "version 99, needed 1"), ("no/such/folder", "unable")):
        with pytest.raises(SettingsError, match=f"rooms-store .*{told}"):
            Store(tmp_path / name)
    assert (tmp_path / "text").read_text().startswith("not a database")


def test_a_batch_that_fails_has_written_nothing(store: Store) -> None:
    room = made(store)
    speaker = join(store, room)
    good, bad = Caption(room.room.id, speaker, 0, 0, 1, "一"), Caption(room.room.id, speaker, 0, 0, 1, None)
    with pytest.raises(sqlite3.Error):
        store.add([good, bad], NOW, most=10, left=[speaker])
    with pytest.raises(sqlite3.Error):
        store.add([good], NOW, most=10, left=[speaker, object()])
    assert texts(store, room) == [] and [each.id for each in store.scene(room.room.read).speakers] == [speaker]
    say(store, room, speaker, "二")
    assert texts(store, room) == ["二"]
