"""A speaker's seat: what a session says, as the room has it."""

from __future__ import annotations

import numpy as np

from stream_server.rooms.clerk import Left
from stream_server.rooms.seat import Seat
from stream_server.rooms.store import Caption, Room, Speaker
from stream_server.session.messages import Ended, Final, Partial, Ready, Speech
from tests.rooms.test_audience import read

ROOM = Room(1, "0123456789abcdef", "晨会", "read", True, 1_800_000_000_000, None)
NOTHING, SOUND = np.zeros(0, np.int16), np.zeros(160, np.int16)
READY = Ready(session="s", model="m", encoding="pcm_s16le", sample_rate=16_000, window={}, vad="webrtc",
              end_silence_ms=1, pre_roll_ms=1, min_speech_ms=1, max_segment_ms=1)


class Desk:
    """What a seat hands over."""

    def __init__(self) -> None:
        self.put: list[Caption | Left] = []
        self.shown: list[dict] = []
        self.now = 1_800_000_005.0
        self.seat = Seat(ROOM, Speaker(7, "小王"), lambda room, item: self.put.append(item), self.show,
                         lambda: self.now)

    def show(self, room: str, speaker: int, segment: int, event: bytes) -> None:
        (kind, data), = read(event)
        assert (room, speaker, segment, kind) == (ROOM.public, 7, data["segment"], "partial")
        self.shown.append(data)


def final(**fields: object) -> Final:
    return Final(**{"segment": 2, "revision": 3, "text": "开会", "start_ms": 400, "end_ms": 900, "reason": "silence",
                    "tokens": [("开", 450, 600), ("会", 600, 880)], "hotwords": ["开会"], **fields})


def test_the_speaker_is_told_the_room() -> None:
    note = Desk().seat.said(READY).room
    assert (note.name, note.read, note.speaker, note.recorded) == ("晨会", "read", 7, True)


def test_times_are_the_room_s_from_the_first_audio_on() -> None:
    desk = Desk()
    desk.seat.said(READY)
    desk.now += 2
    desk.seat.hear(NOTHING)
    desk.now += 1
    desk.seat.hear(SOUND)
    desk.now += 100
    desk.seat.hear(SOUND)
    partial = Partial(segment=2, revision=1, text="开", stable=1, start_ms=400, end_ms=500)
    assert desk.seat.said(partial) is partial
    desk.seat.said(final())
    assert desk.shown == [{"speaker": 7, "name": "小王", "segment": 2, "begin_ms": 8_400, "text": "开", "stable": 1}]
    assert desk.put == [Caption(1, 7, 2, 8_400, 8_900, "开会", ["开会"], [("开", 8_450, 8_600), ("会", 8_600, 8_880)])]


def test_words_that_came_to_nothing_are_taken_back() -> None:
    desk = Desk()
    desk.seat.hear(SOUND)
    desk.seat.said(final(text="", tokens=[], hotwords=[]))
    assert desk.put == [] and desk.shown[0]["text"] == "" and desk.shown[0]["segment"] == 2


def test_nothing_else_is_anybody_s_business() -> None:
    desk = Desk()
    for message in (Speech(segment=0, start_ms=0),
                    Ended(received_ms=1, recognised_ms=1, silent_ms=0, dropped_ms=0, segments=0)):
        assert desk.seat.said(message) is message
    assert desk.put == desk.shown == []


def test_one_leaves_once() -> None:
    desk = Desk()
    desk.seat.leave()
    desk.seat.leave()
    assert desk.put == [Left(7)]
