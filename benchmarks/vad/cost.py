"""What a second of a session's audio costs a door from bytes to decisions, by detector and number of sessions.

Sessions send messages of 60 ms. Every 20 ms a third of them has sent one, and a net judges those together, as in a door
at the pace of speech. Only the intake of sessions is there: no socket, no text.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from stream_server.audio.windows import DEFAULT_WINDOWS
from stream_server.config import SessionDefaults
from stream_server.session.intake import Intake
from stream_server.session.messages import Start
from stream_server.session.options import choose_options
from stream_server.speech.detectors import Detectors
from stream_server.units import SAMPLE_RATE, ms_to_samples
from tests.support import audio, recordings

MESSAGE = ms_to_samples(60)
TURNS = 3
"""Of 20 ms in a message's time."""
WARM_UP_S = 1
LEAST_SESSION_SECONDS = 60
"""Audio measured at the least, of all sessions together."""


def measure(detectors: Detectors, sessions: Sequence[int], seconds: int) -> list[dict[str, object]]:
    """A row for each detector and number of sessions: `us_per_s`, processor time for a second of one session."""
    rows = []
    for kind in ("none", *(kind for kind in detectors.kinds if kind != "none")):
        for count in sessions:
            us = 1e6 * _processor_s(detectors, kind, count, max(seconds, LEAST_SESSION_SECONDS // count))
            rows.append({"detector": kind, "sessions": count, "us_per_s": round(us), "per_core": round(1e6 / us)})
    return rows


def _processor_s(detectors: Detectors, kind: str, count: int, seconds: int) -> float:
    """For one second of one of `count` sessions."""
    options = choose_options(Start(vad=kind), SessionDefaults(), DEFAULT_WINDOWS, detectors.kinds)
    intakes = [Intake(options, 1 << 20, detectors.open(kind, options.vad_aggressiveness)) for _ in range(count)]
    speech = _speech(seconds + WARM_UP_S + count)
    data = [speech[SAMPLE_RATE * place:].tobytes() for place in range(count)]
    began = 0.0
    for message in range((seconds + WARM_UP_S) * SAMPLE_RATE // MESSAGE):
        if message == WARM_UP_S * SAMPLE_RATE // MESSAGE:
            began = time.process_time()
        at = 2 * MESSAGE * message
        for turn in range(TURNS):
            _hear(intakes[turn::TURNS], data[turn::TURNS], at)
    return (time.process_time() - began) / seconds / count


def _hear(intakes: Sequence[Intake], data: Sequence[bytes], at: int) -> None:
    for intake, sound in zip(intakes, data, strict=True):
        intake.receive_audio(sound[at:at + 2 * MESSAGE])
    waiting = [intake.vad for intake in intakes if intake.vad.outstanding]
    while waiting:
        waiting[0].net.judge(waiting)
        waiting = [vad for vad in waiting if vad.outstanding]
    for intake in intakes:
        intake.judge()
        intake.decisions.clear()
        intake.ring.forget(intake.gate.earliest_start)


def _speech(seconds: int) -> np.ndarray:
    if recordings.present():
        return recordings.joined(seconds)
    return np.concatenate([audio.voice(1.5), audio.silence(1.0)] * (seconds // 2 + 1))


def table(rows: Sequence[dict[str, object]]) -> str:
    """As Markdown."""
    lines = ["| detector | sessions | µs of a core for 1 s of one | sessions per core |", "| --- | --- | --- | --- |"]
    lines += [f"| {row['detector']} | {row['sessions']} | {row['us_per_s']} | {row['per_core']} |" for row in rows]
    return "\n".join(lines) + "\n"
