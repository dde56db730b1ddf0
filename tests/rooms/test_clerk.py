"""Who writes for a door, when others write as well."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from stream_server.rooms import clerk as clerk_module
from stream_server.rooms.clerk import Clerk, Left
from stream_server.rooms.store import Caption, Store
from tests.rooms.onlooker import Onlooker


@pytest.mark.parametrize("wrong_moment", [1, 2, 3])
async def test_a_store_that_another_has_locked_has_each_final_once(tmp_path: Path, wrong_moment: int,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock is taken before the clerk's transaction of this number, and given back before the next."""
    monkeypatch.setattr(clerk_module, "RETRY_S", 0.01)
    file = tmp_path / "rooms"
    told: list[set[str]] = []
    onlooker = Onlooker()
    clerk = Clerk(file, 1000, onlooker, told.append)
    made = await clerk.write(lambda store: store.create("晨会", False, 0, most=9))
    first, second = [(await clerk.write(lambda store: store.join(made.speak, "小王", "door-0", most=9)))[1].id
                     for _ in range(2)]
    other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    begun = 0

    def watch(statement: str) -> None:
        nonlocal begun
        if statement == "BEGIN IMMEDIATE":
            begun += 1
            if begun == wrong_moment:
                other.execute("BEGIN IMMEDIATE")
            elif other.in_transaction:
                other.execute("ROLLBACK")

    def prepare(store: Store) -> None:
        store._database.execute("PRAGMA busy_timeout = 0")
        store._database.set_trace_callback(watch)

    await clerk.write(prepare)
    for number, speaker in enumerate((first, second)):
        for each in range(2):
            segment = 2 * number + each
            clerk.put(made.room.public, Caption(made.room.id, speaker, segment, segment, segment + 1, str(segment)))
        clerk.put(made.room.public, Left(speaker))
        await clerk.flush()
    clerk.put(made.room.public, Caption(made.room.id, first, 4, 4, 5, "4"))
    await clerk.flush()
    scene = await clerk.read(lambda store: store.scene(made.room.read))
    assert [said.text for said in scene.said] == ["0", "1", "2", "3", "4"] and scene.speakers == []
    assert (onlooker.written, onlooker.lost, begun) == (5, 0, 4)
    assert told == [{made.room.public}] * 3
    await clerk.close()
    other.close()
