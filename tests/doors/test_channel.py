"""The link over a data channel and a track, with the channel in memory."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest

from stream_server.audio.opus import OPUS_RATE
from stream_server.audio.resample import Resampler
from stream_server.doors.channel import (
    LEAD,
    LONGEST_BRIDGE,
    MOST_TEXTS,
    MOST_UNSENT_BYTES,
    UNSENT_BYTES,
    ChannelLink,
)
from stream_server.doors.link import LinkLost
from stream_server.doors.pieces import LONGEST_PIECE, Joiner
from stream_server.speech import vad

MOST_AUDIO_S = 0.1
FRAME = np.arange(960, dtype=np.int16)


class MemoryChannel:
    """What the link uses of an RTCDataChannel; what is sent waits until `drain`."""

    bufferedAmountLowThreshold = 0
    readyState = "open"

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.bufferedAmount = 0
        self.handlers: dict[str, object] = {}

    def on(self, event: str, handler: object) -> None:
        self.handlers[event] = handler

    def send(self, text: str) -> None:
        self.sent.append(text)
        self.bufferedAmount += len(text.encode())

    def drain(self) -> None:
        self.bufferedAmount = 0
        self.handlers["bufferedamountlow"]()


class Client:
    def __init__(self) -> None:
        self.channel = MemoryChannel()
        self.failures: list[str] = []
        self.aborted = 0
        self.link = ChannelLink(self.channel, "client", most_audio_s=MOST_AUDIO_S, longest_text=100_000,
                                failed=self.failures.append, abort=self._abort)

    def _abort(self) -> None:
        self.aborted += 1

    def said(self) -> list[dict]:
        joiner = Joiner(1 << 20)
        return [json.loads(text) for text in map(joiner.receive, self.channel.sent) if text is not None]

    async def started(self) -> Client:
        self.link.receive_message("start")
        assert await self.link.receive() == "start"
        assert await self.link.receive() == bytes(2 * LEAD)
        return self


async def test_sound_before_the_first_message_is_nobodys() -> None:
    client = Client()
    client.link.receive_sound(FRAME)
    client.link.receive_message("start")
    client.link.receive_sound(FRAME)
    assert [await client.link.receive() for _ in range(3)] == ["start", bytes(2 * LEAD), FRAME.tobytes()]


async def test_sound_is_offered_at_once_while_the_driver_waits() -> None:
    client = await Client().started()
    taken: list[bytes] = []
    client.link.offer_bytes(lambda data: not taken.append(data))
    client.link.receive_sound(FRAME)
    assert taken == [], "the driver does not wait yet"
    assert await client.link.receive() == FRAME.tobytes()
    waiting = asyncio.create_task(client.link.receive())
    await asyncio.sleep(0)
    client.link.receive_sound(FRAME)
    assert taken == [FRAME.tobytes()]
    client.link.receive_message("flush")
    assert await waiting == "flush"


async def test_a_command_comes_after_the_sound_that_was_on_its_way_when_it_was_said() -> None:
    client = await Client().started()
    client.link.receive_message("stop")
    client.link.receive_sound(FRAME)
    assert [await client.link.receive(), await client.link.receive()] == [FRAME.tobytes(), "stop"]


async def test_silence_comes_in_bounded_pieces() -> None:
    client = await Client().started()
    client.link.receive_sound(100_000)
    client.link.receive_sound(20_000)
    client.link.receive_sound(FRAME)
    got = b""
    while not got.endswith(FRAME.tobytes()):
        piece = await client.link.receive()
        assert len(piece) <= 64 << 10
        got += piece
    assert got == bytes(240_000) + FRAME.tobytes()


async def test_too_much_sound_drops_the_oldest_keeps_the_time_of_the_rest_and_is_told_once_a_burst() -> None:
    client = await Client().started()
    for _ in range(2):
        for number in range(20):
            client.link.receive_sound(np.full(960, number + 1, np.int16))
        got = b"".join([await client.link.receive() for _ in range(7)])
        heard = np.frombuffer(got, np.int16).reshape(-1, 960)[:, 0]
        # 0.1 s is five packets; those before are silence of the same length.
        assert heard.tolist() == [0] * 15 + [16, 17, 18, 19, 20]
    assert [(said["code"], said["fatal"]) for said in client.said()] == [("audio_dropped", False)] * 2
    assert client.failures == ["audio_dropped"] * 2


async def bridged(seconds: float) -> Client:
    """A client that has sent so much of what was said while it had no connection, at once and while nobody reads."""
    client = Client()
    client.link.receive_message(json.dumps({"type": "resume", "token": "door-0.x", "bridge": True}))
    second = np.arange(16_000, dtype=np.int16).tobytes()
    whole = second * int(seconds)
    for start in range(0, len(whole), 12_000):
        client.link.receive_message(whole[start:start + 12_000])
    return client


async def waiting(client: Client) -> int:
    """Samples of sound that waited, each of them not silence; first come the message and what is before all sound."""
    count = 0
    while client.link._queue:
        item = await client.link.receive()
        count += np.count_nonzero(np.frombuffer(item, np.int16)) if isinstance(item, bytes) else 0
    return count


async def test_a_minute_that_was_missed_may_come_at_once_and_no_more() -> None:
    minute = LONGEST_BRIDGE // OPUS_RATE
    client = await bridged(minute)
    assert client.failures == [] and await waiting(client) > 0.99 * LONGEST_BRIDGE
    client = await bridged(minute + 5)
    assert client.failures == ["audio_dropped"]
    assert await waiting(client) <= LONGEST_BRIDGE + MOST_AUDIO_S * OPUS_RATE


async def test_the_room_for_what_was_missed_is_there_once() -> None:
    client = await bridged(30)
    client.link.receive_message(b"")
    client.link.receive_sound(np.zeros(2 * OPUS_RATE, np.int16))
    assert client.link._bridge is None and client.failures == []
    await waiting(client)
    for _ in range(20):
        client.link.receive_sound(FRAME + 1)
    assert client.failures == ["audio_dropped"] and await waiting(client) <= MOST_AUDIO_S * OPUS_RATE


async def test_a_slow_client_is_waited_for() -> None:
    client = Client()
    assert client.link.send_now("{" + "a" * UNSENT_BYTES)
    assert not client.link.send_now("{}")
    sending = asyncio.create_task(client.link.send("{}"))
    await asyncio.sleep(0)
    assert not sending.done()
    client.channel.drain()
    await sending
    assert client.channel.sent[-1] == "{}"


async def test_long_messages_go_in_pieces() -> None:
    client = Client()
    await client.link.send(json.dumps({"text": "字" * 2 * LONGEST_PIECE}, ensure_ascii=False))
    assert len(client.channel.sent) == 3
    assert client.said() == [{"text": "字" * 2 * LONGEST_PIECE}]


async def test_what_waits_is_told_that_the_client_is_gone() -> None:
    client = await Client().started()
    client.link.send_now("{" + "a" * UNSENT_BYTES)
    waiting = [asyncio.create_task(client.link.receive()), asyncio.create_task(client.link.send("{}"))]
    await asyncio.sleep(0)
    client.channel.handlers["close"]()
    for task in waiting:
        with pytest.raises(LinkLost):
            await task
    assert client.link.lost.done()
    await client.link.close(1000, "")
    assert not client.link.send_now("{}")


async def test_a_channel_that_is_closing_takes_nothing_more() -> None:
    client = Client()
    client.channel.readyState = "closing"
    client.link.send_now("{}")
    assert client.channel.sent == [] and client.link.lost.done()


async def test_goodbye_is_a_message_and_waits_for_the_client_to_go() -> None:
    client = Client()
    closing = asyncio.create_task(client.link.close(1013, "no room"))
    await asyncio.sleep(0)
    assert client.said() == [{"type": "closing", "code": 1013, "reason": "no room"}]
    client.channel.handlers["close"]()
    await closing


async def test_bytes_on_the_channel_are_refused_and_a_flood_of_messages_ends_it() -> None:
    client = await Client().started()
    client.link.receive_message(b"audio")
    assert client.said()[0]["code"] == "unsupported"
    for _ in range(MOST_TEXTS + 1):
        client.link.receive_message("{}")
    assert client.aborted == 1
    assert client.link.lost.done()


async def test_a_client_that_makes_errors_and_reads_none_is_cut() -> None:
    client = Client()
    for _ in range(10_000):
        client.link.receive_message(b"audio")
    assert client.aborted == 1 and client.link.lost.done()
    assert client.channel.bufferedAmount < MOST_UNSENT_BYTES + 1000


@pytest.mark.parametrize("message", ["{" + "a" * 100_000, "+" + "a" * 101_000])
async def test_a_message_that_is_too_long_is_the_last(message: str) -> None:
    client = Client()
    client.link.receive_message(message)
    assert [(said["code"], said["fatal"]) for said in client.said()] == [("too_large", True)]
    assert client.aborted == 1 and client.link.lost.done()


async def test_dropped_sound_and_silence_in_turns_become_one_silence() -> None:
    client = await Client().started()
    for _ in range(1000):
        client.link.receive_sound(FRAME)
        client.link.receive_sound(10)
        client.link.receive_sound(FRAME[:0])
    assert len(client.link._queue) <= 11
    got = b""
    while client.link._queue:
        got += await client.link.receive()
    assert len(got) == 2 * 1000 * (960 + 10)


async def test_each_packet_completes_the_frame_that_voice_detection_looks_at() -> None:
    client, resampler = Client(), Resampler(48_000)
    client.link.receive_message("start")
    assert await client.link.receive() == "start"
    samples = len(resampler.convert(np.frombuffer(await client.link.receive(), "<i2")))
    for number in range(1, 30):
        client.link.receive_sound(FRAME)
        samples += len(resampler.convert(np.frombuffer(await client.link.receive(), "<i2")))
        assert samples == number * vad.FRAME
