"""Decisions: FunASR's own, for any probabilities, settings and cuts."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream_server.errors import SettingsError
from stream_server.speech.fsmn.segmenter import Decision, Segmenter, SegmenterOptions, SpeechEnded, SpeechStarted
from tests.support.vad_reference import funasr_decisions, segments

SPEECH, SILENCE = 0.02, 0.98


def decide(silence: list[float], options: SegmenterOptions, cuts: list[int] = ()) -> list[Decision]:
    segmenter = Segmenter(options)
    decisions = []
    bounds = [0, *sorted(cuts), len(silence)]
    for start, end in zip(bounds[:-1], bounds[1:], strict=True):
        decisions += segmenter.receive(silence[start:end])
    return decisions + segmenter.receive_end()


def in_ms(decisions: list[Decision]) -> list[list[int]]:
    starts = [decision.start // 16 for decision in decisions if isinstance(decision, SpeechStarted)]
    ends = [decision.end // 16 for decision in decisions if isinstance(decision, SpeechEnded)]
    return [list(pair) for pair in zip(starts, ends, strict=True)]


@st.composite
def probabilities(draw: st.DrawFn) -> list[float]:
    """Stretches of speech and silence, some clear and some wavering."""
    stretches = draw(st.lists(st.tuples(st.integers(1, 120), st.sampled_from((0.0, 0.1, 0.5, 0.7, 0.8, 0.9, 1.0)),
                                        st.randoms(use_true_random=False)), min_size=1, max_size=9))
    return [SPEECH if chance.random() < voiced else SILENCE for length, voiced, chance in stretches
            for _ in range(length)]


@st.composite
def options(draw: st.DrawFn) -> SegmenterOptions:
    window = draw(st.integers(2, 30))
    voiced = draw(st.integers(2, window))
    silent = draw(st.integers(0, voiced))
    back = draw(st.integers(0, 30))
    return SegmenterOptions(
        window_size_ms=10 * window, sil_to_speech_time_thres=10 * voiced, speech_to_sil_time_thres=10 * silent,
        max_end_silence_time=10 * draw(st.integers(silent, silent + 100)), lookback_time_start_point=10 * back,
        lookahead_time_end_point=10 * draw(st.integers(0, 40)),
        max_single_segment_time=10 * draw(st.integers(window + back, 400)),
    )


def theirs(silence: list[float], options: SegmenterOptions, cuts: list[int] = ()) -> list[list[int]]:
    bounds = sorted({0, *cuts, len(silence)})
    chunks = [silence[start:end] for start, end in zip(bounds[:-1], bounds[1:], strict=True)]
    wishes = {name: getattr(options, name) for name in SegmenterOptions.__dataclass_fields__}
    found = segments(funasr_decisions(chunks, **wishes))
    if found and found[-1][1] == -1:
        # FunASR tells no end of a segment that begins with the last frame: see below.
        found[-1][1] = 10 * len(silence)
    return found


@settings(max_examples=80, deadline=None)
@given(silence=probabilities(), options=st.one_of(st.just(SegmenterOptions()), options()))
def test_segments_are_funasrs(silence: list[float], options: SegmenterOptions):
    assert in_ms(decide(silence, options)) == theirs(silence, options)


@settings(max_examples=30, deadline=None)
@given(silence=probabilities(), options=options(), data=st.data())
def test_cuts_change_nothing(silence: list[float], options: SegmenterOptions, data: st.DataObject):
    cuts = data.draw(st.lists(st.integers(0, len(silence)), max_size=10))
    assert decide(silence, options, cuts) == decide(silence, options)
    assert theirs(silence, options, cuts) == theirs(silence, options)


@settings(max_examples=30, deadline=None)
@given(silence=probabilities(), options=options())
def test_decisions_alternate_in_order_and_are_known_in_time(silence: list[float], options: SegmenterOptions):
    floor = known = 0
    for index, decision in enumerate(decide(silence, options)):
        assert isinstance(decision, SpeechEnded if index % 2 else SpeechStarted)
        at = decision.end if index % 2 else decision.start
        assert floor <= at <= decision.known <= 160 * len(silence) and known <= decision.known
        floor, known = at, decision.known


@settings(max_examples=40, deadline=None)
@given(threshold=st.floats(-1, 1), silence=st.floats(1e-6, 1 - 1e-6))
@example(threshold=0.6, silence=0.2)
@example(threshold=0.6, silence=0.25)
def test_a_frame_is_speech_where_funasr_says_so(threshold: float, silence: float):
    if abs((1 - silence) - silence - threshold) < 1e-12:
        return
    options = SegmenterOptions(speech_noise_thres=threshold)
    assert in_ms(decide([silence] * 60, options)) == theirs([silence] * 60, options)


def test_a_start_and_an_end_lie_where_the_settings_say():
    silence = [SILENCE] * 100 + [SPEECH] * 100 + [SILENCE] * 100
    started, ended = decide(silence, SegmenterOptions())
    # The 15th frame of speech turns the window, which with the look-back reaches 400 ms back.
    assert started == SpeechStarted(start=(114 - 40) * 160, known=115 * 160)
    # The 5th frame of silence turns it back; 65 more are waited for, of which 11 belong to the segment.
    assert ended == SpeechEnded(end=(204 + 11 + 1) * 160, known=(204 + 65 + 1) * 160, reason="silence")


def test_what_lasts_too_long_is_cut_and_goes_on_without_a_gap():
    decisions = decide([SPEECH] * 500, SegmenterOptions(max_single_segment_time=2_000))
    assert in_ms(decisions) == [[0, 2_010], [2_010, 4_020], [4_020, 5_000]]
    assert [decision.reason for decision in decisions[1::2]] == ["length", "length", "end"]


@pytest.mark.parametrize(("name", "value", "allowed"), [
    ("max_end_silence_time", 805, "multiples of 10 ms"),
    ("max_end_silence_time", 140, "from 150 to 60000 ms"),
    ("window_size_ms", 10, "from 20 to 2000 ms"),
    ("window_size_ms", 200.0, "multiples of 10 ms"),
    ("sil_to_speech_time_thres", 210, "from 20 to 200 ms"),
    ("speech_to_sil_time_thres", 160, "from 0 to 150 ms"),
    ("lookback_time_start_point", -10, "from 0 to 2000 ms"),
    ("lookahead_time_end_point", "100", "multiples of 10 ms"),
    ("max_single_segment_time", 100, "from 400 to 3600000 ms"),
    ("speech_noise_thres", 1.5, "from -1 to 1"),
    ("speech_noise_thres", float("nan"), "from -1 to 1"),
    ("speech_noise_thres", True, "from -1 to 1"),
])
def test_settings_are_checked(name: str, value: object, allowed: str):
    with pytest.raises(SettingsError) as raised:
        SegmenterOptions(**{name: value})
    assert str(raised.value) == f"{name} is {value!r}; allowed: {allowed}"


class TestFunasrsFaults:
    """Where FunASR goes wrong, held so that it is noticed when it no longer does."""

    def test_speech_found_in_the_last_frame_is_never_ended(self):
        silence = [SILENCE] * 50 + [SPEECH] * 15
        assert funasr_decisions([silence]) == [[240, -1]]
        assert in_ms(decide(silence, SegmenterOptions())) == [[240, 650]]

    @pytest.mark.parametrize("certain", [0.0, 1.0])
    def test_a_certain_frame_ends_in_an_error(self, certain: float):
        with pytest.raises(ValueError, match="math domain error|expected a positive input"):
            funasr_decisions([[certain] * 10])
        decide([certain] * 10, SegmenterOptions())
