"""Whole sessions: scripted messages and audio in, messages out, with an engine that recognises markers."""

from __future__ import annotations

import numpy as np
import pytest

from stream_server.audio.windows import Window
from stream_server.config import SessionLimits
from stream_server.errors import ClientError
from stream_server.session.messages import Ended, Error, Final, Flush, Flushed, Partial, Ready, Speech
from stream_server.speech.recognition import Hypothesis
from tests.support.audio import mark, markers, silence, voice
from tests.support.conversation import Conversation, check_order, check_sums
from tests.support.scripted_engine import ScriptedEngine, half_words, han

SHORTEST_LENGTH = 3_000


def spelt(samples: np.ndarray, spell=han) -> str:
    return "".join(spell(number) for _, number in markers(samples))


def finished(conversation: Conversation) -> Conversation:
    """Checks what holds for every session that has ended."""
    check_order(conversation.messages)
    check_sums(conversation.session)
    ended = conversation.ended
    assert ended.received_ms == ended.recognised_ms + ended.silent_ms + ended.dropped_ms
    return conversation


def test_a_sentence_between_silences():
    speech = mark(voice(2.0))
    talk = Conversation().audio(np.concatenate([silence(1.5), speech, silence(1.5)]), cut=1920)
    kinds = [type(message) for message in talk.messages]
    assert kinds[:2] == [Ready, Speech] and kinds[-1] is Final and set(kinds[2:-1]) == {Partial}
    (final,) = talk.finals
    assert final.text == spelt(speech) and final.reason == "silence"
    assert abs(final.start_ms - 1500) <= 40 and abs(final.end_ms - 3500) <= 140
    for (text, start, end), (index, number) in zip(final.tokens, markers(speech), strict=True):
        assert text == han(number)
        assert start - 60 <= 1500 + index / 16 <= end + 60
    finished(talk.stop())
    assert talk.ended.segments == 1 and talk.ended.silent_ms > 1000


def test_silence_costs_no_chunk():
    talk = Conversation().audio(silence(20.0), cut=3200).stop()
    assert talk.engine.chunks == 0
    assert finished(talk).ended.silent_ms == 20_000
    assert talk.said(Speech) == talk.finals == []


def test_the_first_hop_completes_when_speech_is_noticed():
    talk = Conversation().audio(np.concatenate([silence(2.0), voice(0.2)]), cut=640)
    assert talk.engine.chunks == 1


@pytest.mark.parametrize("vad", ["webrtc", "none"])
@pytest.mark.parametrize("cut", [1, 7, 641, 1920, 19_201])
def test_cutting_the_bytes_anywhere_gives_the_same_messages(cut, vad):
    audio = np.concatenate([silence(0.3), mark(voice(1.0)), silence(0.9), mark(voice(0.5), first=50)])
    whole = finished(Conversation(vad=vad).audio(audio).stop())
    assert finished(Conversation(vad=vad).audio(audio, cut=cut).stop()).messages == whole.messages


def test_a_file_gives_the_same_finals_as_the_same_audio_streamed():
    audio = np.concatenate([silence(0.5), mark(voice(2.3)), silence(1.2), mark(voice(3.1), first=100), silence(2.0)])
    streamed = finished(Conversation().audio(audio, cut=1920).stop())
    file = Conversation()
    file.engine_waits = True
    file.audio(audio, cut=1 << 18)
    file.engine_waits = False
    assert finished(file.stop()).finals == streamed.finals


def test_the_last_word_is_there_though_the_client_stops_within_it():
    speech = mark(voice(1.73), every=0.05)
    talk = finished(Conversation().audio(speech, cut=1000).stop())
    assert talk.text == spelt(speech)
    assert [final.reason for final in talk.finals] == ["stop"]


def test_a_word_of_which_only_the_beginning_was_spoken_is_shown_as_it_is():
    speech = mark(voice(0.5))[:3000]
    talk = finished(Conversation(ScriptedEngine(half_words), vad="none").audio(speech).stop())
    assert talk.text == half_words(0).removesuffix("@@")


def test_speech_that_has_only_begun_when_the_client_stops_is_recognised():
    speech = mark(voice(0.06), every=0.02)
    talk = finished(Conversation().audio(np.concatenate([silence(1.0), speech])).stop())
    assert talk.text == spelt(speech)


