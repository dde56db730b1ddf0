"""A WebRTC client that speaks a recording, over a network as good or bad as a test wants it."""

from __future__ import annotations

import asyncio
import fractions
import json
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message

import aiortc
import av
import numpy as np
import soxr

from stream_server.doors.pieces import Joiner

RATE = 48_000
FRAME = 960
PATIENCE_S = 90.0

Packets = Callable[[int, bytes], list[bytes]]
"""What the network makes of the packet of a number: those that arrive now."""

Lateness = Callable[[int], float | None]
"""How many seconds the packet of a number is on its way; None: for ever."""


class Recording(aiortc.MediaStreamTrack):
    """Samples at 16 kHz as frames of 20 ms at 48 kHz, silence after them; `pace` is how many times faster than sound.

    `ends_after`: samples at 48 kHz after which the track is over, also within a frame.
    """

    kind = "audio"

    def __init__(self, samples: np.ndarray, pace: float = 4.0, ends_after: int | None = None) -> None:
        super().__init__()
        self._samples = soxr.resample(samples.astype(np.float32), 16_000, RATE).clip(-32768, 32767).astype(np.int16)
        self._seconds = FRAME / RATE / pace
        self._ends_after = ends_after
        self.position = 0
        self._begun: float | None = None
        self.held = asyncio.Event()
        self.spoken = asyncio.Event()

    async def recv(self) -> av.AudioFrame:
        await self.held.wait()
        loop = asyncio.get_running_loop()
        if self._begun is None:
            self._begun = loop.time()
        await asyncio.sleep(max(0.0, self._begun + self.position / FRAME * self._seconds - loop.time()))
        end = self.position + FRAME
        if self._ends_after is not None and self.position >= self._ends_after:
            self.stop()
            raise aiortc.mediastreams.MediaStreamError
        sound = np.zeros(FRAME, np.int16)
        part = self._samples[self.position:min(end, self._ends_after or end)]
        sound[:len(part)] = part
        frame = av.AudioFrame.from_ndarray(sound.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, self.position, fractions.Fraction(1, RATE)
        self.position = end
        if end >= len(self._samples):
            self.spoken.set()
        return frame


@dataclass
class Heard:
    """What the server said."""

    answers: list[dict] = field(default_factory=list)

    def of(self, kind: str) -> list[dict]:
        return [answer for answer in self.answers if answer["type"] == kind]

    @property
    def texts(self) -> list[str]:
        return [answer["text"] for answer in self.of("final")]


class Speaker:
    """One connection. `start` goes out when the channel opens, the sound after `ready`."""

    def __init__(self, http: str, track: Recording, packets: Packets | None = None,
                 patience_s: float = PATIENCE_S, lateness: Lateness | None = None) -> None:
        self.heard = Heard()
        self.location = ""
        self.closed = asyncio.Event()
        self.connection = aiortc.RTCPeerConnection(aiortc.RTCConfiguration(iceServers=[]))
        self.channel = self.connection.createDataChannel("captions")
        self._http = http
        self.track = track
        self._packets = packets
        self._lateness = lateness
        self._patience_s = patience_s
        self._joiner = Joiner(1 << 20)
        self._news = asyncio.Event()

    async def connect(self, resume: str = "", **first: object) -> None:
        """Begins a session, or goes on with that of the token `resume`."""
        first = {"type": "resume", "token": resume, **first} if resume else {"type": "start", **first}
        sender = self.connection.addTrack(self.track)
        self.channel.on("open", lambda: self.channel.send(json.dumps(first)))
        self.channel.on("message", self._hear)
        self.channel.on("close", self.closed.set)
        await self.connection.setLocalDescription(await self.connection.createOffer())
        status, headers, answer = await post(self._http, self.connection.localDescription.sdp, resume=resume)
        assert status == 201, answer
        self.location = headers["Location"]
        await self.connection.setRemoteDescription(aiortc.RTCSessionDescription(answer, "answer"))
        if self._packets is not None:
            _shape(sender.transport, self._packets)
        if self._lateness is not None:
            _delay(sender.transport, self._lateness)

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(self._patience_s):
            while not holds():
                self._news.clear()
                await self._news.wait()

    async def speak(self, **start: object) -> Heard:
        """A whole session: all of the recording, a stop, and what came of it."""
        await self.connect(**start)
        try:
            await self.until(lambda: bool(self.heard.of("ready") or self.heard.of("error")))
            self.track.held.set()
            async with asyncio.timeout(self._patience_s):
                await self.track.spoken.wait()
            self.channel.send(json.dumps({"type": "stop"}))
            await self.until(lambda: bool(self.heard.of("closing")))
        finally:
            await self.connection.close()
        return self.heard

    def _hear(self, piece: str) -> None:
        text = self._joiner.receive(piece)
        if text is not None:
            self.heard.answers.append(json.loads(text))
            self._news.set()


def _shape(transport: aiortc.RTCDtlsTransport, packets: Packets) -> None:
    send: Callable[[bytes], Awaitable[None]] = transport._send_rtp
    count = 0

    async def shaped(data: bytes) -> None:
        nonlocal count
        if 192 <= data[1] <= 223:  # RTCP
            await send(data)
            return
        count += 1
        for packet in packets(count - 1, data):
            await send(packet)

    transport._send_rtp = shaped


def _delay(transport: aiortc.RTCDtlsTransport, lateness: Lateness) -> None:
    send: Callable[[bytes], Awaitable[None]] = transport._send_rtp
    under_way: set[asyncio.Task[None]] = set()
    count = 0

    async def arrive(data: bytes, seconds: float) -> None:
        await asyncio.sleep(seconds)
        # The connection may have ended meanwhile.
        with suppress(ConnectionError):
            await send(data)

    async def delayed(data: bytes) -> None:
        nonlocal count
        if 192 <= data[1] <= 223:  # RTCP
            await send(data)
            return
        count += 1
        seconds = lateness(count - 1)
        if seconds is not None:
            task = asyncio.create_task(arrive(data, seconds))
            under_way.add(task)
            task.add_done_callback(under_way.discard)

    transport._send_rtp = delayed


async def post(http: str, body: str | bytes, kind: str = "application/sdp",
               resume: str = "") -> tuple[int, Message, str]:
    """Status, headers and body of the answer to an offer."""
    query = f"?resume={resume}" if resume else ""
    return await asyncio.to_thread(request, f"{http}/v1/webrtc{query}", "POST", body, kind)


def request(url: str, method: str, body: str | bytes | None = None,
            kind: str = "") -> tuple[int, Message, str]:
    data = body.encode() if isinstance(body, str) else body
    made = urllib.request.Request(url, data, {"Content-Type": kind} if kind else {}, method=method)
    try:
        with urllib.request.urlopen(made, timeout=20) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read().decode()
