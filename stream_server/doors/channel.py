"""A WebRTC connection as the driver sees it: messages by a data channel, audio by a track."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Callable

import msgspec
import numpy as np

from stream_server.audio.bridge import Bridge
from stream_server.audio.decimate import HALF
from stream_server.audio.jitter import WAIT_S
from stream_server.audio.opus import OPUS_RATE
from stream_server.audio.rtp import Sound
from stream_server.doors.link import LinkLost, Take
from stream_server.doors.pieces import Joiner, split
from stream_server.errors import ClientError
from stream_server.session.messages import Error

log = logging.getLogger(__name__)

UNSENT_BYTES = 16 << 10
"""Bytes that may wait to be sent: beyond, a slow client gets fewer partials."""

MOST_UNSENT_BYTES = 4 * UNSENT_BYTES
"""A client that does not read and still makes errors is cut where so much waits."""

MOST_TEXTS = 64
"""Messages of a client that may wait; a data channel cannot be read more slowly, so that more end the connection."""

PIECE = OPUS_RATE // 5
"""Samples of silence given to the driver at once."""

LEAD = HALF
"""Samples of silence before the first sound: what the way to 16 kHz holds back. So each packet of 20 ms completes what
voice detection looks at, which else would wait for the next one."""

LONGEST_BRIDGE = 60 * OPUS_RATE
"""Samples that may wait besides while a client sends what was said when its connection was lost: that comes at once."""

CLOSE_TIMEOUT_S = 2.0


class ChannelLink:
    """Fed by the connection with what arrives; `lost` is done once the channel or what is under it has ended."""

    def __init__(self, channel, peer: str, *, most_audio_s: float, longest_text: int,
                 failed: Callable[[str], None], abort: Callable[[], None]) -> None:
        """`channel`: an open RTCDataChannel; `failed` is told the codes of errors that the link tells its client."""
        self.peer = peer
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.left = False
        self._channel = channel
        self._most_audio = round(most_audio_s * OPUS_RATE)
        self._joiner = Joiner(longest_text)
        self._failed = failed
        self._abort = abort
        self._loop = asyncio.get_running_loop()
        self._bridge: Bridge | None = None
        self._besides = 0
        self._queue: deque[str | bytes | int] = deque()
        self._texts = 0
        self._audio = 0
        self._dropping = False
        self._started = False
        self._arrived = asyncio.Event()
        self._receiving = False
        self._take: Take | None = None
        self._low = asyncio.Event()
        channel.bufferedAmountLowThreshold = UNSENT_BYTES
        channel.on("bufferedamountlow", self._low.set)
        channel.on("close", self.lose)

    # ---- from the connection

    def receive_message(self, piece: str | bytes) -> None:
        """A message of the data channel."""
        if self.lost.done():
            return
        try:
            if isinstance(piece, bytes) and self._bridge is not None and self._bridge.open:
                self._cross(piece)
                return
            if isinstance(piece, bytes):
                raise ClientError("unsupported", "audio comes by the track", field="message",
                                  value=f"{len(piece)} bytes", allowed="text messages on the data channel")
            text = self._joiner.receive(piece)
        except ClientError as error:
            self._complain(error)
            return
        if text is None:
            return
        self._texts += 1
        if self._texts > MOST_TEXTS:
            log.info("client %s sends messages faster than they are read: cut", self.peer)
            self._give_up()
        elif self._started:
            if self._bridge is not None:
                self._put_sound(self._bridge.join())
                if self._bridge.over:
                    self._bridge = None
            # Sound that was sent before may still be on its way, or wait for a packet that is missing.
            self._loop.call_later(WAIT_S, self._put, text)
        else:
            self._started = True
            if _wants_bridge(text):
                self._bridge, self._besides = Bridge(OPUS_RATE), LONGEST_BRIDGE
            self._put(text)
            self._put(LEAD)

    def receive_sound(self, sound: Sound) -> None:
        """Samples of the track at 48 kHz, or so many of silence."""
        if not self._started or (isinstance(sound, np.ndarray) and not len(sound)):
            return
        if self._bridge is not None:
            self._put_sound(self._bridge.receive_sound(sound))
            if self._bridge.over:
                self._bridge = None
        elif isinstance(sound, np.ndarray):
            data = sound.astype("<i2", copy=False).tobytes()
            if self._receiving and not self._queue and self._take is not None and self._take(data):
                return
            self._audio += len(sound)
            self._put(data)
            self._drop_oldest()
        elif self._queue and isinstance(self._queue[-1], int):
            self._queue[-1] += sound
        else:
            self._put(sound)

    def lose(self) -> None:
        """Nothing can come or go any more."""
        if not self.lost.done():
            self.lost.set_result(None)
        self._arrived.set()
        self._low.set()

    # ---- to the driver

    async def receive(self) -> str | bytes:
        self._receiving = True
        try:
            while not self._queue:
                self._raise_if_lost()
                self._arrived.clear()
                await self._arrived.wait()
        finally:
            self._receiving = False
        # What waits is no reason to keep the other connections from their turn.
        await asyncio.sleep(0)
        return self._next()

    def offer_bytes(self, take: Take) -> None:
        self._take = take

    @property
    def free(self) -> bool:
        return not self.lost.done() and self._channel.bufferedAmount <= UNSENT_BYTES

    def send_now(self, text: str) -> bool:
        if not self.free:
            return False
        self._send(text)
        return True

    async def send(self, text: str) -> None:
        while self._channel.bufferedAmount > UNSENT_BYTES and not self.lost.done():
            self._low.clear()
            await self._low.wait()
        self._raise_if_lost()
        self._send(text)

    async def close(self, code: int, reason: str) -> None:
        if self.lost.done():
            return
        # A data channel closes without a word: what a WebSocket says by its close frame is a message here.
        self._send(json.dumps({"type": "closing", "code": code, "reason": reason}))
        await asyncio.wait({self.lost}, timeout=CLOSE_TIMEOUT_S)
        self.left = self.lost.done()

    def abort(self) -> None:
        self._abort()
        self.lose()

    # ---- inside

    def _cross(self, pcm: bytes) -> None:
        """Sound of the time before the track came; an empty message ends it."""
        self._put_sound(self._bridge.receive_pcm(pcm) if pcm else self._bridge.end())

    def _put_sound(self, samples: np.ndarray) -> None:
        if len(samples):
            self._audio += len(samples)
            self._put(samples.astype("<i2", copy=False).tobytes())
            self._drop_oldest()

    def _next(self) -> str | bytes:
        item = self._queue.popleft()
        if isinstance(item, str):
            self._texts -= 1
        elif isinstance(item, bytes):
            self._audio -= len(item) // 2
        else:
            if item > PIECE:
                self._queue.appendleft(item - PIECE)
            item = bytes(2 * min(item, PIECE))
        if not self._queue and self._dropping:
            self._dropping = False
        return item

    def _put(self, item: str | bytes | int) -> None:
        self._queue.append(item)
        self._arrived.set()

    def _drop_oldest(self) -> None:
        """Puts silence in the place of the oldest sound, so that all after it keeps its time."""
        place = 0
        if self._bridge is None and self._audio <= self._most_audio:
            self._besides = 0
        while self._audio > self._most_audio + self._besides:
            item = self._queue[place]
            if not isinstance(item, bytes):
                place += 1
                continue
            samples = len(item) // 2
            self._audio -= samples
            # One number for all silence in a row: what is looked through stays short.
            if place + 1 < len(self._queue) and isinstance(self._queue[place + 1], int):
                samples += self._queue[place + 1]
                del self._queue[place + 1]
            if place and isinstance(self._queue[place - 1], int):
                self._queue[place - 1] += samples
                del self._queue[place]
            else:
                self._queue[place] = samples
                place += 1
            if not self._dropping:
                self._dropping = True
                self._complain(ClientError("audio_dropped", "recognition is behind: the oldest audio was dropped",
                                           field="audio", allowed=f"{self._most_audio / OPUS_RATE:g} s may wait"))

    def _complain(self, error: ClientError) -> None:
        self._failed(error.code)
        if self.lost.done():
            return
        if self._channel.bufferedAmount > MOST_UNSENT_BYTES:
            log.info("client %s does not read what it is told: cut", self.peer)
            self._give_up()
            return
        self._send(msgspec.json.encode(Error(code=error.code, message=error.message, field=error.field,
                                             value=error.value, allowed=error.allowed, fatal=error.fatal)).decode())
        if error.fatal:
            self._give_up()

    def _give_up(self) -> None:
        self.left = True
        self.abort()

    def _send(self, text: str) -> None:
        if self._channel.readyState != "open":
            self.lose()
            return
        for piece in split(text):
            self._channel.send(piece)

    def _raise_if_lost(self) -> None:
        if self.lost.done():
            raise LinkLost("the connection is closed")


def _wants_bridge(first: str) -> bool:
    """Whether PCM comes before the track's sound; what is wrong with the message is told by who reads all of it."""
    try:
        fields = msgspec.json.decode(first)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return False
    return isinstance(fields, dict) and fields.get("type") == "resume" and fields.get("bridge") is True