@pytest.mark.parametrize(("audio", "received"), [(b"", 0), (b"\0", 0), (b"\0\0", 1), (b"\0\0\0", 1)])
def test_hardly_any_audio(audio, received):
    talk = finished(Conversation().audio(audio).stop())
    assert talk.session.statistics.received == received and talk.finals == []
    errors = talk.said(Error)
    assert [(error.code, error.fatal) for error in errors] == [("bad_audio", False)] * (len(audio) % 2)


def test_a_single_sample_of_push_to_talk_has_its_final():
    talk = finished(Conversation(vad="none").audio(b"\1\1").stop())
    assert [(final.text, final.reason) for final in talk.finals] == [("", "stop")]


class TestLength:
    def test_speech_without_a_pause_is_split_and_nothing_is_lost_or_doubled(self):
        speech = mark(voice(20.0), every=0.11)
        talk = finished(Conversation(max_segment_ms=SHORTEST_LENGTH).audio(speech, cut=1920).stop())
        assert talk.text == spelt(speech)
        assert [final.reason for final in talk.finals[:-1]] == ["length"] * (len(talk.finals) - 1)
        assert len(talk.finals) >= 7
        assert talk.engine.newest == 0, "one stream all the way"
        assert all(final.end_ms - final.start_ms <= SHORTEST_LENGTH for final in talk.finals)
        assert all((final.end_ms + 300) % 600 == 0 for final in talk.finals[:-1]), "up to where tokens were given"
        assert all(a.end_ms == b.start_ms for a, b in zip(talk.finals, talk.finals[1:], strict=False))

    @pytest.mark.parametrize("window", [(0, 4, 4), (0, 2, 7), (0, 10, 0)])
    def test_a_half_spelt_word_moves_to_the_next_segment(self, window):
        speech = mark(voice(20.0), every=0.17)
        talk = Conversation(ScriptedEngine(half_words), windows=(Window(window[1], window[2]),),
                            max_segment_ms=SHORTEST_LENGTH)
        finished(talk.audio(speech, cut=1920).stop())
        heard = [word for final in talk.finals for word, _, _ in final.tokens]
        numbers = [number for _, number in markers(speech)]
        spoken = [(half_words(n) + half_words(n + 1)).replace("@@", "") for n in numbers[: len(numbers) // 2 * 2 : 2]]
        assert heard[: len(spoken)] == spoken

    def test_late_in_a_segment_the_first_pause_cuts_it(self):
        early, late = mark(voice(1.5)), mark(voice(0.6), first=100)
        pause = silence(0.5)
        audio = np.concatenate([early, pause, mark(voice(0.6), first=50), pause, late, silence(2)])
        talk = finished(Conversation(max_segment_ms=SHORTEST_LENGTH).audio(audio, cut=1920).stop())
        assert [final.reason for final in talk.finals] == ["length", "silence"]
        assert talk.text == spelt(audio)
        assert talk.engine.newest == 1, "a stream for each"

    def test_pauses_early_in_a_segment_do_not_cut_it(self):
        audio = np.concatenate([mark(voice(0.4)), silence(0.4), mark(voice(0.4), first=10), silence(1)])
        talk = finished(Conversation(max_segment_ms=SHORTEST_LENGTH).audio(audio, cut=1920).stop())
        assert [final.reason for final in talk.finals] == ["silence"]


class TestFlush:
    @pytest.mark.parametrize("vad", ["webrtc", "none"])
    @pytest.mark.parametrize("at", [1, 5_000, 9_600, 16_000, 16_001, 31_999])
    def test_a_flush_while_someone_speaks_loses_nothing(self, at, vad):
        speech = mark(voice(2.0), every=0.05)
        talk = Conversation(vad=vad).audio(speech[:at], cut=1000).flush("a").audio(speech[at:], cut=1000).stop()
        assert finished(talk).text == spelt(speech)
        (flushed,) = talk.said(Flushed)
        assert flushed.at_ms == round(at / 16) and flushed.id == "a"
        before = talk.messages[: talk.messages.index(flushed)]
        assert "".join(m.text for m in before if isinstance(m, Final)) == spelt(speech[:at])

    def test_a_flush_in_silence_is_answered_at_once(self):
        talk = Conversation().flush("a").audio(silence(1)).flush("b")
        assert [flushed.id for flushed in talk.said(Flushed)] == ["a", "b"]
        assert finished(talk.stop()).finals == []

    def test_flushes_wait_in_order_for_a_slow_engine(self):
        talk = Conversation(vad="none")
        talk.engine_waits = True
        for number in range(3):
            talk.audio(mark(voice(0.4), first=10 * number)).flush(str(number))
        assert talk.said(Flushed) == []
        talk.engine_waits = False
        finished(talk.stop())
        order = [m.id if isinstance(m, Flushed) else m.segment for m in talk.messages if isinstance(m, Flushed | Final)]
        assert order == [0, "0", 1, "1", 2, "2"]

    def test_too_many_flushes_are_refused_and_change_nothing(self):
        talk = Conversation(vad="none")
        talk.engine_waits = True
        talk.audio(voice(0.5))
        for _ in range(16):
            talk.flush()
        with pytest.raises(ClientError, match="flushes wait"):
            talk.session.receive_flush(Flush())
        talk.engine_waits = False
        assert len(finished(talk.stop()).said(Flushed)) == 16

    def test_the_resampler_keeps_nothing_back_at_a_flush(self):
        talk = Conversation(vad="none", sample_rate=8_000).audio(voice(1.0)[::2].copy()).flush()
        assert talk.session.statistics.recognised == 16_000


class TestEngine:
    def test_a_stale_hypothesis_is_dropped_and_counted(self):
        talk = Conversation(vad="none")
        talk.engine_waits = True
        talk.audio(mark(voice(2.0)))
        chunk = talk.session.take_chunk()
        for generation, sequence in [(1, 0), (0, 1), (-1, 0)]:
            talk.session.receive_hypothesis(Hypothesis(generation, sequence, ["错"], [0]))
        answer = talk.engine.answer(chunk)
        talk.session.receive_hypothesis(answer)
        talk.session.receive_hypothesis(answer)
        assert talk.session.statistics.stale_hypotheses == 4
        talk.engine_waits = False
        assert finished(talk.stop()).text == spelt(mark(voice(2.0)))

    def test_a_failed_chunk_is_dropped_and_the_session_goes_on(self):
        speech = mark(voice(3.0), every=0.1)
        engine = ScriptedEngine(fail_on=lambda generation, sequence: (generation, sequence) == (0, 2))
        talk = finished(Conversation(engine, vad="none").audio(speech, cut=1920).stop())
        assert [final.reason for final in talk.finals] == ["error", "stop"]
        assert [(error.code, error.fatal) for error in talk.said(Error)] == [("engine_failed", False)]
        assert talk.ended.dropped_ms == 600
        missing = [n for _, n in markers(speech) if han(n) not in talk.text]
        # The failed hop, and the look-ahead before it whose tokens it would have given.
        assert missing == [n for index, n in markers(speech) if 2 * 9_600 - 4_800 <= index < 3 * 9_600]

    def test_an_engine_that_always_fails_does_not_hang_the_session(self):
        engine = ScriptedEngine(fail_on=lambda generation, sequence: True)
        talk = finished(Conversation(engine).audio(np.concatenate([voice(3.0), silence(2)]), cut=1920).stop())
        assert talk.ended.recognised_ms == 0 and talk.ended.dropped_ms > 0

    @pytest.mark.parametrize("vad", ["webrtc", "none"])
    @pytest.mark.parametrize("at", [0, 3, 7, 12, 20, 29, 36])
    def test_a_lost_engine_loses_no_text(self, at, vad):
        audio = np.concatenate([mark(voice(6.0), every=0.1), silence(1.0), mark(voice(0.5), first=200)])
        parts = np.array_split(audio, 40)
        start = {"vad": vad, "max_segment_ms": SHORTEST_LENGTH}
        undisturbed = Conversation(**start)
        disturbed = Conversation(**start)
        for number, part in enumerate(parts):
            undisturbed.audio(part)
            if number == at:
                disturbed.engine_dies()
            if number == at + 3:
                disturbed.engine_returns()
            disturbed.audio(part)
        undisturbed.stop()
        disturbed.stop()
        assert finished(disturbed).messages == finished(undisturbed).messages

    def test_a_replay_up_to_the_last_hop_doubles_nothing(self):
        speech = mark(voice(1.2))
        talk = Conversation(vad="none").audio(speech)
        talk.engine_waits = True
        talk.flush().engine_dies().engine_returns()
        talk.engine_waits = False
        assert finished(talk.stop()).text == spelt(speech)

    def test_audio_that_takes_every_engine_down_is_dropped(self):
        talk = Conversation(vad="none").audio(mark(voice(1.0)))
        talk.engine_waits = True
        talk.audio(mark(voice(1.0), first=50))
        for _ in range(3):
            while (chunk := talk.session.take_chunk()).sequence != 1:
                talk.session.receive_hypothesis(talk.engine.answer(chunk))
            talk.engine_dies().engine_returns()
        talk.engine_waits = False
        finished(talk.stop())
        assert [final.reason for final in talk.finals] == ["error", "stop"]
        assert talk.ended.dropped_ms == 600

    def test_news_of_an_engine_that_was_never_away_changes_nothing(self):
        talk = Conversation(vad="none").audio(mark(voice(1.0)))
        talk.session.receive_engine_back()
        assert finished(talk.stop()).text == spelt(mark(voice(1.0))) and talk.session.statistics.replays == 0

    def test_a_session_that_starts_while_the_engine_is_away_waits_for_it(self):
        talk = Conversation(vad="none")
        talk.engine_dies().audio(mark(voice(1.0))).stop()
        assert not talk.session.ended
        assert finished(talk.engine_returns()).text == spelt(mark(voice(1.0)))

    def test_a_client_that_vanishes_leaves_nothing_behind(self):
        talk = Conversation(vad="none").audio(voice(1.0))
        talk.session.receive_disconnect()
        assert talk.session.ended and talk.session.take_messages() == []
        assert talk.session.take_abort() == 0
        assert talk.session.take_abort() is None and talk.session.take_chunk() is None
        talk.session.receive_hypothesis(Hypothesis(0, 1))
        talk.session.receive_disconnect()
        assert talk.session.statistics.stale_hypotheses == 1


class TestBackPressure:
    def test_audio_that_waits_stops_the_door_from_reading(self):
        talk = Conversation(limits=SessionLimits(max_buffered_s=2.0), vad="none")
        talk.engine_waits = True
        talk.audio(voice(1.9))
        assert talk.session.wants_audio
        talk.audio(voice(0.2))
        assert not talk.session.wants_audio
        talk.engine_waits = False
        talk.pump()
        assert talk.session.wants_audio

    def test_a_bound_shorter_than_a_hop_does_not_wait_for_itself(self):
        talk = Conversation(limits=SessionLimits(max_buffered_s=0.6), windows=(Window(40, 5),), vad="none")
        for _ in range(100):
            assert talk.session.wants_audio
            talk.audio(voice(0.1))

    def test_silence_never_does(self):
        talk = Conversation(limits=SessionLimits(max_buffered_s=1.0))
        talk.engine_waits = True
        assert talk.audio(silence(30.0)).session.wants_audio

    def test_a_door_that_reads_on_is_refused_in_the_end(self):
        talk = Conversation(limits=SessionLimits(max_buffered_s=1.0, max_message_bytes=1 << 16), vad="none")
        talk.engine_waits = True
        with pytest.raises(ClientError, match="more audio waits"):
            for _ in range(200):
                talk.audio(voice(1.0))
        talk.engine_waits = False
        finished(talk.stop())


@pytest.mark.parametrize("encoding", ["pcm_s16le", "pcm_f32le", "mulaw", "alaw"])
@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100, 48_000])
def test_every_encoding_and_rate_is_heard(encoding, rate):
    time = np.arange(3 * 16_000 * rate // 16_000) / rate
    sound = np.interp(time, np.arange(48_000) / 16_000, np.concatenate([silence(0.5), voice(1.5), silence(1.0)]))
    talk = Conversation(encoding=encoding, sample_rate=rate)
    if encoding == "pcm_f32le":
        talk.audio((sound / 32_768).astype("<f4"), cut=1_001)
    elif encoding == "pcm_s16le":
        talk.audio(sound.astype("<i2"), cut=1_001)
    else:
        # Sign and exponent suffice for a voice: loud or quiet, by the coarsest codes.
        quiet, plus, minus = {"mulaw": (0xFF, 0x8F, 0x0F), "alaw": (0xD5, 0xBA, 0x3A)}[encoding]
        talk.audio(np.where(np.abs(sound) < 3_000, quiet, np.where(sound > 0, plus, minus)).astype(np.uint8), cut=1_001)
    finished(talk.stop())
    assert abs(talk.ended.received_ms - 3_000) <= 1
    (final,) = talk.finals
    assert abs(final.start_ms - 500) <= 60 and abs(final.end_ms - 2_000) <= 200


def test_the_door_learns_of_the_end():
    talk = Conversation()
    assert not talk.session.ended
    talk.stop()
    assert isinstance(talk.messages[-1], Ended) and talk.session.ended


def test_without_partials_only_finals_are_said():
    talk = finished(Conversation(partials=False).audio(mark(voice(3.0))).stop())
    assert talk.said(Partial) == [] and talk.text == spelt(mark(voice(3.0)))
