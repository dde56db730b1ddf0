"""What clients do wrong, over a real socket, beside a client that does nothing wrong."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest

from tests.doors import bad_input
from tests.doors.bad_input import CASES, Case
from tests.doors.conversations import NATIVE, START, STOP, Heard, converse, native, pieces
from tests.support.server import Server

GOOD_CONFIG = json.dumps({"mode": "2pass", "chunk_size": [5, 10, 5], "audio_fs": 16_000, "wav_format": "pcm",
                          "wav_name": "after", "is_speaking": True})


@pytest.fixture(scope="module")
def alone(server: Server, utterance: np.ndarray) -> list[str]:
    """What the utterance gives when nobody else is there."""
    heard = asyncio.run(native(server.url, utterance))
    assert heard.texts != []
    return heard.texts


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.path} {case.name}")
async def test_a_mistake_is_told_exactly_and_touches_nobody_else(case: Case, server: Server, utterance: np.ndarray,
                                                                alone: list[str]) -> None:
    heard, beside = await asyncio.gather(misbehave(case, server.url, utterance), native(server.url, utterance))
    assert errors(heard) == list(case.errors)
    if case.close is not None:
        assert (heard.code, heard.reason) == case.close
    else:
        assert heard.texts[-len(alone):] == alone
    assert beside.texts == alone


async def misbehave(case: Case, url: str, utterance: np.ndarray) -> Heard:
    """Sends a case's messages and, where the connection goes on, a whole session."""
    if case.close is not None:
        return await converse(url + case.path, case.messages)
    if case.path == NATIVE:
        start = [] if case.started else [START]
        return await converse(url + case.path, [*case.messages, *start, *pieces(utterance), STOP])
    rest = [GOOD_CONFIG, *pieces(utterance), json.dumps({"is_speaking": False})]
    return await converse(url + case.path, [*case.messages, *rest],
                          until=lambda answer: answer["is_final"] and answer["wav_name"] == "after")


def errors(heard: Heard) -> list[dict[str, str]]:
    """The errors of either dialect in one form."""
    found = [answer if answer.get("type") == "error" else answer.get("error") for answer in heard.answers]
    return [{name: value for name, value in error.items() if value is not None and name not in ("type", "fatal")}
            for error in found if error]


def test_the_page_of_bad_input_is_current() -> None:
    assert bad_input.PAGE.read_text("utf-8") == bad_input.page(), "run python -m tests.doors.bad_input"
