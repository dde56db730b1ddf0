"""The native dialect: what is taken, what is refused and with which words, what is sent."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_server.dialects.native import NativeDialect
from stream_server.errors import ClientError
from stream_server.session import messages
from stream_server.session.messages import Ended, Error, Flush, Hotwords, ServerMessage, Start, Stop
from stream_server.speech.hotwords import HotwordList
from tests.dialects.conversation import ENDED, TWO_SENTENCES, Conversation, final, partial

START = {"type": "start"}


def started() -> NativeDialect:
    dialect = NativeDialect()
    dialect.receive_text(json.dumps(START))
    return dialect


def refusal(dialect: NativeDialect, message: object) -> ClientError:
    text = message if isinstance(message, str) else json.dumps(message)
    with pytest.raises(ClientError) as caught:
        dialect.receive_text(text)
    return caught.value


def test_a_size_beyond_any_float_is_out_of_range() -> None:
    said = refusal(NativeDialect(), {**START, "chunk_size": 10**400, "hop_size": 1600})
    assert (said.code, said.field, said.allowed) == ("bad_field", "chunk_size", "at most hop_size + 38400 samples")


def test_a_session_from_start_to_end() -> None:
    talk = Conversation(NativeDialect())
    assert talk.text({**START, "sample_rate": 8000, "chunk_size": 14400, "hop_size": 9600, "name": "a"}) == [
        Start(sample_rate=8000, chunk_size=14400, hop_size=9600, name="a")]
    talk.bytes(b"abc")
    assert talk.text({"type": "flush", "id": "1"}) == [Flush(id="1")]
    talk.bytes(b"d")
    assert talk.text({"type": "stop"}) == [Stop()]
    assert talk.audio == b"abcd"
    talk.say(*TWO_SENTENCES)
    assert [message["type"] for message in talk.read] == [
        "ready", "partial", "partial", "final", "partial", "final", "ended"]
    assert talk.dialect.ended


def test_every_default_may_be_said_or_left_to_the_server() -> None:
    defaults = msgspec.to_builtins(Start())
    assert Conversation(NativeDialect()).text({**START, **defaults}) == [Start()]
    assert Conversation(NativeDialect()).text({**START, "chunk_size": [5, 10, 5]}) == [Start(chunk_size=[5, 10, 5])]


@pytest.mark.parametrize(("field", "value", "allowed"), [
    ("sample_rate", 7, "a whole number from 8000 to 48000 Hz"),
    ("sample_rate", "16000", "a whole number from 8000 to 48000 Hz"),
    ("sample_rate", 16000.5, "a whole number from 8000 to 48000 Hz"),
    ("sample_rate", True, "a whole number from 8000 to 48000 Hz"),
    ("sample_rate", None, "a whole number from 8000 to 48000 Hz"),
    ("encoding", "mp3", "one of pcm_s16le, pcm_f32le, mulaw, alaw"),
    ("encoding", ["pcm_s16le"], "one of pcm_s16le, pcm_f32le, mulaw, alaw"),
    ("vad", "loud", "one of webrtc, fsmn, silero, none"),
    ("vad_aggressiveness", 4, "a whole number from 0 to 3"),
    ("end_silence_ms", -1, "a whole number from 100 to 6000 ms"),
    ("min_speech_ms", 0, "a whole number from 20 to 2000 ms"),
    ("pre_roll_ms", 1 << 40, "a whole number from 0 to 2000 ms"),
    ("max_segment_ms", {}, "a whole number from 2000 to 60000 ms"),
    ("encoder_look_back", -1, "a whole number from 0 to 100 hops"),
    ("partials", "yes", "true or false"),
    ("name", "x" * 257, "a string of at most 256 characters"),
    ("hop_size", 0, "a whole number from 1 to 38400 samples at 16 kHz"),
    ("chunk_size", "5,10,5", "samples at 16 kHz together with hop_size, or [l, c, r] in frames of 60 ms without it"),
    ("chunk_size", [5, 10], "samples at 16 kHz together with hop_size, or [l, c, r] in frames of 60 ms without it"),
    ("chunk_size", [0, 0, 5], "[l, c, r] with l 0 to 40, c 1 to 40, r 0 to 40"),
])
def test_a_field_out_of_range_is_named(field: str, value: object, allowed: str) -> None:
    error = refusal(NativeDialect(), {**START, field: value})
    assert (error.code, error.field, error.allowed, error.fatal) == ("bad_field", field, allowed, False)
    assert error.value


@pytest.mark.parametrize(("fields", "field"), [
    ({"chunk_size": 14400}, "hop_size"),
    ({"hop_size": 9600}, "chunk_size"),
    ({"chunk_size": [0, 10, 5], "hop_size": 9600}, "hop_size"),
    ({"chunk_size": 1600, "hop_size": 3200}, "chunk_size"),
    ({"chunk_size": -14400, "hop_size": 9600}, "chunk_size"),
    ({"chunk_size": 1 << 40, "hop_size": 9600}, "chunk_size"),
])
def test_sizes_that_do_not_go_together(fields: dict, field: str) -> None:
    assert refusal(NativeDialect(), {**START, **fields}).field == field


def test_a_misspelt_field_is_told_with_the_nearest() -> None:
    error = refusal(NativeDialect(), {**START, "samplerate": 8000})
    assert error.field == "samplerate" and "sample_rate" in error.message and "chunk_size" in (error.allowed or "")
    assert refusal(started(), {"type": "stop", "now": 1}).allowed == "no fields besides type"


@pytest.mark.parametrize(("text", "code"), [
    ("", "bad_json"), ("nul", "bad_json"), ("[]", "bad_json"), ("7", "bad_json"), ('"start"', "bad_json"),
    ('{"type":"start"', "bad_json"), ("[" * 10_000, "bad_json"), ('{"a":' * 9 + "1" + "}" * 9, "bad_json"),
    ('{"type":"start","sample_rate":' + "1" * 5000 + "}", "bad_json"), ('{"a":"\\ud800"}', "bad_json"),
    ("\ud800", "bad_json"), (" " * 140_000, "too_large"),
    ("{}", "bad_field"), ('{"type":"begin"}', "bad_field"), ('{"type":["start"]}', "bad_field"),
    ('{"type":"stop"}', "bad_state"), ('{"type":"flush"}', "bad_state"),
])
def test_what_is_no_message(text: str, code: str) -> None:
    dialect = NativeDialect()
    error = refusal(dialect, text)
    assert error.code == code and error.allowed
    assert Conversation(dialect).text(START) == [Start()]


def test_audio_out_of_place_is_told_once() -> None:
    dialect = NativeDialect()
    with pytest.raises(ClientError, match="before the start message"):
        dialect.receive_bytes(b"ab")
    assert dialect.receive_bytes(b"ab") == ([], b"")
    dialect.receive_text(json.dumps(START))
    assert dialect.receive_bytes(b"ab") == ([], b"ab")
    dialect.receive_text('{"type":"stop"}')
    with pytest.raises(ClientError, match="after stop"):
        dialect.receive_bytes(b"ab")


def test_one_session_a_connection() -> None:
    dialect = started()
    assert refusal(dialect, START).code == "bad_state"
    dialect.receive_text('{"type":"stop"}')
    for kind in ("start", "flush", "stop"):
        assert refusal(dialect, {"type": kind}).code == "bad_state"


@pytest.mark.parametrize("id", [7, None, "x" * 257])
def test_a_flush_has_a_short_string_for_an_id(id: object) -> None:
    assert refusal(started(), {"type": "flush", "id": id}).field == "id"


def test_only_the_end_ends_the_connection() -> None:
    dialect = started()
    for message in (partial(0, "a"), final(0, "a"), Error(code="idle", message="m", fatal=True)):
        dialect.send(message)
    assert not dialect.ended
    dialect.send(ENDED)
    assert dialect.ended


_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_numbers = st.integers(0, 1 << 40)
_server_messages = st.one_of(
    st.builds(messages.Partial, segment=_numbers, revision=_numbers, text=_texts, stable=_numbers,
              start_ms=_numbers, end_ms=_numbers),
    st.builds(messages.Final, segment=_numbers, revision=_numbers, text=_texts, start_ms=_numbers, end_ms=_numbers,
              reason=st.sampled_from(["silence", "length", "flush", "stop", "error"]),
              tokens=st.lists(st.tuples(_texts, _numbers, _numbers), max_size=3)),
    st.builds(messages.Speech, segment=_numbers, start_ms=_numbers),
    st.builds(messages.Flushed, id=_texts, at_ms=_numbers),
    st.builds(Ended, received_ms=_numbers, recognised_ms=_numbers, silent_ms=_numbers, dropped_ms=_numbers,
              segments=_numbers),
    st.builds(Error, code=_texts, message=_texts, fatal=st.booleans(), field=st.none() | _texts),
)


@given(_server_messages)
def test_server_messages_come_back_as_they_were(message: ServerMessage) -> None:
    (text,) = NativeDialect().send(message)
    assert msgspec.json.decode(text, type=ServerMessage) == message


_json = st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _texts,
                     lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4),
                     max_leaves=12)
_fields = st.dictionaries(st.sampled_from(Start.__struct_fields__) | _texts, _json, max_size=4)


@given(st.one_of(_texts, _json.map(json.dumps),
                 _fields.map(lambda fields: json.dumps({**fields, "type": "start"}))))
def test_nothing_but_client_errors(text: str) -> None:
    try:
        (command,), _ = NativeDialect().receive_text(text)
    except ClientError as error:
        json.dumps([error.code, error.message, error.field, error.value, error.allowed])
    else:
        assert isinstance(command, Start)


def test_hotwords_in_each_of_their_forms() -> None:
    talk, words = Conversation(NativeDialect()), HotwordList.of([("章伟", 30), ("达摩院", 20)])
    assert talk.text({**START, "hotwords": ["章伟"]}) == [Start(hotwords=HotwordList.of([("章伟", 20)]))]
    for form in ([{"word": "章伟", "weight": 30}, "达摩院"], {"章伟": 30, "达摩院": 20}):
        assert talk.text({"type": "hotwords", "hotwords": form}) == [Hotwords(hotwords=words)]
    assert talk.text({"type": "hotwords", "hotwords": []}) == [Hotwords(hotwords=HotwordList())]


@pytest.mark.parametrize("message", [
    {**START, "hotwords": "章伟"}, {**START, "hotwords": {"章伟": 101}}, {**START, "hotwords": [1]},
    {**START, "hotwords": ["http://127.0.0.1/words"]}, {**START, "hotwords": [{"word": "章伟", "wait": 3}]},
])
def test_hotwords_that_cannot_be(message: dict) -> None:
    dialect = NativeDialect()
    error = refusal(dialect, message)
    assert (error.code, error.field) == ("bad_field", "hotwords") and error.allowed
    assert Conversation(dialect).text(START) == [Start()]
    for wrong in ({"type": "hotwords"}, {"type": "hotwords", "hotwords": None}, {"type": "hotwords", "words": []},
                  {"type": "hotwords", "hotwords": message["hotwords"]}):
        assert refusal(dialect, wrong).allowed
