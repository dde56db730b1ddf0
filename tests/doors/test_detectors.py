"""A real server with FSMN-VAD: its sessions beside others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from stream_server.speech.detectors import load
from tests.doors.conversations import NATIVE, converse, native
from tests.support import detectors, recordings
from tests.support.audio import silence, voice
from tests.support.conversation import Conversation
from tests.support.server import Server, running_server


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real FSMN-VAD where it is at hand."""
    if recordings.present():
        return detectors.FSMN_FOLDER
    return detectors.write_loudness(tmp_path_factory.mktemp("vad") / "fsmn")


@pytest.fixture(scope="module")
def listening(tmp_path_factory: pytest.TempPathFactory, served_model: str, model: Path) -> Iterator[Server]:
    """A server whose sessions may choose FSMN-VAD, and do unless they say otherwise."""
    log = tmp_path_factory.mktemp("listening") / "log"
    with running_server(log, "--model", served_model, "--threads", "1", "--vad-model", str(model), "--session-vad",
                        "fsmn") as running:
        yield running


@pytest.fixture(scope="module")
def talk() -> np.ndarray:
    """Speech, a pause, speech."""
    if not recordings.present():
        return np.concatenate([silence(0.4), voice(1.5), silence(1.2), voice(1.0)])
    first, second = recordings.corpus("aishell")[1:3]
    return np.concatenate([first, silence(1.2), second])


async def test_a_session_with_fsmn_beside_one_with_webrtc_and_one_without(listening: Server, talk: np.ndarray,
                                                                         model: Path) -> None:
    kinds = ["fsmn", "webrtc", "none", "fsmn", "webrtc"]
    together = await asyncio.gather(*(native(listening.url, talk, vad=kind) for kind in kinds))
    assert [heard.of("ready")[0]["vad"] for heard in together] == kinds
    for heard, kind in zip(together, kinds, strict=True):
        alone = Conversation(detectors=load([str(model)]), vad=kind).audio(talk).stop()
        assert heard.code == 1000
        assert [(final["start_ms"], final["end_ms"], final["reason"]) for final in heard.of("final")] == \
            [(final.start_ms, final.end_ms, final.reason) for final in alone.finals]
    assert len(together[0].of("final")) == 2 and len(together[2].of("final")) == 1
    assert together[0].texts == together[3].texts and together[1].texts == together[4].texts


async def test_what_a_session_does_not_choose_is_the_servers(listening: Server, talk: np.ndarray) -> None:
    heard = await native(listening.url, talk)
    assert heard.of("ready")[0]["vad"] == "fsmn"


async def test_a_flush_is_answered_and_minutes_sent_at_once_are_taken_in(listening: Server, talk: np.ndarray) -> None:
    audio = np.tile(np.concatenate([talk, silence(1.2)]), 60_000 // (len(talk) // 16 + 1_200))
    heard = await converse(listening.url + NATIVE, ['{"type": "start"}', audio.tobytes(),
                                                    '{"type": "flush", "id": "f"}', '{"type": "stop"}'])
    (ended,), (flushed,) = heard.of("ended"), heard.of("flushed")
    assert ended["received_ms"] == len(audio) // 16 == flushed["at_ms"] and ended["dropped_ms"] == 0
    assert ended["segments"] == len(heard.of("final")) >= 10


def test_a_door_has_no_torch_and_no_threads_for_matrices(listening: Server) -> None:
    (door,) = listening.process_ids("door-0")
    loaded = Path(f"/proc/{door}/maps").read_text()
    assert "numpy" in loaded and "libtorch" not in loaded
    assert "OPENBLAS_NUM_THREADS=1" in Path(f"/proc/{door}/environ").read_text().split("\0")
