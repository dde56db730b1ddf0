"""A session, the engine's core and a model together: a client's list, partials, and an engine that is lost."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from stream_server.config import SessionDefaults, SessionLimits
from stream_server.engine import wire
from stream_server.engine.engine import Engine
from stream_server.engine.stream import Lane
from stream_server.models.checkpoint import load
from stream_server.models.streaming import ParaformerRunner
from stream_server.session.messages import Final, HotwordsTaken, Partial, Start
from stream_server.session.session import Session
from stream_server.speech.hotwords import HotwordList
from stream_server.speech.transcript import Transcript
from tests.models.test_hotwords import likely_words, recorded
from tests.models.test_program import narrow
from tests.models.test_streaming import DEFAULT, sound
from tests.support.conversation import check_order

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
DOOR, NAME = b"door", "s"


class Talk:
    """A session and an engine, whose messages go through the wire's own form."""

    def __init__(self, hotwords: HotwordList | None) -> None:
        self.model = narrow()
        self.messages: list = []
        self.session = Session(NAME, model="narrow", windows=(DEFAULT,), defaults=SessionDefaults(),
                               limits=SessionLimits())
        self._begin_engine()
        self.session.receive_start(Start(vad="none", hotwords=hotwords))

    def _begin_engine(self) -> None:
        self.engine = Engine(ParaformerRunner(self.model, [DEFAULT], 1))
        self.engine.receive(DOOR, wire.Admit(NAME), 0.0)
        self.engine.take_messages()

    def lose_engine(self) -> None:
        self.session.receive_engine_lost()
        self._begin_engine()
        self.session.receive_engine_back()
        self._pump()

    def audio(self, samples: np.ndarray) -> None:
        self.session.receive_audio(samples.tobytes())
        self._pump()

    def stop(self) -> list:
        self.session.receive_stop()
        self._pump()
        check_order(self.messages)
        return self.messages

    def _pump(self) -> None:
        while (chunk := self.session.take_chunk()) is not None:
            step, audio = wire.unpack_from_door(wire.pack_chunk(NAME, chunk, Lane.LIVE))
            self.engine.receive(DOOR, step, 0.0, audio)
            self.engine.step(0.0)
            for _, message in self.engine.take_messages():
                self.session.receive_hypothesis(wire.unpack_from_engine([wire.pack(message)]).hypothesis)
        self.messages += self.session.take_messages()


def spoken(seed: int) -> tuple[np.ndarray, HotwordList]:
    """Sound, and words that a search prefers in it."""
    model, samples = narrow(), sound(7.3, seed=seed)
    words = []
    for ids, bonus in likely_words(recorded(model, samples), seed).items():
        transcript = Transcript(0)
        for place, id_ in enumerate(ids):
            transcript.append(model.vocabulary[id_], 960 * place)
        transcript.finish()
        if transcript.text:
            words.append((transcript.text, 10 * bonus))
    return samples, HotwordList.of(words)


def told(samples: np.ndarray, hotwords: HotwordList | None, lost_at: int | None = None) -> list:
    talk = Talk(hotwords)
    for number, part in enumerate(np.array_split(samples, 16)):
        if number == lost_at:
            talk.lose_engine()
        talk.audio(part)
    return talk.stop()


@pytest.mark.parametrize("seed", [0, 3])
def test_a_lost_engine_changes_nothing_that_a_client_sees(seed: int) -> None:
    samples, hotwords = spoken(seed)
    messages = told(samples, hotwords)
    (final,) = (message for message in messages if isinstance(message, Final))
    (plain,) = (message for message in told(samples, None) if isinstance(message, Final))
    partials = [message for message in messages if isinstance(message, Partial)]
    assert final.text != plain.text and final.hotwords and any(one.stable < len(one.text) for one in partials)
    (taken,) = (message for message in messages if isinstance(message, HotwordsTaken))
    assert taken.words == len(hotwords.words)
    for lost_at in range(1, 16, 3):
        assert told(samples, hotwords, lost_at) == messages


@pytest.mark.parametrize("names", [("张伟", "章玮"), ("章玮", "张伟")])
def test_two_sessions_of_one_batch_with_opposite_lists(names: tuple[str, str]) -> None:
    """Both rows of every step hear the same recording, which says a name that either list writes otherwise."""
    with wave.open(str(SAMPLES / "name.wav")) as recording:
        samples = np.frombuffer(recording.readframes(recording.getnframes()), "<i2")
    # Time stands still, so that both lists are ready at once however busy the machine is.
    engine = Engine(ParaformerRunner(load("demo"), [DEFAULT], 2), clock=lambda: 0.0)
    sessions = {name: Session(name, model="demo", windows=(DEFAULT,), defaults=SessionDefaults(),
                              limits=SessionLimits()) for name in names}
    for name, session in sessions.items():
        engine.receive(DOOR, wire.Admit(name), 0.0)
        session.receive_start(Start(vad="none", hotwords=HotwordList.of([(name, 20)])))
        session.receive_audio(samples.tobytes())
        session.receive_stop()
    engine.take_messages()
    while chunks := [(name, chunk) for name, session in sessions.items() if (chunk := session.take_chunk())]:
        for name, chunk in chunks:
            step, audio = wire.unpack_from_door(wire.pack_chunk(name, chunk, Lane.LIVE))
            engine.receive(DOOR, step, 0.0, audio)
        while engine.step(0.0):
            pass
        for _, message in engine.take_messages():
            sessions[message.session].receive_hypothesis(message.hypothesis)
    assert engine.statistics.rows == 2 * engine.statistics.steps
    for name, session in sessions.items():
        messages = session.take_messages()
        texts = [message.text for message in messages if isinstance(message, Partial | Final)]
        assert len(texts) > 5 and all(text.startswith(f"请{name}") for text in texts if len(text) >= 3)
        assert [message.hotwords for message in messages if isinstance(message, Final)] == [[name]]
