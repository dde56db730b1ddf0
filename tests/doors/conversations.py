"""Raw conversations with a server: whatever messages, and all that comes back until the connection closes."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import websockets
from websockets.asyncio.client import ClientConnection

NATIVE = "/v1/stream"
FUNASR = "/"
PATIENCE_S = 90.0
START = json.dumps({"type": "start"})
STOP = json.dumps({"type": "stop"})


@dataclass
class Heard:
    """What a server said, and how it closed; `code` is None where the client closed."""

    answers: list[dict] = field(default_factory=list)
    code: int | None = None
    reason: str = ""

    def of(self, kind: str) -> list[dict]:
        """The native messages of one type."""
        return [answer for answer in self.answers if answer.get("type") == kind]

    @property
    def texts(self) -> list[str]:
        """The finals' texts, of either dialect."""
        native = [answer["text"] for answer in self.of("final")]
        return native or [a["text"] for a in self.answers if a.get("mode", "").endswith("offline") and a["text"]]


async def converse(url: str, messages: Iterable[str | bytes], *, until: Callable[[dict], bool] | None = None,
                   context: ssl.SSLContext | None = None, **options: object) -> Heard:
    """Sends all messages while reading; ends when the server closes, or closes itself after an answer for which
    `until` holds.
    """
    heard = Heard()
    client = await websockets.connect(url, ssl=context, max_size=None, **options)
    sender = asyncio.create_task(_send(client, messages))
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                answer = json.loads(await client.recv())
                heard.answers.append(answer)
                if until is not None and until(answer):
                    await client.close()
                    break
    except websockets.ConnectionClosed as closed:
        if closed.rcvd is not None:
            heard.code, heard.reason = closed.rcvd.code, closed.rcvd.reason
        else:
            heard.code = 1006
    finally:
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)
        # Also where the server closed: until then Python 3.11 takes a TLS transport for forgotten.
        client.transport.close()
    return heard


async def _send(client: ClientConnection, messages: Iterable[str | bytes]) -> None:
    for message in messages:
        await client.send(message)


def pieces(samples: np.ndarray, seconds: float = 0.1) -> list[bytes]:
    """Samples as the messages that a client would send."""
    audio = samples.astype("<i2").tobytes()
    size = round(seconds * 16_000) * 2
    return [audio[start:start + size] for start in range(0, len(audio), size)]


async def native(url: str, samples: np.ndarray, **fields: object) -> Heard:
    """A whole native session."""
    start = json.dumps({"type": "start", **fields})
    return await converse(url + NATIVE, [start, *pieces(samples), STOP])


async def funasr(url: str, samples: np.ndarray, **fields: object) -> Heard:
    """A whole session as a FunASR client has it."""
    begin = {"mode": "2pass", "chunk_size": [5, 10, 5], "wav_name": "test", "is_speaking": True, **fields}
    return await converse(url + FUNASR, [json.dumps(begin), *pieces(samples), json.dumps({"is_speaking": False})],
                          until=lambda answer: answer["is_final"], subprotocols=["binary"])


def speech(seconds: float, seed: int = 1) -> np.ndarray:
    """Noise in syllables, which webrtcvad takes for speech; no words."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * 16_000)) / 16_000
    voice = sum(np.sin(2 * np.pi * 120 * n * time) / n for n in range(1, 25))
    syllables = 0.6 + 0.4 * np.sin(2 * np.pi * 4 * time)
    noise = random.normal(0, 0.05, len(time))
    return (4000 * (voice * syllables + noise)).clip(-32768, 32767).astype(np.int16)
