"""What a driver needs of the engines, however they are reached."""

from __future__ import annotations

from typing import Protocol

from stream_server.engine.wire import EngineInfo
from stream_server.speech.recognition import Chunk, Guess
from stream_server.speech.scribe import Spoken


class Engine(Protocol):
    """Chunks, aborts and texts go down at once; what comes of them is given to the reception."""

    info: EngineInfo | None

    async def admit(self, session: str) -> None: ...

    def release(self, session: str) -> None: ...

    def submit(self, session: str, chunk: Chunk) -> None: ...

    def guess(self, session: str, guess: Guess) -> None: ...

    def abort(self, session: str, generation: int) -> None: ...

    def write(self, session: str, segment: int, spoken: Spoken) -> None: ...
