"""What a FunASR client may send: every way of writing a configuration, and what is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_server.dialects.funasr import FunasrDialect
from stream_server.dialects.options import Options, updated
from stream_server.errors import ClientError
from stream_server.session.messages import Hotwords, Start, Stop
from stream_server.speech.hotwords import HotwordList
from tests.dialects.conversation import Conversation, funasr_start


def start_for(**config: object) -> Start:
    talk = Conversation(FunasrDialect())
    talk.text(config)
    talk.bytes(b"\0\0\0\0")
    return talk.start


@pytest.mark.parametrize("written", [
    [5, 10, 5], "5,10,5", "5, 10, 5", " 5 10 5 ", "[5,10,5]", "[5, 10, 5]", [5.0, 10.0, 5.0], ["5", "10", "5"],
])
def test_chunk_size_however_written(written: object) -> None:
    assert start_for(chunk_size=written).chunk_size == [5, 10, 5]


@pytest.mark.parametrize(("said", "expected"), [
    ({}, funasr_start(name="microphone")),
    ({"audio_fs": 16000.0}, funasr_start(name="microphone")),
    ({"audio_fs": "8000"}, funasr_start(name="microphone", sample_rate=8000)),
    ({"audio_fs": None, "chunk_size": None, "hotwords": None, "mode": None}, funasr_start(name="microphone")),
    ({"mode": "office", "svs_lang": "auto", "itn": "no", "anything": {"else": []}},
     funasr_start(name="microphone", itn=False)),
    ({"mode": "offline"}, funasr_start(name="microphone", partials=False)),
    ({"wav_name": 17, "wav_format": "PCM"}, funasr_start(name="17")),
    ({"encoder_chunk_look_back": 4.0, "decoder_chunk_look_back": -1},
     funasr_start(name="microphone", encoder_look_back=4)),
    ({"end_silence_ms": 500, "vad": "none", "max_segment_ms": "9000"},
     funasr_start(name="microphone", end_silence_ms=500, vad="none", max_segment_ms=9000)),
])
def test_configurations(said: dict, expected: Start) -> None:
    assert start_for(**said) == expected


@pytest.mark.parametrize(("said", "field"), [
    ({"chunk_size": "five"}, "chunk_size"), ({"chunk_size": [5, 10]}, "chunk_size"),
    ({"chunk_size": [0, 0, 0]}, "chunk_size"), ({"chunk_size": [5, 10.5, 5]}, "chunk_size"),
    ({"chunk_size": 7}, "chunk_size"), ({"chunk_size": {"l": 5}}, "chunk_size"),
    ({"audio_fs": 7}, "audio_fs"), ({"audio_fs": "fast"}, "audio_fs"), ({"audio_fs": True}, "audio_fs"),
    ({"audio_fs": 1e300}, "audio_fs"), ({"wav_name": ["a"]}, "wav_name"), ({"wav_name": "x" * 600}, "wav_name"),
    ({"wav_format": 7}, "wav_format"), ({"vad": "loud"}, "vad"), ({"end_silence_ms": -1}, "end_silence_ms"),
    ({"end_silence_ms": 0.5}, "end_silence_ms"), ({"hotwords": "http://127.0.0.1/words.txt"}, "hotwords"),
    ({"hotwords": '{"阿里巴巴": 200}'}, "hotwords"),
])
def test_what_cannot_be_understood_is_named(said: dict, field: str) -> None:
    dialect = FunasrDialect()
    with pytest.raises(ClientError) as caught:
        dialect.receive_text(json.dumps({**said, "is_speaking": False}))
    assert caught.value.field == field and caught.value.allowed and not caught.value.fatal
    assert dialect.receive_bytes(b"\0\0\0\0") == ([funasr_start(name="microphone")], b"\0\0\0\0")


@pytest.mark.parametrize("text", ["", "{", "[]", "START", "7", '{"mode":' * 2000, "\ud800", " " * (1 << 20) + "{}"])
def test_malformed_text(text: str) -> None:
    with pytest.raises(ClientError):
        FunasrDialect().receive_text(text)


def test_hotwords_are_read_and_stay_until_others_come() -> None:
    words = HotwordList.of([("阿里巴巴", 20), ("hello world", 40)])
    first = updated(Options(), {"hotwords": '{"阿里巴巴":20,"hello world":"40"}'})
    second = updated(first, {"hotwords": None, "wav_name": "b"})
    assert (first.hotwords, second.hotwords) == (words, words)
    assert updated(second, {"hotwords": ""}).hotwords == HotwordList()


def test_hotwords_go_with_the_start_and_in_mid_utterance_by_themselves() -> None:
    talk, words = Conversation(FunasrDialect()), HotwordList.of([("章伟", 20)])
    assert talk.text({"hotwords": "达摩院"}) == []
    assert talk.text({"hotwords": "章伟"}) == []
    assert talk.bytes(b"RI") == []
    assert talk.text({"hotwords": "章伟 达摩院"}) == []
    assert talk.bytes(bytes(100)) == [
        funasr_start(name="microphone", hotwords=HotwordList.of([("章伟", 20), ("达摩院", 20)]))]
    assert talk.text({"hotwords": '{"章伟": 20}'}) == [Hotwords(hotwords=words)]
    assert talk.text({"hotwords": "章伟"}) == talk.text({"wav_name": "b"}) == []
    assert talk.text({"hotwords": ""}) == [Hotwords(hotwords=HotwordList())]
    assert talk.text({"is_speaking": False}) == [Stop()]
    assert talk.text({"hotwords": "章伟"}) == []


def test_what_is_not_said_again_stays() -> None:
    first = updated(Options(), {"mode": "online", "audio_fs": 8000, "end_silence_ms": 500})
    second = updated(first, {"wav_name": "b"})
    assert second == Options(mode="online", audio_fs=8000, wav_name="b", ours={"end_silence_ms": 500})


_names = st.sampled_from(["mode", "wav_name", "wav_format", "audio_fs", "chunk_size", "hotwords", "is_speaking",
                          "is_end", "is_finished", "encoder_chunk_look_back", "vad", "end_silence_ms"])
_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_json = st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _texts,
                     lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4),
                     max_leaves=8)
_said = st.dictionaries(_names | _texts, _json, max_size=5).map(json.dumps)


@given(st.lists(_said | _texts | st.binary(max_size=60), max_size=8))
def test_nothing_but_client_errors_and_always_in_order(sent: list[str | bytes]) -> None:
    talk = Conversation(FunasrDialect())
    for message in sent:
        try:
            talk.text(message) if isinstance(message, str) else talk.bytes(message)
        except ClientError as error:
            json.dumps([error.code, error.message, error.field, error.value, error.allowed])
