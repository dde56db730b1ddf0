"""Each client that FunASR ships, replayed: what it sends is understood, and what comes back it can read."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import pytest

from stream_server.dialects.funasr import FunasrDialect
from stream_server.session.messages import Stop
from tests.dialects import shipped_clients as clients
from tests.dialects.conversation import TWO_SENTENCES, WHOLE, Conversation

PCM = bytes(range(200)) * 96
END = {"is_speaking": False}
ACKNOWLEDGED = {"is_speaking": False, "is_end": True}
FILE_CONFIG = {"mode": "2pass", "chunk_size": [5, 10, 5], "chunk_interval": 10, "encoder_chunk_look_back": 4,
               "decoder_chunk_look_back": 0, "audio_fs": 16000, "wav_name": "demo", "wav_format": "pcm",
               "is_speaking": True, "hotwords": "阿里巴巴,通义实验室", "itn": True}


def wav_header(rate: int = 16000) -> bytes:
    return b"RIFF" + struct.pack("<I", 36 + len(PCM)) + b"WAVEfmt " + struct.pack(
        "<IHHIIHH", 16, 1, 1, rate, 2 * rate, 2, 16) + b"data" + struct.pack("<I", len(PCM))


def h5(mode: str, **more: object) -> dict:
    return {"chunk_size": [5, 10, 5], "wav_name": "h5", "is_speaking": True, "chunk_interval": 10, "itn": False,
            "mode": mode, **more}


@dataclass
class Case:
    reader: type[clients.Reader]
    config: dict | None
    end: dict = field(default_factory=lambda: END)
    audio: bytes = PCM
    frame: int = 1920
    expected: dict = field(default_factory=dict)
    closes: bool = True


CASES = {
    "python file": Case(clients.PythonFile, FILE_CONFIG, ACKNOWLEDGED, expected={
        "chunk_size": [5, 10, 5], "encoder_look_back": 4, "decoder_look_back": 0, "name": "demo"}),
    "python file, offline": Case(clients.PythonFile, {**FILE_CONFIG, "mode": "offline"}, ACKNOWLEDGED),
    "python file, online": Case(clients.PythonFile, {**FILE_CONFIG, "mode": "online"}, ACKNOWLEDGED),
    "python file, 8 kHz": Case(clients.PythonFile, {**FILE_CONFIG, "audio_fs": 8000}, ACKNOWLEDGED,
                               expected={"sample_rate": 8000}),
    "python microphone": Case(
        clients.PythonMicrophone,
        {"mode": "2pass", "chunk_size": [5, 10, 5], "chunk_interval": 10, "encoder_chunk_look_back": 4,
         "decoder_chunk_look_back": 0, "wav_name": "microphone", "is_speaking": True,
         "hotwords": '{"阿里巴巴": 20}', "itn": True}, closes=False),
    "python api": Case(
        clients.PythonApi,
        {"mode": "2pass", "chunk_size": [0, 10, 5], "encoder_chunk_look_back": 4, "decoder_chunk_look_back": 1,
         "chunk_interval": 10, "wav_name": "funasr_api", "is_speaking": True}, audio=wav_header() + PCM),
    "html5 microphone": Case(clients.Html5Microphone, h5("2pass", hotwords="{}"),
                             {**h5("2pass"), "is_speaking": False}, closes=False),
    "html5 microphone, online": Case(clients.Html5Microphone, h5("online"), {**h5("online"), "is_speaking": False},
                                     closes=False),
    "html5 file": Case(clients.Html5File, h5("offline", wav_format="PCM", audio_fs=44100),
                       {**h5("offline"), "is_speaking": False}, wav_header(44100) + PCM, frame=960,
                       expected={"sample_rate": 44100, "partials": False}),
    "c++ microphone": Case(
        clients.Cpp, {"mode": "2pass", "chunk_size": [5, 10, 5], "wav_name": "record", "wav_format": "pcm",
                      "audio_fs": 16000.0, "is_speaking": True, "itn": True, "hotwords": '{"hello world":40}'},
        frame=640),
    "c++ file": Case(clients.Cpp, {"mode": "offline", "chunk_size": [5, 10, 5], "wav_name": "wav-default-id",
                                   "wav_format": "pcm", "audio_fs": 16000, "is_speaking": True, "itn": True},
                     frame=204_800),
    "java": Case(clients.JavaOffline, {"mode": "offline", "chunk_size": [5, 10, 5], "chunk_interval": 10,
                                       "wav_name": "javatest", "hotwords": '{"阿里巴巴":"20","达摩院":"30"}',
                                       "wav_format": "pcm", "is_speaking": True}),
    "java, 2pass": Case(clients.Cpp, {"mode": "2pass", "chunk_size": [5, 10, 5], "chunk_interval": 10,
                                      "wav_name": "javatest", "wav_format": "pcm", "is_speaking": True}),
    "go": Case(clients.Go, {"audio_fs": 16000, "chunk_interval": 10, "chunk_size": [5, 10, 5], "hotwords": "",
                            "is_speaking": True, "itn": True, "mode": "offline", "wav_format": "pcm",
                            "wav_name": "demo"}, closes=False),
    "c# online": Case(clients.CSharpOnline, {"mode": "2pass", "wav_name": "microphone", "is_speaking": True,
                                             "chunk_size": [5, 10, 5], "chunk_interval": 10}, closes=False),
    "c# online, its file": Case(clients.CSharpOnline, {"mode": "office", "wav_name": "w", "is_speaking": True,
                                                       "wav_format": "pcm", "chunk_size": "5,10,5"}, closes=False),
    "c# offline": Case(clients.CSharpOffline, {"mode": "offline", "wav_name": "a.wav", "is_speaking": True,
                                               "hotwords": "阿里巴巴 达摩院"}, closes=False),
    "android": Case(clients.Android, {"mode": "2pass", "chunk_size": [5, 10, 5], "chunk_interval": 10,
                                      "wav_name": "default", "hotwords": '{"阿里巴巴":20}', "wav_format": "pcm",
                                      "is_speaking": True}, expected={"sample_rate": 16000}),
    "openclaw": Case(clients.OpenClaw, {**FILE_CONFIG, "decoder_chunk_look_back": 1, "wav_name": "openclaw",
                                        "hotwords": ""}, ACKNOWLEDGED),
    "xiaozhi": Case(clients.Xiaozhi, {"mode": "offline", "chunk_size": [5, 10, 5], "chunk_interval": 10,
                                      "wav_name": "s-1", "is_speaking": True, "itn": False}, frame=len(PCM)),
    "no configuration at all": Case(clients.Cpp, None),
    "ten bytes a frame": Case(clients.Cpp, {"mode": "2pass"}, {"is_finished": True}, wav_header(8000) + PCM, 10,
                              expected={"sample_rate": 8000}),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_client_reads_the_whole_text(case: Case) -> None:
    talk = Conversation(FunasrDialect())
    if case.config is not None:
        assert talk.text(case.config) == []
    for begin in range(0, len(case.audio), case.frame):
        talk.bytes(case.audio[begin:begin + case.frame])
    assert talk.text(case.end) == [Stop()]
    assert talk.audio == PCM
    for name, value in case.expected.items():
        assert getattr(talk.start, name) == value

    reader = case.reader()
    for message in TWO_SENTENCES:
        for answer in talk.say(message):
            assert not reader.closed, "more after the client closed"
            reader.read(answer)
    assert reader.text == WHOLE
    assert reader.closed == case.closes
    assert [answer["is_final"] for answer in talk.read] == [False] * (len(talk.read) - 1) + [True]
    for answer in talk.read:
        assert isinstance(answer["text"], str) and isinstance(answer["mode"], str)
        assert answer["wav_name"] == (case.config or {}).get("wav_name", "microphone")
    assert not talk.dialect.ended
