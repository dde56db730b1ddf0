"""The supervisor's children: when they are started again, and when not."""

from __future__ import annotations

import asyncio
from pathlib import Path

from stream_server.supervisor import Child


class Dying(Child):
    """A process that was ready, and dies at once."""

    def __init__(self, directory: Path) -> None:
        super().__init__(lambda news_fd: None, (), directory, lambda child, news: None, lambda child, status: None)
        self.starts = 0
        self.was_ready = True

    async def _run_once(self) -> tuple[str, int]:
        self.starts += 1
        return "door-0", -9


async def test_a_child_that_is_ended_while_it_waits_for_its_next_start_is_not_started(tmp_path: Path) -> None:
    child = Dying(tmp_path)
    life = asyncio.create_task(child.live())
    await asyncio.sleep(0.01)
    child.end()
    await asyncio.wait_for(life, 0.3)
    assert child.starts == 1


async def test_a_child_that_dies_is_started_again(tmp_path: Path) -> None:
    child = Dying(tmp_path)
    life = asyncio.create_task(child.live())
    async with asyncio.timeout(5):
        while child.starts < 2:
            await asyncio.sleep(0.01)
    child.end()
    await life
