"""Finals with marks and written numbers, from a real server with the bundled models."""

from __future__ import annotations

import asyncio
import json
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.doors.conversations import funasr, native
from tests.support.server import Server, running_server

SAMPLES = Path(__file__).parents[2] / "samples"
MARKS = "，。？、"


@pytest.fixture(scope="module")
def written_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("server") / "log"
    with running_server(log, "--model", "demo", "--punctuation-model", "demo", "--itn") as running:
        yield running


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    with wave.open(str(SAMPLES / "number.wav")) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


async def test_finals_have_marks_and_numbers_and_the_spoken_form_beside(written_server: Server,
                                                                        speech: np.ndarray) -> None:
    written, plain, marked = await asyncio.gather(
        native(written_server.url, speech, vad="none"),
        native(written_server.url, speech, vad="none", punctuation=False, itn=False),
        native(written_server.url, speech, vad="none", itn=False))
    (ready,), (final,), (spoken,), (with_marks,) = (
        written.of("ready"), written.of("final"), plain.of("final"), marked.of("final"))
    assert ready["punctuation"] and ready["itn"]
    assert not plain.of("ready")[0]["punctuation"] and not plain.of("ready")[0]["itn"]
    assert final["spoken"] == spoken["text"] and not spoken["spoken"]
    assert with_marks["text"][-1] in MARKS
    assert "".join(sign for sign in with_marks["text"] if sign not in MARKS) == spoken["text"]
    assert any(sign.isdigit() for sign in final["text"]) and not any(sign.isdigit() for sign in spoken["text"])
    assert final["tokens"] == spoken["tokens"], "times are those of what was said"
    for (token, *_), (begin, end) in zip(final["tokens"], final["places"], strict=True):
        assert final["text"][begin:end] == token or any(sign.isdigit() for sign in final["text"][begin:end])
    while written_server.metrics()["stream_engine_finals_written_total"] < 2:
        await asyncio.sleep(0.1)  # the engine tells its numbers once a second


async def test_funasrs_clients_get_them_too(written_server: Server, speech: np.ndarray) -> None:
    said = {mode: (await funasr(written_server.url, speech, mode=mode, vad="none", itn=mode == "2pass")).answers
            for mode in ("online", "2pass", "offline")}
    (sentence,) = [answer for answer in said["2pass"] if answer["mode"] == "2pass-offline"]
    assert any(sign.isdigit() for sign in sentence["text"])
    (whole,) = said["offline"]
    assert not any(sign.isdigit() for sign in whole["text"]) and whole["text"][-1] in MARKS
    online = "".join(answer["text"] for answer in said["online"])
    assert online == "".join(sign for sign in whole["text"] if sign not in MARKS)
    stamped = whole["stamp_sents"]
    assert [each["punc"] for each in stamped] == [sign for sign in whole["text"] if sign in MARKS]
    assert [span for each in stamped for span in each["ts_list"]] == json.loads(whole["timestamp"])
