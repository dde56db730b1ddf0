"""The gate, frame by frame."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_server.audio.windows import DEFAULT_WINDOWS
from stream_server.config import SessionDefaults
from stream_server.session.messages import Start
from stream_server.session.options import choose_options
from stream_server.speech.endpoint import (
    Gate,
    GateOptions,
    SegmentEnded,
    SegmentSplit,
    SegmentStarted,
    State,
    rules,
)
from stream_server.speech.vad import FRAME, Manner, Score, WebrtcVad
from tests.support import recordings

OPTIONS = GateOptions(min_speech=5 * FRAME, end_silence=40 * FRAME, pre_roll=30 * FRAME, max_segment=200 * FRAME,
                      hop=30 * FRAME, look_ahead=15 * FRAME)


def gate_after(pattern: str, options: GateOptions = OPTIONS, manner: Manner = Manner()) -> Gate:  # noqa: B008
    """A gate that has heard frames: `#` voiced, `.` not; a digit n is n / 10."""
    gate = Gate(options, manner)
    for place, mark in enumerate(pattern):
        probability = {"#": 1.0, ".": 0.0}.get(mark)
        gate.receive(Score(place * FRAME, (place + 1) * FRAME, int(mark) / 10 if probability is None else probability))
    return gate


def decisions(pattern: str, options: GateOptions = OPTIONS) -> list:
    return gate_after(pattern, options).take_decisions()


def ended(end: int, last_speech: int, reason: str) -> SegmentEnded:
    """What a detector that is not late has heard the end of; in samples."""
    return SegmentEnded(end, last_speech, last_speech, reason)


def frames(*counts: int) -> list[int]:
    return [count * FRAME for count in counts]


def test_speech_opens_a_segment_a_pre_roll_before_its_onset():
    assert decisions("." * 50 + "#" * 5) == [SegmentStarted(*frames(20, 50))]


def test_no_segment_begins_before_the_audio():
    assert decisions("." * 3 + "#" * 5) == [SegmentStarted(*frames(0, 3))]


def test_a_noise_opens_nothing():
    gate = gate_after("####.....#")
    assert gate.take_decisions() == [] and gate.state is State.STARTING


def test_a_short_gap_does_not_undo_a_beginning():
    assert decisions("..###..##") == [SegmentStarted(*frames(0, 2))]


def test_silence_ends_a_segment_where_the_gate_stands():
    assert decisions("#" * 10 + "." * 39 + "#." + "." * 39)[1:] == [ended(*frames(90, 50), "silence")]


def test_no_segment_reaches_back_into_the_one_before():
    first, ended, second = decisions("#" * 10 + "." * 40 + "#" * 5)
    assert second == SegmentStarted(*frames(50, 50)) and ended.end == 50 * FRAME


@pytest.mark.parametrize(("pattern", "state"), [
    ("", State.QUIET), ("4", State.QUIET), ("5", State.STARTING),
    ("#####4", State.SPEAKING), ("#####3", State.STOPPING), ("#####34", State.SPEAKING),
])
def test_wavering_scores_change_nothing(pattern, state):
    assert gate_after(pattern).state is state


def test_the_first_pause_late_in_a_segment_ends_it():
    early, late = "#" * 100 + "." * 20, "#" * 40 + "." * 9
    assert len(decisions(early + late)) == 1
    assert decisions(early + late + ".")[1:] == [ended(*frames(170, 160), "length")]


def test_speech_without_a_pause_is_split_at_the_last_hop_that_fits():
    found = decisions("#" * 400)
    assert found[0] == SegmentStarted(0, 0)
    assert found[1:] == [SegmentSplit(*frames(180, 165)), SegmentSplit(*frames(360, 345))]


def test_a_hop_longer_than_the_longest_segment_still_splits():
    options = GateOptions(**{name: getattr(OPTIONS, name) for name in OPTIONS.__slots__} | {"hop": 500 * FRAME})
    assert [type(d) for d in decisions("#" * 1_100, options)] == [SegmentStarted, SegmentSplit, SegmentSplit]


@pytest.mark.parametrize(("pattern", "expected"), [
    ("", []),
    (".", []),
    ("#", [SegmentStarted(0, 0), ended(FRAME + 5, FRAME + 5, "flush")]),
    ("#" * 9, [SegmentStarted(0, 0), ended(9 * FRAME + 5, 9 * FRAME + 5, "flush")]),
    ("#" * 9 + ".", [SegmentStarted(0, 0), ended(10 * FRAME + 5, 9 * FRAME, "flush")]),
])
def test_a_cut_ends_what_is_open_or_has_only_begun(pattern, expected):
    gate = gate_after(pattern)
    gate.cut(len(pattern) * FRAME + 5, "flush")
    assert gate.take_decisions() == expected and gate.state is State.QUIET


def test_who_speaks_on_after_a_cut_is_heard_from_the_cut_on():
    gate = gate_after("#" * 9)
    gate.cut(9 * FRAME + 5, "flush")
    gate.take_decisions()
    for place in range(9, 15):
        gate.receive(Score(place * FRAME, (place + 1) * FRAME, 1.0))
    assert gate.take_decisions() == [SegmentStarted(9 * FRAME + 5, 9 * FRAME + 5)]


HANGING_ON = Manner(end_delay=5 * FRAME)


@given(speech=st.integers(12, 60), late=st.integers(0, 12), end_silence=st.integers(5, 60))
def test_an_end_is_noticed_when_the_silence_has_lasted_however_long_the_detector_hangs_on(speech, late, end_silence):
    options = dataclasses.replace(OPTIONS, end_silence=end_silence * FRAME)
    gate = gate_after("#" * (speech + late) + "." * 100, options, Manner(end_delay=late * FRAME))
    _, found = gate.take_decisions()
    # Nothing is known of a silence before its first unvoiced score.
    assert found == SegmentEnded(*frames(speech + max(end_silence, late + 1), speech, speech + late), "silence")


def test_a_detector_that_hangs_on_notices_a_beginning_no_later():
    assert gate_after("." * 50 + "#" * 5, manner=HANGING_ON).take_decisions() == decisions("." * 50 + "#" * 5)


def test_a_pause_is_not_taken_to_be_longer_than_it_was_heard():
    pattern = "#" * 170 + "." * 9
    assert len(gate_after(pattern, manner=HANGING_ON).take_decisions()) == 1
    assert gate_after(pattern + ".", manner=HANGING_ON).take_decisions()[1:] == [
        SegmentEnded(*frames(180, 165, 170), "length")]


@pytest.mark.parametrize(("pattern", "last_speech", "last_voiced"), [
    ("#" * 9, 9 * FRAME + 5, 9 * FRAME + 5), ("#" * 11 + ".", 6 * FRAME, 11 * FRAME), ("##..", FRAME, 2 * FRAME),
])
def test_nothing_is_taken_off_speech_that_a_cut_falls_into(pattern, last_speech, last_voiced):
    gate = gate_after(pattern, manner=HANGING_ON)
    gate.cut(len(pattern) * FRAME + 5, "flush")
    assert gate.take_decisions()[1:] == [SegmentEnded(len(pattern) * FRAME + 5, last_speech, last_voiced, "flush")]


def test_speech_that_has_only_begun_at_a_cut_is_there_to_its_end():
    gate = gate_after("." * 50 + "3", manner=Manner(voiced=0.75, begun=0.25, start_delay=14 * 160))
    gate.cut(51 * FRAME, "flush")
    assert gate.take_decisions()[1:] == [ended(*frames(51, 51), "flush")]


@given(pattern=st.text("#.|", max_size=700), pre_roll=st.integers(0, 60), end_silence=st.integers(5, 50),
       start_delay=st.integers(0, 14), end_delay=st.integers(0, 14))
def test_segments_are_in_order_and_never_overlap(pattern, pre_roll, end_silence, start_delay, end_delay):
    """With a cut in place of every bar."""
    options = GateOptions(5 * FRAME, end_silence * FRAME, pre_roll * FRAME, 200 * FRAME, 30 * FRAME, 15 * FRAME)
    manner = Manner(0.5, 0.5, start_delay=start_delay * FRAME, end_delay=end_delay * FRAME)
    gate, open_since, latest = Gate(options, manner), None, 0
    for mark in pattern:
        earliest, place = gate.earliest_start, gate.position
        if mark == "|":
            gate.cut(place, "flush")
        else:
            gate.receive(Score(place, place + FRAME, float(mark == "#")))
        for decision in gate.take_decisions():
            if isinstance(decision, SegmentStarted):
                assert open_since is None and max(latest, earliest) <= decision.start <= decision.onset
                open_since = decision.start
            elif isinstance(decision, SegmentSplit):
                assert open_since < decision.border <= decision.hop_end <= gate.position
                open_since = decision.border
            else:
                assert open_since <= decision.last_speech <= decision.last_voiced <= decision.end == gate.position
                open_since, latest = None, decision.end
        assert open_since is None or gate.position - open_since <= options.max_segment + options.hop


def test_each_rule_says_why():
    assert all(rule.why for rule in rules(OPTIONS))


@pytest.mark.skipif(not recordings.present(), reason=recordings.ABSENT)
class TestRecordings:
    """Utterances of human speech with a second and a half of silence between them."""

    GAP = np.zeros(24_000, np.int16)

    def segments(self, utterances: list[np.ndarray]) -> list[tuple[int, int]]:
        vad = WebrtcVad(2)
        gate = Gate(choose_options(Start(), SessionDefaults(), DEFAULT_WINDOWS).gate(), vad.manner)
        for utterance in utterances:
            vad.receive(utterance)
            vad.receive(self.GAP)
        for score in vad.take_scores():
            gate.receive(score)
        gate.cut(score.end, "stop")
        found = gate.take_decisions()
        starts = [d.onset for d in found if isinstance(d, SegmentStarted)]
        ends = [d.last_speech for d in found if isinstance(d, SegmentEnded)]
        assert not any(isinstance(d, SegmentSplit) for d in found)
        return list(zip(starts, ends, strict=True))

    @pytest.mark.parametrize("corpus", ["aishell", "fleurs"])
    def test_each_utterance_is_heard_and_no_segment_joins_two(self, corpus):
        utterances = recordings.corpus(corpus)[:40]
        found = self.segments(utterances)
        position, joined, unheard = 0, 0, 0
        for utterance in utterances:
            end = position + len(utterance)
            inside = [(a, b) for a, b in found if a < end and b > position]
            unheard += not inside
            joined += any(b > end + len(self.GAP) // 2 for _, b in inside)
            position = end + len(self.GAP)
        assert (unheard, joined) == (0, 0)
