"""What a FunASR client reads: deltas that add up, one last message, utterances one after another, errors."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_server.dialects.funasr import FunasrDialect
from stream_server.dialects.utterance import gap
from stream_server.session.messages import Error, Flushed, Speech, Start, Stop
from tests.dialects.conversation import (
    ENDED,
    READY,
    TWO_SENTENCES,
    WHOLE,
    Conversation,
    final,
    funasr_start,
    partial,
)

END = {"is_speaking": False}
ACKNOWLEDGED = {"is_speaking": False, "is_end": True}
MP3 = {"mode": "offline", "wav_name": "a", "wav_format": "mp3"}


def speaking(**config: object) -> Conversation:
    talk = Conversation(FunasrDialect())
    talk.text(config)
    talk.bytes(b"\0\0\0\0")
    return talk


def test_two_pass_in_full() -> None:
    talk = speaking(mode="2pass", wav_name="w")
    talk.text(END)
    talk.say(*TWO_SENTENCES)
    assert talk.read == [
        {"mode": "2pass-online", "text": "今天", "wav_name": "w", "is_final": False, "slice_type": 0, "index": 0},
        {"mode": "2pass-online", "text": "天", "wav_name": "w", "is_final": False, "slice_type": 1, "index": 0},
        {"mode": "2pass-offline", "text": "今天天气好", "wav_name": "w", "is_final": False, "slice_type": 2, "index": 0,
         "start_time": 0, "end_time": 900, "timestamp": "[[0,100],[100,200],[200,300],[300,400],[400,500]]",
         "stamp_sents": [{"text_seg": "今 天 天 气 好", "punc": "", "start": 0, "end": 900,
                          "ts_list": [[0, 100], [100, 200], [200, 300], [300, 400], [400, 500]]}]},
        {"mode": "2pass-online", "text": "我们", "wav_name": "w", "is_final": False, "slice_type": 0, "index": 1},
        {"mode": "2pass-offline", "text": "我们出去", "wav_name": "w", "is_final": True, "slice_type": 2, "index": 1,
         "start_time": 1000, "end_time": 1900, "timestamp": "[[1000,1100],[1100,1200],[1200,1300],[1300,1400]]",
         "stamp_sents": [{"text_seg": "我 们 出 去", "punc": "", "start": 1000, "end": 1900,
                          "ts_list": [[1000, 1100], [1100, 1200], [1200, 1300], [1300, 1400]]}]},
    ]


def test_online_is_deltas_only() -> None:
    talk = speaking(mode="online")
    talk.text(END)
    talk.say(*TWO_SENTENCES)
    assert [(answer["mode"], answer["text"], answer["is_final"]) for answer in talk.read] == [
        ("online", "今天", False), ("online", "天", False), ("online", "气好", False), ("online", "我们", False),
        ("online", "出去", True)]


def test_offline_is_one_message_of_all_sentences() -> None:
    talk = speaking(mode="offline")
    talk.text(END)
    talk.say(*TWO_SENTENCES)
    (answer,) = talk.read
    assert (answer["mode"], answer["text"], answer["is_final"]) == ("offline", WHOLE, True)
    assert len(json.loads(answer["timestamp"])) == len(WHOLE)
    assert [sentence["text_seg"] for sentence in answer["stamp_sents"]] == ["今 天 天 气 好", "我 们 出 去"]


@pytest.mark.parametrize("mode", ["2pass", "online", "offline"])
def test_an_acknowledgement_is_a_message_of_its_own(mode: str) -> None:
    talk = speaking(mode=mode)
    talk.text(ACKNOWLEDGED)
    talk.say(*TWO_SENTENCES)
    *before, last = talk.read
    assert (last["text"], last["is_final"], last["is_end"]) == ("", True, True)
    assert before and not any(answer["is_final"] or "is_end" in answer for answer in before)


@pytest.mark.parametrize("config", [{}, {"mode": "online"}, {"mode": "offline"}])
@pytest.mark.parametrize("end", [END, {"is_finished": True}, ACKNOWLEDGED, {"is_speaking": "false"}])
def test_silence_is_answered_too(config: dict, end: dict) -> None:
    talk = speaking(**config)
    assert talk.text(end) == [Stop()]
    (answer,) = talk.say(ENDED)
    assert (answer["text"], answer["is_final"], "timestamp" in answer) == ("", True, False)


def test_an_end_without_audio_is_answered_once() -> None:
    talk = Conversation(FunasrDialect())
    talk.text({"mode": "2pass", "wav_name": "empty"})
    assert talk.text(END) == [funasr_start(name="empty"), Stop()]
    assert talk.text(END) == []
    assert [answer["is_final"] for answer in talk.say(ENDED)] == [True]
    assert talk.text(END) == []


def test_an_acknowledgement_may_be_asked_for_later() -> None:
    talk = speaking()
    talk.text(END)
    assert talk.text({"is_end": True}) == []
    assert talk.say(ENDED)[-1]["is_end"] is True
    assert talk.text({"is_end": True}) == []
    talk.bytes(b"\0\0\0\0")
    talk.text(END)
    talk.say(ENDED)
    assert talk.text({"is_end": True}) == [funasr_start(name="microphone"), Stop()]
    assert [answer.get("is_end") for answer in talk.say(ENDED)] == [True]


def test_utterances_follow_each_other_and_keep_their_names() -> None:
    talk = speaking(mode="2pass", wav_name="first")
    talk.text(END)
    assert talk.text({"mode": "offline", "wav_name": "second", "audio_fs": 8000}) == []
    assert talk.bytes(b"\1\1\1\1") == [funasr_start(name="second", sample_rate=8000, partials=False)]
    first = talk.say(*TWO_SENTENCES)
    assert {answer["wav_name"] for answer in first} == {"first"} and first[-1]["is_final"]
    talk.text(END)
    (second,) = talk.say(*TWO_SENTENCES)
    assert (second["wav_name"], second["text"], second["is_final"]) == ("second", WHOLE, True)


def test_audio_after_the_end_begins_another_utterance_with_the_same_options() -> None:
    talk = speaking(wav_name="w", audio_fs=8000)
    talk.text(END)
    talk.say(ENDED)
    assert talk.bytes(b"") == []
    assert talk.bytes(b"\0\0\0\0") == [funasr_start(name="w", sample_rate=8000)]


def test_a_configuration_amid_an_utterance_renames_it_and_changes_the_next() -> None:
    talk = speaking(wav_name="a", mode="2pass")
    assert talk.text({"wav_name": "b", "mode": "online", "is_speaking": True}) == []
    assert talk.say(partial(0, "好"))[0]["wav_name"] == "b"
    assert talk.say(final(0, "好"))[0]["mode"] == "2pass-offline"
    talk.text(END)
    talk.say(ENDED)
    talk.bytes(b"\0\0\0\0")
    assert talk.say(partial(0, "好"))[0]["mode"] == "online"


def test_other_formats_are_refused_where_cpp_does_it() -> None:
    talk = Conversation(FunasrDialect())
    talk.text(MP3)
    assert talk.bytes(b"ID3 and so on") == []
    talk.text(END)
    (answer,) = talk.say(ENDED)
    assert answer["is_final"] is True and answer["wav_name"] == "a" and answer["mode"] == "offline"
    assert answer["text"].startswith("ERROR. audio in mp3") and "wav_format pcm or wav" in answer["text"]
    assert answer["error"]["field"] == "wav_format"


def test_a_refusal_fails_the_acknowledgement() -> None:
    talk = Conversation(FunasrDialect())
    talk.text({**MP3, "wav_format": "others"})
    talk.bytes(b"OggS")
    talk.text(ACKNOWLEDGED)
    (answer,) = talk.say(ENDED)
    assert (answer["is_end"], answer["is_final"]) == (True, False) and answer["error"]["code"] == "unsupported"


def test_a_wav_file_of_another_kind_is_refused_alike() -> None:
    talk = Conversation(FunasrDialect())
    stereo = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\1\0\2\0\x80\x3e\0\0\0\xfa\0\0\4\0\x10\0data\0\0\0\0"
    assert talk.bytes(stereo + b"\0" * 100) == []
    assert talk.bytes(b"\0" * 100) == []
    assert talk.text(END) == [funasr_start(name="microphone"), Stop()]
    (answer,) = talk.say(ENDED)
    assert "2 channels" in answer["text"] and answer["is_final"] is True


def test_what_has_no_word_is_not_sent() -> None:
    talk = speaking()
    assert talk.say(READY, Speech(segment=0, start_ms=0), Flushed(id="", at_ms=0)) == []
    assert talk.say(partial(0, "", 0), partial(0, "好", 0), final(0, "", tokens=[])) == []


def test_errors_are_messages_that_clients_survive() -> None:
    talk = Conversation(FunasrDialect())
    (answer,) = talk.say(Error(code="bad_field", message="m", field="audio_fs", value="7", allowed="8000 to 48000"))
    assert answer == {"mode": "2pass-offline", "text": "", "wav_name": "microphone", "is_final": False, "error": {
        "code": "bad_field", "message": "m", "field": "audio_fs", "value": "7", "allowed": "8000 to 48000"}}
    assert not talk.dialect.ended


@pytest.mark.parametrize("end", [END, ACKNOWLEDGED])
def test_a_session_that_never_opened_ends_with_its_error(end: dict) -> None:
    talk = speaking()
    talk.text(end)
    (last,) = talk.say(Error(code="overloaded", message="m", fatal=True, retry_after_s=5))
    assert last["is_final"] is (end is END) and last.get("is_end", False) is (end is ACKNOWLEDGED)
    assert last["error"] == {"code": "overloaded", "message": "m", "retry_after_s": 5}
    assert talk.dialect.ended and talk.say(ENDED) == []


def test_an_open_session_ends_after_its_error() -> None:
    talk = speaking()
    talk.say(READY, partial(0, "好"), Error(code="idle", message="m", fatal=True), final(0, "好", reason="stop"), ENDED)
    assert [(answer["text"], answer["is_final"], "error" in answer) for answer in talk.read] == [
        ("好", False, False), ("", False, True), ("好", True, False)]
    assert talk.dialect.ended


def test_a_session_that_ends_by_itself_ends_the_connection() -> None:
    talk = speaking()
    assert [answer["is_final"] for answer in talk.say(ENDED)] == [True]
    assert talk.dialect.ended


@pytest.mark.parametrize(("before", "after", "expected"), [
    ("hello", "world", " "), ("hello.", "World", " "), ("你好", "world", ""), ("hello", "你好", ""), ("", "a", ""),
    ("hello", "", ""), ("你好。", "hello", ""), ("привет", "мир", " "), ("hello", ", then", ""),
])
def test_gap_between_sentences(before: str, after: str, expected: str) -> None:
    assert gap(before, after) == expected


def test_a_segment_waits_for_the_final_of_the_one_before() -> None:
    talk = speaking(mode="online")
    assert len(talk.say(partial(0, "今天"), partial(1, "我们"))) == 1
    talk.say(final(0, "今天好"), partial(1, "我们"), final(1, "我们走"))
    assert "".join(answer["text"] for answer in talk.read) == "今天好我们走"


_sentences = st.lists(st.tuples(st.text("ab 我们。.", max_size=8), st.lists(st.integers(0, 8), max_size=5)), max_size=4)


@given(_sentences, st.sampled_from(["online", "2pass"]), st.sampled_from([END, ACKNOWLEDGED]))
def test_deltas_add_up(sentences: list[tuple[str, list[int]]], mode: str, end: dict) -> None:
    """Stable text only grows; what is behind it may change with each revision."""
    talk = speaking(mode=mode)
    talk.text(end)
    whole, deltas = "", ""
    for segment, (text, stables) in enumerate(sentences):
        for revision, stable in enumerate(sorted(min(s, len(text)) for s in stables)):
            unsure = text[:stable] + "x" * (revision % 3)
            deltas += "".join(a["text"] for a in talk.say(partial(segment, unsure, stable, revision)))
        whole += gap(whole, text) + text
        assert whole.startswith(deltas)
        reason = "stop" if segment == len(sentences) - 1 else "silence"
        answers = talk.say(final(segment, text, reason))
        if mode == "online":
            deltas += "".join(answer["text"] for answer in answers)
        else:
            deltas = whole
    talk.say(ENDED)
    kept = "online" if mode == "online" else "2pass-offline"
    assert "".join(answer["text"] for answer in talk.read if answer["mode"] == kept) == whole
    assert [answer["is_final"] for answer in talk.read] == [False] * (len(talk.read) - 1) + [True]


_ENDS = [END, ACKNOWLEDGED, {"is_finished": True}, {"is_end": True}]
_ACTIONS = [b"\0\0\0\0", b"R", b"", {"mode": "online"}, {"wav_name": "b", "is_speaking": True}, MP3, *_ENDS]


@given(st.lists(st.sampled_from(_ACTIONS), max_size=12))
def test_each_utterance_has_one_last_message(actions: list[dict | bytes]) -> None:
    talk, utterances = Conversation(FunasrDialect()), 0
    for action in actions:
        commands = talk.bytes(action) if isinstance(action, bytes) else talk.text(action)
        if Stop() in commands:
            utterances += 1
            *before, last = talk.say(READY, final(0, "好", reason="stop"), ENDED)
            assert last["is_final"] or last["is_end"]
            assert not any(answer["is_final"] or "is_end" in answer for answer in before)
    assert utterances == sum(isinstance(command, Start) for command in talk.commands) - talk.open
    assert not talk.dialect.ended
