"""From samples to segments with the real model: FunASR's, however samples are cut and streams are put together."""

from __future__ import annotations

import copy
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream_server.speech.fsmn.detector import Detector, Stream
from stream_server.speech.fsmn.model import Model
from stream_server.speech.fsmn.segmenter import Segmenter, SegmenterOptions, SpeechEnded, SpeechStarted
from tests.support import recordings
from tests.support.vad_reference import FOLDER, FunasrVad, segments

GOLDEN = "vad_example_70s.wav"
WITH_MODEL = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Listener:
    """A stream and what is decided of it."""

    def __init__(self, detector: Detector, options: SegmenterOptions) -> None:
        self.stream: Stream = detector.open()
        self.silence: list[float] = []
        self._segmenter = Segmenter(options)
        self._decisions: list[SpeechStarted | SpeechEnded] = []

    def hear(self, silence: np.ndarray) -> None:
        self.silence += silence.tolist()
        self._decisions += self._segmenter.receive(silence.tolist())

    def segments(self) -> list[list[int]]:
        decisions = self._decisions + self._segmenter.receive_end()
        return [[start.start // 16, end.end // 16] for start, end in zip(decisions[::2], decisions[1::2], strict=True)]


def listen(model: Model, samples: np.ndarray, cuts: list[int] = (), options: SegmenterOptions | None = None
           ) -> Listener:
    detector = Detector(model)
    listener = Listener(detector, options or model.options)
    for piece in np.split(samples, sorted(cuts)):
        listener.stream.receive(piece)
        listener.hear(detector.judge([listener.stream])[0])
    listener.stream.receive_end()
    listener.hear(detector.judge([listener.stream])[0])
    return listener


def golden() -> list[list[int]]:
    return next(clip["vad_ms"] for clip in recordings.manifest("clips") if clip["audio"] == GOLDEN)


def test_the_golden_segments_are_found_offline(model: Model):
    assert len(golden()) == 12
    assert listen(model, recordings.samples("clips", GOLDEN)).segments() == golden()


@pytest.mark.parametrize("piece", [320, 960, 3_210, 48_000])
def test_the_golden_segments_are_found_streamed(model: Model, piece: int):
    samples = recordings.samples("clips", GOLDEN)
    assert listen(model, samples, list(range(piece, len(samples), piece))).segments() == golden()


@WITH_MODEL
@given(data=st.data())
def test_cuts_anywhere_change_nothing(model: Model, data: st.DataObject):
    samples = recordings.samples("clips", GOLDEN)
    cuts = data.draw(st.lists(st.integers(0, len(samples)), max_size=200))
    assert listen(model, samples, cuts).segments() == golden()


@pytest.mark.parametrize("clip", [GOLDEN, "sample_6s.wav", "asr_example_zh.wav", "asr_example_en_zh.wav"])
@pytest.mark.parametrize("end_silence", [300, 800])
def test_segments_are_funasrs_offline_and_streamed(model: Model, funasr_vad: FunasrVad, clip: str, end_silence: int):
    samples = recordings.samples("clips", clip)
    found = listen(model, samples, options=SegmenterOptions(max_end_silence_time=end_silence)).segments()
    assert found and found == funasr_vad.offline(samples, max_end_silence_time=end_silence)
    assert found == segments(funasr_vad.streamed(samples, 600, max_end_silence_time=end_silence))


def test_segments_of_many_speakers_are_funasrs(model: Model, funasr_vad: FunasrVad):
    for samples in recordings.corpus("fleurs"):
        found = listen(model, samples).segments()
        assert found and found == funasr_vad.offline(samples, max_end_silence_time=800)


@WITH_MODEL
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(2, 5))
def test_streams_that_come_and_go_are_judged_as_if_alone(model: Model, seed: int, count: int):
    chance = np.random.default_rng(seed)
    recording = recordings.samples("clips", "sample_6s.wav")
    waiting = [recording[start:start + 48_000] for start in chance.integers(0, 40_000, count)]
    alone = [listen(model, samples).silence for samples in waiting]
    detector = Detector(model)
    listeners = [Listener(detector, model.options) for _ in waiting]
    open_ = set(range(count))
    while open_:
        together = [index for index in sorted(open_) if chance.random() < 0.6]
        for index in together:
            size = chance.integers(0, 20_000)
            listeners[index].stream.receive(waiting[index][:size])
            waiting[index] = waiting[index][size:]
            if not len(waiting[index]):
                listeners[index].stream.receive_end()
                open_.remove(index)
        judged = detector.judge([listeners[index].stream for index in together])
        for index, silence in zip(together, judged, strict=True):
            listeners[index].hear(silence)
    for listener, wanted in zip(listeners, alone, strict=True):
        assert len(wanted) > 250, "a score each 10 ms, of 3 s"
        np.testing.assert_allclose(listener.silence, wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("samples", "frames"), [(0, 0), (399, 0), (400, 1), (1_000, 4), (48_000, 298)])
def test_every_whole_frame_is_judged_once(model: Model, samples: int, frames: int):
    listener = listen(model, np.zeros(samples, np.int16))
    assert len(listener.silence) == frames and all(0 <= silence <= 1 for silence in listener.silence)
    assert listener.segments() == []


def test_a_stream_keeps_little_whatever_it_was_judged_with(model: Model):
    detector = Detector(model)
    streams = [detector.open() for _ in range(20)]
    for stream in streams:
        stream.receive(recordings.samples("clips", "sample_6s.wav"))
    detector.judge(streams)
    kept = [streams[0]._state, *(value for value in vars(streams[0]._carry).values()
                                             if isinstance(value, np.ndarray))]
    assert all(array.base is None for array in kept) and sum(array.nbytes for array in kept) < 42_000


def test_nothing_is_judged_where_nothing_is_asked(model: Model):
    assert Detector(model).judge([]) == []


def test_no_torch_is_loaded():
    if not recordings.present():
        pytest.skip(recordings.ABSENT)
    script = ("import sys, numpy, pathlib; from stream_server.speech.fsmn.detector import Detector; "
              "from stream_server.speech.fsmn.model import load; "
              f"detector = Detector(load(pathlib.Path({str(FOLDER)!r}))); stream = detector.open(); "
              "stream.receive(numpy.zeros(9600, numpy.int16)); assert len(detector.judge([stream])[0]) == 56; "
              "assert not {'torch', 'torchaudio', 'funasr', 'onnxruntime', 'scipy'} & set(sys.modules)")
    subprocess.run([sys.executable, "-c", script], check=True)


class TestFunasrsFaults:
    """Where FunASR goes wrong, held so that it is noticed when it no longer does."""

    def test_without_a_wish_for_the_end_silence_a_recording_gets_other_segments_than_its_stream(
        self, funasr_vad: FunasrVad
    ):
        samples = recordings.samples("clips", GOLDEN)
        streamed, offline = segments(funasr_vad.streamed(samples, 600)), funasr_vad.offline(samples)
        # The schedule of shorter silences for longer segments counts calls. A call of a recording is a minute: after
        # the first one segments end at every breath, and before it none ends.
        assert streamed[0] == [70, 26_270] and offline[0] == [70, 59_970]

    def test_one_sessions_wish_for_the_end_silence_is_the_next_ones_default(self, funasr_vad: FunasrVad):
        # A model of its own, since the wish stays in it.
        vad = copy.deepcopy(funasr_vad)
        samples = recordings.samples("clips", GOLDEN)
        wanted = vad.offline(samples, dynamic_silence=False)
        vad.offline(samples, max_end_silence_time=300)
        assert vad.offline(samples, dynamic_silence=False) != wanted == golden()
