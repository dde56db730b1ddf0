"""A small server of its own that speaks the protocols from their documents, for tests of the client alone.

It recognises nothing: after each `hop` of audio there is a partial, after `segment` of them a final.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from websockets.asyncio.server import ServerConnection, serve

HOP_BYTES = 9_600 * 2
TEXT = "今天天气很好我们去公园"


@dataclass
class Script:
    """How the server behaves, and what it has seen."""

    hops_per_segment: int = 3
    refuse: dict[str, object] | None = None
    close_after_bytes: int | None = None
    end_after_bytes: int | None = None
    close_code: int = 1011
    room: dict[str, object] | None = None
    resume_s: float = 0.0
    forgets: bool = False
    """Whether a session ends with its connection, though it was said that it would wait."""
    read_pause_s: float = 0.0
    partials_per_message: int = 0
    funasr_python_style: bool = False
    seen: list[dict[str, object]] = field(default_factory=list)
    audio: list[int] = field(default_factory=list)
    """Bytes of each binary message."""
    sound: bytearray = field(default_factory=bytearray)
    subprotocols: list[str | None] = field(default_factory=list)
    recogniser: _Recogniser | None = None


@asynccontextmanager
async def scripted_server(script: Script, **options: object) -> AsyncIterator[str]:
    """Runs the server; gives its address."""

    async def handle(connection: ServerConnection) -> None:
        script.subprotocols.append(connection.subprotocol)
        path = connection.request.path
        session = _funasr if path == "/" else _native
        await session(connection, script)

    async with serve(handle, "127.0.0.1", 0, compression=None, close_timeout=0.2, **options) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"{'wss' if 'ssl' in options else 'ws'}://127.0.0.1:{port}"


async def _native(connection: ServerConnection, script: Script) -> None:
    script.seen.append(json.loads(await connection.recv()))
    if script.seen[-1]["type"] == "resume":
        await _resume(connection, script)
        return
    if script.refuse is not None:
        await _send(connection, type="error", **script.refuse)
        if script.refuse.get("fatal"):
            return
    await _send(connection, type="ready", session="s1", model="scripted", encoding="pcm_s16le", sample_rate=16_000,
                window={"hop_ms": 600}, vad="webrtc", end_silence_ms=800, pre_roll_ms=600, min_speech_ms=100,
                max_segment_ms=30_000, news_of_later_versions=True,
                **({"room": script.room} if script.room else {}),
                **({"resume": "door-0.x", "resume_s": script.resume_s} if script.resume_s else {}))
    script.recogniser = _Recogniser(script, connection, _native_partial, _native_final)
    await _hear_all(connection, script)


async def _resume(connection: ServerConnection, script: Script) -> None:
    if script.forgets:
        await _send(connection, type="error", code="bad_field", message="no session can be resumed by this token",
                    field="token", value="door-0.x", fatal=True)
        return
    script.recogniser.connection = connection
    await _send(connection, type="resumed", session="s1", samples=script.recogniser.heard // 2, messages=0, segments=0)
    await _hear_all(connection, script)


async def _hear_all(connection: ServerConnection, script: Script) -> None:
    recogniser = script.recogniser
    async for message in connection:
        if isinstance(message, bytes):
            await recogniser.hear(message)
            if script.end_after_bytes is not None and recogniser.heard >= script.end_after_bytes:
                await _send(connection, type="ended")
                return
            if script.close_after_bytes is not None and recogniser.heard >= script.close_after_bytes:
                script.close_after_bytes = None
                await connection.close(script.close_code, "the engine is away")
                return
            continue
        fields = json.loads(message)
        script.seen.append(fields)
        await recogniser.finish()
        if fields["type"] == "flush":
            await _send(connection, type="flushed", id=fields["id"], at_ms=recogniser.heard // 32)
            continue
        milliseconds = recogniser.heard // 32
        await _send(connection, type="ended", received_ms=milliseconds, recognised_ms=milliseconds, silent_ms=0,
                    dropped_ms=0, segments=recogniser.segment)
        return


async def _funasr(connection: ServerConnection, script: Script) -> None:
    recogniser = _Recogniser(script, connection, _funasr_partial, _funasr_final)
    async for message in connection:
        if isinstance(message, bytes):
            await recogniser.hear(message)
            continue
        script.seen.append(json.loads(message))
        if script.seen[-1].get("is_speaking") is False:
            await recogniser.finish()
            acknowledgement = {"is_end": True} if script.funasr_python_style else {"text": ""}
            await _send(connection, mode="2pass-offline", wav_name="demo", is_final=True, **acknowledgement)


class _Recogniser:
    def __init__(self, script: Script, connection: ServerConnection, partial: Callable, final: Callable) -> None:
        self._script, self.connection, self._partial, self._final = script, connection, partial, final
        self.heard, self.segment, self._hops, self._chatter = 0, 0, 0, 0

    async def hear(self, audio: bytes) -> None:
        await asyncio.sleep(self._script.read_pause_s)
        self._script.audio.append(len(audio))
        self._script.sound += audio
        before, self.heard = self.heard, self.heard + len(audio)
        for _ in range(self._script.partials_per_message):
            self._chatter += 1
            await _send(self.connection, **{**self._partial(self.segment, 1), "revision": self._chatter})
        for _ in range(self.heard // HOP_BYTES - before // HOP_BYTES):
            self._hops += 1
            await _send(self.connection, **self._partial(self.segment, self._hops))
            if self._hops == self._script.hops_per_segment:
                await self.finish()

    async def finish(self) -> None:
        if self._hops:
            await _send(self.connection, **self._final(self.segment, self._hops, self._script))
            self.segment, self._hops = self.segment + 1, 0


def _native_partial(segment: int, hops: int) -> dict[str, object]:
    return {"type": "partial", "segment": segment, "revision": hops, "text": TEXT[: 2 * hops], "stable": 2 * hops - 2,
            "start_ms": segment * 1800, "end_ms": segment * 1800 + hops * 600}


def _native_final(segment: int, hops: int, script: Script) -> dict[str, object]:
    start = segment * 1800
    return {"type": "final", "segment": segment, "revision": hops + 1, "text": TEXT[: 2 * hops] + "。",
            "start_ms": start, "end_ms": start + hops * 600, "reason": "silence",
            "tokens": [["今", start, start + 300]]}


def _funasr_partial(segment: int, hops: int) -> dict[str, object]:
    return {"mode": "2pass-online", "text": TEXT[2 * hops - 2 : 2 * hops], "wav_name": "demo", "is_final": False}


def _funasr_final(segment: int, hops: int, script: Script) -> dict[str, object]:
    spans = [[segment * 1800, segment * 1800 + 300], [segment * 1800 + 300, segment * 1800 + hops * 600]]
    timestamp = spans if script.funasr_python_style else json.dumps(spans)
    return {"mode": "2pass-offline", "text": TEXT[: 2 * hops] + "。", "wav_name": "demo", "timestamp": timestamp,
            "is_final": script.funasr_python_style}


async def _send(connection: ServerConnection, **fields: object) -> None:
    await connection.send(json.dumps(fields, ensure_ascii=False))
