"""Silero's network as a session's detector; skipped where its package is not installed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream_server.errors import ModelError
from stream_server.speech import silero
from stream_server.speech.silero import WINDOW, SileroNet, SileroVad, found
from stream_server.speech.vad import Score
from tests.support import recordings
from tests.support.audio import silence
from tests.support.detectors import silero_net

WITH_NET = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def net() -> SileroNet:
    return silero_net()


@pytest.fixture
def speech() -> np.ndarray:
    if not recordings.present():
        pytest.skip(recordings.ABSENT)
    return recordings.samples("clips", "sample_6s.wav")


def judged(vad: SileroVad) -> list[Score]:
    while vad.outstanding:
        vad.net.judge([vad])
    return vad.take_scores()


def heard(net: SileroNet, pieces: list[np.ndarray]) -> list[Score]:
    vad, scores = net.open(), []
    for piece in pieces:
        vad.receive(piece)
        scores += judged(vad)
    vad.receive_end()
    return scores + judged(vad)


@pytest.mark.parametrize("length", [0, 1, WINDOW - 1, WINDOW, 16_000])
def test_scores_follow_each_other_without_gaps_to_the_last_sample(net: SileroNet, length: int):
    scores = heard(net, [silence(2)[:length]])
    ends = [0, *(score.end for score in scores)]
    assert [score.start for score in scores] == ends[:-1] and ends[-1] == length


def test_the_numbers_are_those_of_the_packages_own_wrapper(net: SileroNet, speech: np.ndarray):
    script = ("import sys, numpy, torch, silero_vad\n"
              "model = silero_vad.load_silero_vad(onnx=True)\n"
              "samples = numpy.frombuffer(sys.stdin.buffer.read(), numpy.int16).astype(numpy.float32) / 32768\n"
              "windows = samples[:len(samples) // 512 * 512].reshape(-1, 512)\n"
              "print(*(float(model(torch.from_numpy(window), 16000)[0, 0]) for window in windows))")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], input=speech.tobytes(), capture_output=True,
                          check=True)
    wanted = [float(number) for number in done.stdout.split()]
    ours = [score.probability for score in heard(net, [speech])][:len(wanted)]
    assert max(wanted) > 0.9 and min(wanted) < 0.1
    np.testing.assert_allclose(ours, wanted, atol=2e-3)


@WITH_NET
@given(cuts=st.lists(st.integers(0, 40_000), max_size=12))
def test_cuts_change_nothing(net: SileroNet, speech: np.ndarray, cuts: list[int]):
    assert heard(net, np.split(speech[:40_000], sorted(cuts))) == heard(net, [speech[:40_000]])


def test_sessions_are_judged_together_as_if_alone(net: SileroNet, speech: np.ndarray):
    parts = [speech[start:start + 24_000] for start in (0, 9_000, 31_000)]
    vads = [net.open() for _ in parts]
    for vad, part in zip(vads, parts, strict=True):
        vad.receive(part)
        vad.receive_end()
    while waiting := [vad for vad in vads if vad.outstanding]:
        net.judge(waiting)
    for vad, part in zip(vads, parts, strict=True):
        together, alone = vad.take_scores(), heard(net, [part])
        assert together[-1].end == len(part)
        np.testing.assert_allclose([score.probability for score in together], [score.probability for score in alone],
                                   atol=1e-4)


def test_after_a_flush_nothing_before_it_makes_a_score(net: SileroNet, speech: np.ndarray):
    loud = speech[10_000:28_160]
    assert heard(net, [loud])[-2].probability > 0.5
    vad = net.open()
    vad.receive(loud)
    vad.receive_flush()
    vad.receive(silence(1))
    behind = [score.probability for score in judged(vad) if score.end > len(loud)]
    assert len(behind) > 25 and max(behind) < 0.3


@pytest.fixture
def without_silero(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    found_by_python = silero.importlib.util.find_spec
    monkeypatch.setattr(silero.importlib.util, "find_spec",
                        lambda name: None if name == "silero_vad" else found_by_python(name))
    yield


def test_without_the_package_it_is_said_how_to_have_it(without_silero: None):
    assert found() == "cannot be had: no package silero_vad; pip install 'stream-server[silero]'"
    with pytest.raises(ModelError, match="vad-model silero: no package silero_vad"):
        SileroNet()


def test_no_torch_is_loaded(net: SileroNet):
    script = ("import sys, numpy; from stream_server.speech.detectors import load; "
              "vad = load(['silero']).open('silero', 0); vad.receive(numpy.zeros(9600, numpy.int16)); "
              "vad.net.judge([vad]); assert len(vad.take_scores()) == 18; "
              "assert not {'torch', 'torchaudio', 'silero_vad', 'scipy'} & set(sys.modules)")
    subprocess.run([sys.executable, "-c", script], check=True)
