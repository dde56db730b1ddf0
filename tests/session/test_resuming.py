"""Whatever is cut and wherever: a client that resumes has each final once, the same as one that was never cut."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_server.audio.pcm import SAMPLE_BYTES
from stream_server.errors import ClientError
from stream_server.session.messages import Ended, Final, Flushed, Partial, Ready, Resume, ServerMessage, Speech
from stream_server.session.record import MOST_MESSAGES, Record
from tests.support.audio import mark, silence, voice
from tests.support.conversation import Conversation, check_order, check_sums

SOUND = np.concatenate([silence(0.4), *(part for number, seconds in enumerate([1.7, 0.5, 4.2, 1.1])
                                        for part in (mark(voice(seconds), every=0.09, first=100 * number),
                                                     silence(1.0)))])


class Client:
    """Reads what a session says, as far as its connection lasts, and resumes by what it has read."""

    def __init__(self, **start: object) -> None:
        self.talk = Conversation(**start)
        self.record = Record()
        self.read: list[ServerMessage] = []
        self._noted = 0

    def hear(self, unread: int = 0) -> None:
        """Reads all that was said and is new, but for the last `unread` messages, which are lost."""
        new = self.talk.messages[self._noted:]
        self._noted = len(self.talk.messages)
        for message in new:
            self.record.note(message)
        self.read += new[:len(new) - unread] if unread else new

    def resume(self) -> int:
        """The connection is lost and there is another one: from which sample on audio is wanted."""
        session = self.talk.session
        session.parked = True
        session.receive_resume(Resume(token=""))
        finals = sum(isinstance(message, Final) for message in self.read)
        self.read += [message for message in self.record.again(finals) if not self._knows(message)]
        return session.intake.position

    def _knows(self, message: ServerMessage) -> bool:
        if isinstance(message, Speech):
            return any(isinstance(known, Speech) and known.segment == message.segment for known in self.read)
        if isinstance(message, Partial):
            return any(isinstance(known, Partial) and (known.segment, known.revision) >= (message.segment,
                       message.revision) for known in self.read)
        return message in self.read

    @property
    def finals(self) -> list[Final]:
        return [message for message in self.read if isinstance(message, Final)]


def uncut(data: bytes, **start: object) -> list[Final]:
    return Conversation(**start).audio(data, cut=4_000).stop().finals


def wire(encoding: str) -> bytes:
    if encoding == "pcm_f32le":
        return (SOUND.astype(np.float32) / 32_768).astype("<f4").tobytes()
    return SOUND.tobytes()


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 6)), max_size=4), second=st.booleans(),
       size=st.integers(1_001, 20_000), format=st.sampled_from(
           [("pcm_s16le", 16_000), ("pcm_f32le", 16_000), ("pcm_s16le", 11_025), ("pcm_s16le", 44_100)]))
def test_cut_anywhere_and_resumed_it_has_the_finals_of_the_uncut_session(cuts, second, size, format) -> None:
    encoding, rate = format
    start = {"encoding": encoding, "sample_rate": rate, "second_model": second, "max_segment_ms": 3_000}
    data, client, sent = wire(encoding), Client(**start), 0
    for part, unread in sorted(cuts):
        end = max(sent, round(part * len(data)))
        client.talk.audio(data[sent:end], cut=size)
        client.hear(unread)
        sent = client.resume() * SAMPLE_BYTES[encoding]
        assert end - SAMPLE_BYTES[encoding] < sent <= end, "whole samples are kept, half of one is not"
    client.talk.audio(data[sent:], cut=size).stop()
    client.hear()
    assert client.finals == uncut(data, **start)
    assert len(client.finals) > 3 if rate == 16_000 else client.finals
    check_order(client.read)
    check_sums(client.talk.session)
    assert client.talk.session.statistics.received == pytest.approx(len(data) / SAMPLE_BYTES[encoding] * 16_000 / rate,
                                                                    abs=2)


@settings(max_examples=25, deadline=None)
@given(unread=st.integers(0, 200))
def test_messages_lost_at_the_very_end_are_said_again(unread: int) -> None:
    client = Client()
    client.talk.audio(SOUND, cut=6_000).stop()
    client.hear(min(unread, len(client.talk.messages) - 1))
    client.resume()
    assert client.finals == uncut(SOUND.tobytes())
    assert isinstance(client.read[-1], Ended)
    check_order(client.read)


def test_answers_to_flushes_are_said_again() -> None:
    client = Client(vad="none")
    client.talk.audio(SOUND[:30_000]).flush("a").audio(SOUND[30_000:60_000]).flush("b")
    client.hear(unread=3)
    client.resume()
    assert [message.id for message in client.read if isinstance(message, Flushed)] == ["a", "b"]


def test_a_lost_connection_is_no_silence_of_the_client() -> None:
    client = Client()
    client.talk.audio(SOUND[:30_000])
    client.talk.session.parked = True
    client.talk.wait(10_000)
    assert client.talk.session.wants_audio and not client.talk.session.ended and not client.talk.finals
    client.hear()
    client.resume()
    client.talk.wait(10).audio(SOUND[30_000:]).stop()
    client.hear()
    assert client.finals == uncut(SOUND.tobytes())


@settings(max_examples=25, deadline=None)
@given(rates=st.lists(st.sampled_from([8_000, 16_000, 44_100, 48_000]), min_size=2, max_size=5))
def test_session_time_goes_on_when_the_audio_is_written_otherwise(rates: list[int]) -> None:
    talk = Conversation(sample_rate=rates[0])
    talk.audio(bytes(2 * rates[0]))
    for number, (before, rate) in enumerate(pairwise(rates), 1):
        talk.session.receive_resume(Resume(token="", sample_rate=rate))
        if rate != before:
            assert talk.session.statistics.received == pytest.approx(16_000 * number, abs=2 * number)
        assert talk.session.intake.position == pytest.approx(rate * number, abs=3 * rate / 16_000 * number)
        talk.audio(bytes(2 * rate))


def final(number: int) -> Final:
    return Final(segment=number, revision=1, text="字", start_ms=number, end_ms=number + 1, reason="silence")


def test_what_is_kept_is_bounded_and_what_is_gone_is_told() -> None:
    record = Record()
    for number in range(MOST_MESSAGES + 5):
        record.note(final(number))
    assert [message.segment for message in record.again(5)] == list(range(5, MOST_MESSAGES + 5))
    with pytest.raises(ClientError) as gone:
        record.again(4)
    assert (gone.value.field, gone.value.value) == ("segments", "4")
    assert gone.value.allowed == f"a whole number from 5 to {MOST_MESSAGES + 5}" and gone.value.fatal
    with pytest.raises(ClientError, match="were not sent"):
        record.again(MOST_MESSAGES + 6)


def test_of_partials_the_last_of_each_open_segment_is_kept() -> None:
    record = Record()
    partial = Partial(segment=0, revision=1, text="a", stable=0, start_ms=0, end_ms=1)
    later = Partial(segment=0, revision=2, text="ab", stable=1, start_ms=0, end_ms=2)
    speech = Speech(segment=0, start_ms=0)
    for message in (speech, partial, later):
        record.note(message)
    assert record.again(0) == [speech, later]
    record.note(final(0))
    assert record.again(0) == [speech, final(0)] and record.again(1) == []


def test_what_is_said_to_one_connection_is_not_kept() -> None:
    record = Record()
    for message in Conversation(second_model=True).messages:
        assert isinstance(message, Ready)
        record.note(message)
    assert record.again(0) == []
