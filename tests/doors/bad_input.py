"""What clients do wrong, and the exact answer to each: one table for the test and for docs/bad-input.md.

To write the page anew: python -m tests.doors.bad_input
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tests.doors.conversations import FUNASR, NATIVE, START, STOP, speech

PAGE = Path(__file__).resolve().parents[2] / "docs" / "bad-input.md"

SECOND = b"\0" * 32_000
SPEECH = speech(6.0).tobytes()
LIMIT = 4 << 20
"""The default of --limits-max-message-bytes."""

BACK = 'send {"type":"start"} first; every field of it has a default'
NO_ROOM = "nobody can speak in a room by this"
OVER = "nothing more; for another session open another connection"
STARTS = ("encoding, sample_rate, chunk_size, hop_size, encoder_look_back, decoder_look_back, vad, vad_aggressiveness, "
          "end_silence_ms, min_speech_ms, pre_roll_ms, max_segment_ms, second_pass, punctuation, itn, partials, name, "
          "hotwords, resumable, room")
TYPES = "one of start, flush, hotwords, stop, resume"


@dataclass(frozen=True)
class Case:
    """One thing done wrong. `errors`: the error of each answer that has one, without the fields that are empty.

    `close`: code and reason where the server closes at once; None where the session goes on as if nothing had been.
    """

    name: str
    path: str
    messages: tuple[str | bytes, ...]
    errors: tuple[dict[str, str], ...]
    close: tuple[int, str] | None = None
    shown: str = ""

    @property
    def started(self) -> bool:
        """The messages open a native session that then goes on."""
        return START in self.messages

    @property
    def stopped(self) -> bool:
        """The messages end their session themselves."""
        return STOP in self.messages and self.started


def error(code: str, message: str, field: str | None = None, value: str | None = None,
          allowed: str | None = None) -> dict[str, str]:
    """An error as clients read it."""
    parts = {"code": code, "message": message, "field": field, "value": value, "allowed": allowed}
    return {name: part for name, part in parts.items() if part is not None}


def _start(**fields: object) -> str:
    return json.dumps({"type": "start", **fields})


def _config(**fields: object) -> str:
    return json.dumps({"is_speaking": True, **fields})


def _hotwords(words: object) -> str:
    return json.dumps({"type": "hotwords", "hotwords": words})


def _cannot(field: str, value: str, allowed: str) -> tuple[dict[str, str]]:
    return (error("bad_field", f"{field} cannot be this", field, value, allowed),)


def _outside(value: str, allowed: str) -> tuple[dict[str, str]]:
    return (error("bad_field", "chunk_size is out of range", "chunk_size", value, allowed),)


SIZES = "samples at 16 kHz together with hop_size, or [l, c, r] in frames of 60 ms without it"
LISTS = 'a list of words, or objects such as {"word": "\u963f\u91cc\u5df4\u5df4", "weight": 20}'
TRIPLE = "[l, c, r] with l 0 to 40, c 1 to 40, r 0 to 40"
RATES = "a whole number from 8000 to 48000 Hz"
CUT_SHORT = "the message is not JSON: Input data was truncated"
HUGE = f"frame with {20 << 20} bytes exceeds limit of {LIMIT} bytes"

NATIVE_CASES = (
    Case("malformed JSON", NATIVE, ('{"type": "start"',), (
        error("bad_json", CUT_SHORT, None, '{"type": "start"', "a JSON object"),)),
    Case("JSON that is no object", NATIVE, ("[1, 2]",), (
        error("bad_json", "the message is not a JSON object", None, "[1, 2]", "a JSON object"),)),
    Case("JSON nested deep", NATIVE, ('{"type": ' + "[" * 50 + "]" * 50 + "}",), (
        error("bad_json", "the message is nested too deep", None,
              ('{"type": ' + "[" * 50 + "]" * 50)[:79] + "\u2026", "at most 8 levels"),)),
    Case("a text message too long", NATIVE, ("x" * 140_000,), (
        error("too_large", "the message is too long", None, "140000 characters", "at most 131072 characters"),)),
    Case("no type", NATIVE, ("{}",), (
        error("bad_field", "no such type of message", "type", "nothing", TYPES),)),
    Case("unknown type", NATIVE, ('{"type": "begin"}',), (
        error("bad_field", "no such type of message", "type", "begin", TYPES),)),
    Case("a type that is no string", NATIVE, ('{"type": 5}',), (
        error("bad_field", "no such type of message", "type", "5", TYPES),)),
    Case("a field misspelt", NATIVE, (_start(chunksize=1),), (
        error("bad_field", "no such field; did you mean chunk_size?", "chunksize", "1", STARTS),)),
    Case("a field of the wrong type", NATIVE, (_start(sample_rate="16000"),), _cannot("sample_rate", "16000", RATES)),
    Case("a rate of 7 Hz", NATIVE, (_start(sample_rate=7),), _cannot("sample_rate", "7", RATES)),
    Case("an encoding that is not known", NATIVE, (_start(encoding="mp3"),),
         _cannot("encoding", "mp3", "one of pcm_s16le, pcm_f32le, mulaw, alaw")),
    Case("a negative hop", NATIVE, (_start(chunk_size=14_400, hop_size=-1),),
         _cannot("hop_size", "-1", "a whole number from 1 to 38400 samples at 16 kHz")),
    Case("a negative chunk", NATIVE, (_start(chunk_size=-5, hop_size=1600),),
         _outside("-5", "at least hop_size (1600 samples)")),
    Case("a chunk shorter than its hop", NATIVE, (_start(chunk_size=1600, hop_size=3200),),
         _outside("1600", "at least hop_size (3200 samples)")),
    Case("two numbers for [l, c, r]", NATIVE, (_start(chunk_size=[0, 10]),), _cannot("chunk_size", "[0, 10]", SIZES)),
    Case("a window of a minute", NATIVE, (_start(chunk_size=[0, 1000, 5]),), _outside("[0, 1000, 5]", TRIPLE)),
    Case("a hop without its chunk", NATIVE, (_start(hop_size=1600),), (
        error("bad_field", "chunk_size is missing: hop_size in samples needs it", "chunk_size", None,
              f"{SIZES}, together with hop_size"),)),
    Case("a detector that is not known", NATIVE, (_start(vad="loud"),),
         _cannot("vad", "loud", "one of webrtc, fsmn, silero, none")),
    Case("a detector that the server was not given", NATIVE, (_start(vad="fsmn"),), (
        error("bad_field", "this server has no such vad", "vad", "fsmn", "one of webrtc, none"),),
        (1008, "this server has no such vad")),
    Case("a fraction for a whole number", NATIVE, (_start(end_silence_ms=500.5),),
         _cannot("end_silence_ms", "500.5", "a whole number from 100 to 6000 ms")),
    Case("audio before the start, told once", NATIVE, (SECOND, SECOND), (
        error("bad_state", "audio has no place before the start message", None, "audio", BACK),)),
    Case("a room that is none", NATIVE, (_start(room="3vJkq0oQ0yY2bJtX7m1pLg", name="\u5c0f\u738b"),), (
        error("bad_field", NO_ROOM, "room", "3vJkq0oQ0yY2bJtX7m1pLg",
              "the speaker token of a room that has not ended"),), (1008, NO_ROOM)),
    Case("a room that is a number", NATIVE, (_start(room=5),),
         _cannot("room", "5", "a string of at most 64 characters")),
    Case("a speaker without a name", NATIVE, (_start(room="3vJkq0oQ0yY2bJtX7m1pLg"),), (
        error("bad_field", "name cannot be this in a room", "name", "", "1 to 60 printable characters"),)),
    Case("flush before the start", NATIVE, ('{"type": "flush"}',), (
        error("bad_state", "flush has no place before the start message", None, "flush", BACK),)),
    Case("stop before the start", NATIVE, (STOP,), (
        error("bad_state", "stop has no place before the start message", None, "stop", BACK),)),
    Case("a second start", NATIVE, (START, START), (
        error("bad_state", "start has no place while the session is open", None, "start",
              "audio, flush, hotwords and stop; for other options open another connection"),)),
    Case("a flush whose id is a number", NATIVE, (START, '{"type": "flush", "id": 5}'),
         _cannot("id", "5", "a string of at most 256 characters")),
    Case("a stop with a field", NATIVE, (START, '{"type": "stop", "now": true}'), (
        error("bad_field", "no such field", "now", "True", "no fields besides type"),)),
    Case("hotwords that are an address", NATIVE, (_start(hotwords=["http://127.0.0.1/words.txt"]),), (
        error("bad_field", "hotwords are not fetched or read from files here", "hotwords", "http://127.0.0.1/words.txt",
              "the words themselves"),)),
    Case("a weight of 200", NATIVE, (START, _hotwords({"\u7ae0\u4f1f": 200})), (
        error("bad_field", "the weight of \u7ae0\u4f1f cannot be this", "hotwords", "200", "a number from 0 to 100"),)),
    Case("a hotword without letters", NATIVE, (START, _hotwords([" "])), (
        error("bad_field", "a word cannot be this", "hotwords", " ", "1 to 64 printable characters"),)),
    Case("1,001 hotwords", NATIVE, (START, _hotwords([f"\u8bcd{number}" for number in range(1001)])), (
        error("bad_field", "there are too many words", "hotwords", "more than 1000 words", "at most 1000"),)),
    Case("a hotword of 65 characters", NATIVE, (START, _hotwords(["\u8bcd" * 65])), (
        error("bad_field", "a word cannot be this", "hotwords", "\u8bcd" * 65, "1 to 64 printable characters"),)),
    Case("hotwords of 10,001 characters", NATIVE, (START, _hotwords([f"{number:059}" for number in range(169)]
                                                                  + ["\u8bcd" * 30])), (
        error("bad_field", "the words are too long together", "hotwords", "10001 characters",
              "at most 10000 characters in all"),)),
    Case("hotwords as one string", NATIVE, (START, _hotwords("\u7ae0\u4f1f")), (
        error("bad_field", "hotwords cannot be this", "hotwords", "\u7ae0\u4f1f",
              f"{LISTS}; or an object of weights"),)),
    Case("hotwords before the start", NATIVE, (_hotwords([]),), (
        error("bad_state", "hotwords has no place before the start message", None, "hotwords", BACK),)),
    Case("text after stop", NATIVE, (START, SPEECH, STOP, '{"type": "flush"}'), (
        error("bad_state", "flush has no place after stop", None, "flush", OVER),), (1000, "")),
    Case("audio after stop", NATIVE, (START, SPEECH, STOP, SECOND), (
        error("bad_state", "audio has no place after stop", None, "audio", OVER),), (1000, "")),
    Case("a token that nobody has", NATIVE, ('{"type": "resume", "token": "door-0.x"}',), (
        error("bad_field", "no session can be resumed by this token", "token", "door-0.x",
              "the `resume` of a ready, within 30 s after its connection was lost"),),
        (1008, "no session can be resumed by this token")),
    Case("a token that is a number", NATIVE, ('{"type": "resume", "token": 5}',),
         _cannot("token", "5", "a string of at most 128 characters")),
    Case("a resume without its token", NATIVE, ('{"type": "resume"}',), (
        error("bad_field", "token is missing", "token", None, "the `resume` of a ready"),)),
    Case("a resume with a negative count", NATIVE, ('{"type": "resume", "token": "x", "segments": -1}',),
         _cannot("segments", "-1", "a whole number from 0 to 2147483648")),
    Case("a resume amid a session", NATIVE, (START, '{"type": "resume", "token": "x"}'), (
        error("bad_state", "resume has no place while the session is open", None, "resume",
              "audio, flush, hotwords and stop; for other options open another connection"),)),
    Case("half a sample at the end", NATIVE, (START, SECOND + b"\0", STOP), (
        error("bad_audio", "the audio ended within a sample; the incomplete sample was ignored", "audio", "1 bytes",
              "whole samples"),), (1000, "")),
    Case("a message of 20 MB", NATIVE, (START, b"\0" * (20 << 20)), (), (1009, HUGE)),
)

FUNASR_CASES = (
    Case("malformed JSON", FUNASR, ('{"mode"',), (
        error("bad_json", CUT_SHORT, None, '{"mode"', "a JSON object"),)),
    Case("JSON that is no object", FUNASR, ("[]",), (
        error("bad_json", "the message is not a JSON object", None, "[]", "a JSON object"),)),
    Case("a text message too long", FUNASR, ("x" * (2 << 20),), (
        error("too_large", "the message is too long", None, "2097152 characters", "at most 1048576 characters"),)),
    Case("an unknown mode is 2pass", FUNASR, (_config(mode="office"),), ()),
    Case("a negative size", FUNASR, (_config(chunk_size=[-1, 10, 5]),), _outside("[-1, 10, 5]", TRIPLE)),
    Case("sizes that are no numbers", FUNASR, (_config(chunk_size="wide"),),
         _cannot("chunk_size", "wide", "[l, c, r] in frames of 60 ms, such as [5, 10, 5]")),
    Case("a rate of 7 Hz", FUNASR, (_config(audio_fs=7),), _cannot("audio_fs", "7", RATES)),
    Case("a rate that is no number", FUNASR, (_config(audio_fs="CD"),), _cannot("audio_fs", "CD", RATES)),
    Case("a name that is no string", FUNASR, (_config(wav_name=[1]),),
         _cannot("wav_name", "[1]", "a string of at most 512 characters")),
    Case("audio that is not PCM", FUNASR, (_config(wav_format="mp3"), SECOND, '{"is_speaking": false}'), (
        error("unsupported", "audio in mp3 is not recognised here", "wav_format", "mp3",
              "16-bit mono PCM at 8000 to 48000 Hz, or a WAV file (wav_format pcm or wav)"),)),
    Case("hotwords that are a file", FUNASR, (_config(hotwords="hotwords.txt"),), (
        error("bad_field", "hotwords are not fetched or read from files here", "hotwords", "hotwords.txt",
              "the words themselves"),)),
    Case("a weight of 200", FUNASR, (_config(hotwords='{"\u7ae0\u4f1f": 200}'),), (
        error("bad_field", "the weight of \u7ae0\u4f1f is out of range", "hotwords", "200.0",
              "a number from 0 to 100"),)),
    Case("1,001 hotwords", FUNASR, (_config(hotwords=" ".join(f"\u8bcd{number}" for number in range(1001))),), (
        error("bad_field", "there are too many words", "hotwords", "more than 1000 words", "at most 1000"),)),
    Case("the end before any audio", FUNASR, ('{"is_speaking": false}',), ()),
    Case("a message of 20 MB", FUNASR, (b"\0" * (20 << 20),), (), (1009, HUGE)),
)

CASES = NATIVE_CASES + FUNASR_CASES

HEAD = """# What clients do wrong, and what they are told

