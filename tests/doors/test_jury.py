"""Sessions whose detectors are judged by a net that the door's sessions share."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np

from stream_server.doors import jury
from stream_server.doors.jury import Jury
from stream_server.speech.detectors import Detectors
from stream_server.speech.fsmn.model import Model
from stream_server.speech.fsmn.network import Network
from stream_server.speech.fsmn.vad import FsmnNet
from stream_server.speech.vad import Vad
from tests.doors.conversations import STOP
from tests.doors.test_driver import door
from tests.support.audio import silence, voice
from tests.support.detectors import SIZES, loudness, loudness_model, loudness_tensors

START = json.dumps({"type": "start", "vad": "fsmn"})
SOUND = np.concatenate([silence(0.3), voice(1.0), silence(1.0), voice(0.5)])


class Listener:
    """What waits for the jury, without a session."""

    def __init__(self, court: Jury) -> None:
        self.vad = court.detectors.open("fsmn", 2)
        self.visits = 0
        self.failed = False
        self._jury = court

    @property
    def unjudged(self) -> Vad | None:
        return self.vad if self.vad.outstanding and not self.failed else None

    def hear(self, samples: np.ndarray) -> None:
        self.vad.receive(samples)
        self._jury.call(self)

    def receive_scores(self) -> None:
        self.visits += 1
        if self.vad.outstanding:
            self._jury.call(self)

    def fail(self) -> None:
        self.failed = True


class CountingNet:
    """The real net, and how many it judged together."""

    def __init__(self) -> None:
        self._net = loudness().nets["fsmn"]
        self.together: list[int] = []
        self.broken = False

    def open(self) -> Vad:
        vad = self._net.open()
        vad.net = self
        return vad

    def judge(self, vads: Sequence[Vad]) -> None:
        self.together.append(len(vads))
        if self.broken:
            raise ZeroDivisionError("on purpose")
        self._net.judge(vads)


async def settled(listeners: list[Listener]) -> None:
    async with asyncio.timeout(10):
        while any(listener.unjudged is not None for listener in listeners):
            await asyncio.sleep(0.001)


async def test_whoever_waits_is_judged_together() -> None:
    net = CountingNet()
    court = Jury(Detectors({"fsmn": net}))
    listeners = [Listener(court) for _ in range(7)]
    for listener in listeners:
        listener.hear(SOUND[:2_000])
        listener.hear(SOUND[2_000:3_000])
    await settled(listeners)
    assert net.together == [7] and [listener.visits for listener in listeners] == [1] * 7


async def test_no_pass_is_longer_than_it_may_be_and_all_is_judged() -> None:
    net = CountingNet()
    court = Jury(Detectors({"fsmn": net}))
    listeners = [Listener(court) for _ in range(jury.MOST_AT_ONCE + 5)]
    for listener in listeners:
        listener.hear(SOUND)
    await settled(listeners)
    assert max(net.together) == jury.MOST_AT_ONCE
    assert {listener.vad.take_scores()[-1].end for listener in listeners} == {(len(SOUND) - 560) // 160 * 160}


async def test_a_net_that_fails_on_all_fails_those_alone_whom_it_was_judging() -> None:
    net = CountingNet()
    court = Jury(Detectors({"fsmn": net}))
    unlucky = [Listener(court) for _ in range(13)]
    net.broken = True
    for listener in unlucky:
        listener.hear(SOUND)
    await settled(unlucky)
    net.broken = False
    later = Listener(court)
    later.hear(SOUND)
    await settled([later])
    assert all(listener.failed for listener in unlucky) and not later.failed and later.vad.take_scores()


class Fragile(Network):
    """Fails on a pass in which a frame is louder than all that people say, as long as it is told to."""

    failing = True

    def forward(self, features: np.ndarray, lengths: np.ndarray, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self.failing and features.max() > LOUDEST:
            raise FloatingPointError("too loud")
        return super().forward(features, lengths, states)


LOUDEST = 27.0
TOO_LOUD = np.tile(np.int16([32_000, -32_000]), 8_000)


async def test_a_session_whose_sound_a_net_cannot_bear_fails_alone_and_the_others_lose_nothing() -> None:
    net = FsmnNet(fragile())
    court = Jury(Detectors({"fsmn": net}))
    alone = net.open()
    alone.receive(SOUND)
    while alone.outstanding:
        net.judge([alone])
    wanted = alone.take_scores()
    listeners = [Listener(court) for _ in range(5)]
    for place, listener in enumerate(listeners):
        listener.hear(SOUND if place != 2 else np.concatenate([SOUND[:4_000], TOO_LOUD]))
    await settled(listeners)
    assert [listener.failed for listener in listeners] == [False, False, True, False, False]
    assert all(listener.vad.take_scores() == wanted for listener in listeners if not listener.failed)


def test_a_pass_that_failed_takes_nothing_from_anybody() -> None:
    model = fragile()
    net = FsmnNet(model)
    loud, other = net.open(), net.open()
    quiet = 0
    for number, part in enumerate(np.array_split(np.concatenate([SOUND, TOO_LOUD]), 7)):
        loud.receive(part)
        other.receive(np.array_split(SOUND, 7)[number])
        model.network.failing = True
        for _ in range(2):
            with suppress(FloatingPointError):
                net.judge([loud, other])
                quiet += 1
        model.network.failing = False
        net.judge([other, loud])
    assert quiet == 10
    for vad, samples in ((loud, np.concatenate([SOUND, TOO_LOUD])), (other, SOUND)):
        fresh = net.open()
        fresh.receive(samples)
        while fresh.outstanding or vad.outstanding:
            net.judge([fresh, vad])
        np.testing.assert_allclose([score.probability for score in vad.take_scores()],
                                   [score.probability for score in fresh.take_scores()])


def fragile() -> Model:
    return replace(loudness_model(), network=Fragile(SIZES, loudness_tensors(), "test"))


async def test_a_session_with_a_net_from_start_to_end() -> None:
    async with door(loudness()) as d:
        d.link.say(START, *(piece.tobytes() for piece in np.split(SOUND, range(960, len(SOUND), 960))), STOP)
        await d.answer_all()
    finals = [message for message in d.link.received if message["type"] == "final"]
    assert d.link.received[0]["vad"] == "fsmn"
    assert [final["reason"] for final in finals] == ["silence", "stop"]
    assert abs(finals[0]["start_ms"] - 300) <= 30 and abs(finals[0]["end_ms"] - 1_300) <= 30
    assert d.counter.sums[0].received_ms == len(SOUND) // 16


async def test_a_long_message_is_taken_in_as_fast_as_it_is_judged() -> None:
    async with door(loudness()) as d:
        d.link.say(START, np.tile(SOUND, 20).tobytes(), STOP)
        await d.answer_all()
    assert d.counter.sums[0].received_ms == 20 * len(SOUND) // 16
    assert d.counter.sums[0].dropped_ms == 0 and d.counter.sums[0].segments == 21


async def test_a_client_that_vanishes_while_its_audio_waits_is_forgotten() -> None:
    async with door(loudness()) as d:
        d.link.say(START, SOUND.tobytes())
        await d.until(lambda: "ready" in d.link.kinds())
        d.link.vanish()
        await d.until(lambda: not d.engine.admitted)
        await asyncio.sleep(2 * jury.GATHER_S)
        assert not d.reception._jury._waiting


async def test_a_net_that_the_server_was_not_given_is_refused() -> None:
    async with door() as d:
        d.link.say(START)
        await d.until(lambda: d.link.closed is not None)
    error = d.link.received[-1]
    assert (error["code"], error["field"], error["value"], error["allowed"]) == (
        "bad_field", "vad", "fsmn", "one of webrtc, none")
    assert d.link.closed == (1008, "this server has no such vad")
