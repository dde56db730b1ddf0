from __future__ import annotations

import json

import pytest

from stream_client.dialects import FunasrDialect, NativeDialect
from stream_client.errors import ServerError
from stream_client.events import Ended, Final, Partial, Problem, from_fields, to_fields
from stream_client.wishes import Wishes, parse_chunk_size


def test_native_start_says_only_what_is_wished() -> None:
    first, known = NativeDialect(Wishes(chunk_size=(0, 8, 4), vad="none", name="a.wav")).open()
    assert json.loads(first) == {
        "type": "start", "encoding": "pcm_s16le", "sample_rate": 16_000,
        "chunk_size": [0, 8, 4], "vad": "none", "name": "a.wav",
    }  # fmt: skip
    assert known == []


def test_native_events_are_typed_and_unknown_ones_passed_over() -> None:
    dialect = NativeDialect(Wishes())
    (final,) = dialect.receive('{"type":"final","segment":1,"revision":3,"text":"好","start_ms":0,"end_ms":600,'
                               '"reason":"stop","tokens":[["好",0,300]],"later":1}')
    assert final == Final(segment=1, revision=3, text="好", start_ms=0, end_ms=600, reason="stop",
                          tokens=(("好", 0, 300),))
    assert dialect.receive('{"type":"weather","degrees":21}') == []
    assert not dialect.ended


def test_native_errors_are_raised_where_they_end_the_session() -> None:
    dialect = NativeDialect(Wishes())
    text = '{"type":"error","code":"bad_field","message":"no","fatal":%s,"field":"vad","value":"x","allowed":"webrtc"}'
    assert dialect.receive(text % "false") == [
        Problem(code="bad_field", message="no", field="vad", value="x", allowed="webrtc")
    ]
    with pytest.raises(ServerError) as caught:
        dialect.receive(text % "true")
    assert (caught.value.code, caught.value.field, caught.value.allowed) == ("bad_field", "vad", "webrtc")
    assert str(caught.value) == "no; got vad x; allowed: webrtc"


def test_what_is_not_json_is_told() -> None:
    for text in ("hello", "[1]", ""):
        with pytest.raises(ServerError, match="not of this protocol"):
            NativeDialect(Wishes()).receive(text)


def test_funasr_first_message_is_that_of_its_own_client() -> None:
    first, _ = FunasrDialect(Wishes(name="demo")).open()
    assert json.loads(first) == {
        "mode": "2pass", "chunk_size": [5, 10, 5], "chunk_interval": 10, "encoder_chunk_look_back": 4,
        "decoder_chunk_look_back": 0, "audio_fs": 16_000, "wav_name": "demo", "wav_format": "pcm",
        "is_speaking": True, "hotwords": "", "itn": True,
    }  # fmt: skip


def test_funasr_deltas_become_whole_partials() -> None:
    dialect = FunasrDialect(Wishes())
    events = []
    for fields in (
        {"mode": "2pass-online", "text": "今天", "is_final": False},
        {"mode": "2pass-online", "text": "天气", "is_final": False},
        {"mode": "2pass-offline", "text": "今天天气。", "is_final": False, "timestamp": "[[50,300],[300,900]]"},
        {"mode": "2pass-online", "text": "你好", "is_final": False},
    ):
        events += dialect.receive(json.dumps(fields))
    assert events == [
        Partial(segment=0, text="今天", revision=1),
        Partial(segment=0, text="今天天气", revision=2),
        Final(segment=0, text="今天天气。", revision=3, start_ms=50, end_ms=900),
        Partial(segment=1, text="你好", revision=1),
    ]


@pytest.mark.parametrize(
    ("fields", "times"),
    [
        ({"timestamp": [[10, 20], [20, 40]]}, (10, 40)),
        ({"timestamp": "[[10,20]]"}, (10, 20)),
        ({"timestamp": 1_760_000_000_000}, (None, None)),
        ({"timestamp": "[]"}, (None, None)),
        ({"start_time": 5, "end_time": 95}, (5, 95)),
        ({}, (None, None)),
    ],
)
def test_funasr_times_of_every_server_are_understood(fields: dict, times: tuple) -> None:
    (final,) = FunasrDialect(Wishes()).receive(json.dumps({"mode": "2pass-offline", "text": "好", **fields}))
    assert (final.start_ms, final.end_ms) == times


def test_funasr_ends_with_the_acknowledgement() -> None:
    dialect = FunasrDialect(Wishes())
    dialect.sent(bytes(32_000))
    assert json.loads(dialect.close()) == {"is_speaking": False, "is_end": True}
    assert dialect.receive('{"mode":"2pass","is_final":true,"is_end":true}') == [Ended(received_ms=1_000, segments=0)]
    assert dialect.ended


def test_funasr_without_acknowledgement_is_given_time() -> None:
    dialect = FunasrDialect(Wishes())
    dialect.close()
    dialect.receive('{"mode":"2pass-offline","text":"好","is_final":true}')
    assert not dialect.ended
    assert dialect.patience_s == FunasrDialect.GRACE_S


def test_funasr_error_says_when_to_come_back() -> None:
    error = {"code": "overloaded", "message": "full", "retry_after_s": 5}
    with pytest.raises(ServerError, match="full; try again in 5 s"):
        FunasrDialect(Wishes()).receive(json.dumps({"mode": "2pass-offline", "is_final": True, "error": error}))


def test_funasr_error_that_ends_nothing_is_an_event() -> None:
    dialect = FunasrDialect(Wishes())
    dialect.close()
    error = {"code": "bad_audio", "message": "half a sample", "field": "audio"}
    said = dialect.receive(json.dumps({"mode": "2pass-offline", "text": "", "is_final": False, "error": error}))
    assert said == [Problem(code="bad_audio", message="half a sample", field="audio")]
    assert dialect.receive(json.dumps({"mode": "2pass-offline", "text": "", "is_final": True, "is_end": True})) == [
        Ended(received_ms=0)]


@pytest.mark.parametrize("error", ["no model", {"code": "bad_field", "message": "no model", "field": "x"}])
def test_funasr_error_is_raised(error: object) -> None:
    with pytest.raises(ServerError, match="no model"):
        FunasrDialect(Wishes()).receive(json.dumps({"mode": "2pass", "is_end": True, "error": error}))


def test_wishes_that_funasr_cannot_hear_are_refused() -> None:
    with pytest.raises(ValueError, match="native"):
        FunasrDialect(Wishes(vad="none"))


def test_samples_and_hop_go_together() -> None:
    assert Wishes(chunk_size=3200, hop_size=1600).frames == (0, 2, 2)
    for wrong in ({"chunk_size": 3200}, {"hop_size": 1600}, {"chunk_size": (0, 10, 5), "hop_size": 1600}):
        with pytest.raises(ValueError, match="go together"):
            Wishes(**wrong)


def test_chunk_size_is_read_from_text() -> None:
    assert parse_chunk_size("0,10,5") == parse_chunk_size("[0, 10, 5]") == (0, 10, 5)
    assert parse_chunk_size("14400") == 14_400
    for wrong in ("", "0,10", "a,b,c"):
        with pytest.raises(ValueError):
            parse_chunk_size(wrong)


def test_events_survive_the_way_to_json_and_back() -> None:
    final = Final(segment=2, text="好", tokens=(("好", 0, 300),))
    fields = json.loads(json.dumps(to_fields(final)))
    assert fields["type"] == "final"
    assert from_fields(fields.pop("type"), fields) == final