Each row was sent to a real server beside a session that was doing nothing wrong; the answers are exact, and the
session beside it came out as it does alone. "goes on" means: afterwards the same connection was used for a whole
session, which got everything. The page is written from the test's table by `python -m tests.doors.bad_input`.

| what | dialect | sent | error | then |
| --- | --- | --- | --- | --- |
"""


def page() -> str:
    """The page as it ought to be."""
    return HEAD + "".join(_row(case) for case in CASES)


def _row(case: Case) -> str:
    errors = "<br>".join(_told(error) for error in case.errors) or "none"
    then = "goes on" if case.close is None else f"closes with {case.close[0]}: {case.close[1]}"
    dialect = "native" if case.path == NATIVE else "FunASR"
    sent = case.shown or " then ".join(_shown(message) for message in case.messages)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in (case.name, dialect, sent, errors, then)) + " |\n"


def _told(error: dict[str, str]) -> str:
    code, message = error["code"], error["message"]
    parts = [f"{name} `{error[name]}`" for name in ("field", "value") if name in error]
    parts += [f"allowed: {error['allowed']}"] if "allowed" in error else []
    return f"`{code}`: {message}" + (f" ({'; '.join(parts)})" if parts else "")


def _shown(message: str | bytes) -> str:
    if isinstance(message, bytes):
        return f"{len(message)} bytes"
    return f"`{message}`" if len(message) < 100 else f"{len(message)} characters"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
