"""What is kept of the sound, where it is wanted."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_server.rooms.recording import HEADER_BYTES, PIECE_BYTES, Recorder
from stream_server.rooms.store import Room, Speaker

ROOM = Room(1, "0123456789abcdef", "晨会", "read", True, 0, None)
HOUR = 3600


def kept(folder: Path, speaker: int) -> np.ndarray:
    with wave.open(str(folder / ROOM.public / f"{speaker}.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(0, PIECE_BYTES), min_size=1, max_size=12), st.integers(1, 90_000))
def test_a_session_is_kept_sample_by_sample_up_to_its_bound(tmp_path_factory, lengths: list[int], most: int) -> None:
    folder = tmp_path_factory.mktemp("sound")
    recorder = Recorder(folder, most / 16_000 / HOUR)
    tracks = [recorder.track(ROOM, Speaker(number, "小王")) for number in (1, 2)]
    sound = np.random.default_rng(1).integers(-32768, 32767, sum(lengths) + 1, np.int16)
    place = 0
    for length in (*lengths, 1):
        for track in tracks:
            track.hear(sound[place:place + length])
        place += length
    for track in tracks:
        track.close()
        track.hear(sound)
    recorder.close()
    for number in (1, 2):
        assert np.array_equal(kept(folder, number), sound[:most])


def test_when_a_room_ends_nothing_more_is_heard_of_it(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, 1)
    other = ROOM._replace(public="fedcba9876543210", read="other")
    tracks = [recorder.track(ROOM, Speaker(1, "小王")), recorder.track(ROOM, Speaker(2, "小李")),
              recorder.track(other, Speaker(3, "小赵"))]
    for track in tracks:
        track.hear(np.ones(100, np.int16))
    assert recorder.recorded() == {"read", "other"}
    recorder.end({"read", "one of another door"})
    assert recorder.recorded() == {"other"}
    for track in tracks:
        track.hear(np.ones(20_000, np.int16))
        track.close()
    assert recorder.recorded() == set()
    recorder.close()
    assert len(kept(tmp_path, 1)) == len(kept(tmp_path, 2)) == 100
    (whole,) = (tmp_path / other.public).iterdir()
    assert whole.stat().st_size == HEADER_BYTES + 2 * 20_100


def test_what_was_written_can_be_played_while_it_goes_on(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, 1)
    track = recorder.track(ROOM, Speaker(1, "小王"))
    track.hear(np.ones(20_000, np.int16))
    recorder.close()
    assert len(kept(tmp_path, 1)) == 20_000


def test_a_folder_that_is_gone_ends_the_recording_and_nothing_else(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "gone", 1)
    track = recorder.track(ROOM, Speaker(1, "小王"))
    for _ in range(3):
        track.hear(np.ones(20_000, np.int16))
    track.close()
    recorder.close()
    assert list(tmp_path.iterdir()) == []
