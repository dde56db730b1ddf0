"""Hotwords in whole sessions: lists reach the engine; undecided text is shown, and not lost or taken for stable."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_server.audio.windows import Window
from stream_server.errors import ClientError
from stream_server.session.messages import Final, Hotwords, HotwordsTaken, Partial
from stream_server.speech.hotwords import HotwordList, from_native
from tests.session.test_invariants import WINDOWS, Say, events, play
from tests.support.audio import mark, markers, silence, voice
from tests.support.conversation import Conversation, check_order, check_sums
from tests.support.scripted_engine import UNSURE, ScriptedEngine, han

SERVER = from_native({"章伟": 20, "达摩院": 20})


def words(count: int) -> HotwordList:
    """A list that leaves so many tokens of the scripted engine undecided."""
    return from_native([f"词{number}" for number in range(count)])


def heard(talk: Conversation) -> list[int]:
    """The numbers of the markers in the finals, whether they were decided or stood as they were shown."""
    return [(ord(character) - ord(han(0))) % UNSURE for final in talk.finals for character in final.text]


def test_what_is_undecided_is_shown_and_not_stable() -> None:
    speech = mark(voice(3.0), every=0.1)
    talk = Conversation(vad="none", hotwords=words(3)).audio(speech, cut=1920).stop()
    check_order(talk.messages)
    partials = talk.said(Partial)
    assert all(len(partial.text) - partial.stable == min(3, len(partial.text)) for partial in partials)
    assert all(ord(sign) >= ord(han(UNSURE)) for partial in partials for sign in partial.text[partial.stable:])
    assert talk.text == "".join(han(number) for _, number in markers(speech))
    assert set(talk.finals[0].confidences) == {0.9}


class Told(ScriptedEngine):
    """Remembers what lists it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.lists: list[tuple[int, int, list[str]]] = []

    def answer(self, chunk):
        if chunk.hotwords is not None:
            self.lists.append((chunk.generation, chunk.sequence, [word for word, _ in chunk.hotwords.words]))
        return super().answer(chunk)


def test_a_list_goes_with_the_first_chunk_of_each_stream_and_of_each_change() -> None:
    talk = Conversation(Told(), vad="none", hotwords=from_native({"章伟": 0, "词": 10}), server_hotwords=SERVER)
    talk.audio(voice(2.0)).flush().audio(voice(2.0)).hotwords(words(1)).audio(voice(2.0))
    talk.engine_dies().engine_returns().stop()
    assert talk.engine.lists == [
        (0, 0, ["词", "达摩院"]), (1, 0, ["词", "达摩院"]), (1, 3, ["章伟", "词0", "达摩院"]),
        (2, 0, ["章伟", "词0", "达摩院"]),
    ]


def test_without_lists_nothing_goes_down_and_nothing_is_said() -> None:
    talk = Conversation(Told(), vad="none").audio(voice(2.0)).stop()
    assert talk.engine.lists == [] and talk.said(HotwordsTaken) == []


def test_the_servers_words_are_not_reported_to_the_client() -> None:
    talk = Conversation(vad="none", server_hotwords=from_native(["C++"])).audio(voice(2.0)).stop()
    assert talk.said(HotwordsTaken) == []


def test_a_client_is_told_once_what_of_its_list_cannot_be_spelt() -> None:
    talk = Conversation(vad="none", hotwords=from_native(["章伟", "C++"]), server_hotwords=from_native(["A+"]))
    talk.audio(voice(2.0)).flush().engine_dies().engine_returns().audio(voice(1.0))
    assert talk.said(HotwordsTaken) == [HotwordsTaken(words=2, unspelt=["C++"])]
    talk.hotwords(words(0)).audio(voice(2.0)).stop()
    assert talk.said(HotwordsTaken)[1:] == [HotwordsTaken(words=0, unspelt=[])]


def test_a_list_that_comes_while_a_chunk_is_in_flight_waits_for_the_next() -> None:
    talk = Conversation(vad="none", hotwords=from_native(["D+"]))
    talk.engine_waits = True
    talk.audio(voice(2.0))
    chunk = talk.session.take_chunk()
    talk.hotwords(from_native(["章伟", "C++"]))
    talk.session.receive_hypothesis(talk.engine.answer(chunk))
    talk.engine_waits = False
    talk.stop()
    assert talk.said(HotwordsTaken) == [HotwordsTaken(words=1, unspelt=["D+"]),
                                        HotwordsTaken(words=2, unspelt=["C++"])]


def test_finals_say_which_hotwords_they_have() -> None:
    speech = mark(voice(2.0), every=0.2)
    spoken = [han(number) for _, number in markers(speech)]
    own = from_native(["".join(spoken[2:4]), "".join(spoken[3:5]), "".join(spoken[4:2:-1])])
    talk = Conversation(vad="none", hotwords=own, server_hotwords=from_native([spoken[0]])).audio(speech).stop()
    assert talk.finals[0].hotwords == [spoken[0], "".join(spoken[2:4]), "".join(spoken[3:5])]


def test_hotwords_have_their_place_between_start_and_stop() -> None:
    talk = Conversation(vad="none")
    talk.engine_waits = True
    talk.audio(voice(1.0)).stop()
    with pytest.raises(ClientError, match="hotwords cannot be received"):
        talk.session.receive_hotwords(Hotwords(hotwords=words(1)))


@pytest.mark.parametrize("at", [0, 3, 7, 12, 20, 29, 36])
@pytest.mark.parametrize("patience", [1, 4, 20])
def test_a_lost_engine_loses_nothing_that_was_undecided(at: int, patience: int) -> None:
    audio = np.concatenate([mark(voice(6.0), every=0.1), silence(1.0), mark(voice(0.5), first=200)])
    start = {"vad": "none", "hotwords": words(patience), "max_segment_ms": 60_000}
    undisturbed, disturbed = Conversation(**start), Conversation(**start)
    for number, part in enumerate(np.array_split(audio, 40)):
        undisturbed.audio(part)
        if number == at:
            disturbed.engine_dies()
        if number == at + 3:
            disturbed.engine_returns()
        disturbed.audio(part)
    undisturbed.stop()
    disturbed.stop()
    assert disturbed.messages == undisturbed.messages


def test_text_closed_amid_speech_stands_as_it_was_shown() -> None:
    talk = Conversation(vad="none", hotwords=words(4), max_segment_ms=2_000)
    speech = mark(voice(9.0), every=0.1)
    talk.audio(speech, cut=1920).stop()
    check_order(talk.messages)
    assert len(talk.finals) > 2
    for final in talk.finals[:-1]:
        decided = [ord(character) < ord(han(UNSURE)) for character in final.text]
        assert decided == [True] * (len(decided) - 4) + [False] * 4
    assert heard(talk) == [number for _, number in markers(speech)]


changes = st.builds(words, st.integers(0, 6))


class Changing(Conversation):
    """Changes its list between messages of audio, as scripted."""

    lists: list[HotwordList]

    def audio(self, data, cut=None):
        if self.lists:
            self.hotwords(self.lists.pop(0))
        return super().audio(data, cut)


@settings(max_examples=80, deadline=None)
@given(script=st.lists(events, max_size=14), window=st.sampled_from(WINDOWS), first=changes,
       lists=st.lists(changes, max_size=6), max_segment=st.sampled_from([2_000, 3_700, 30_000]))
def test_every_marker_is_said_once_whatever_is_undecided_lost_or_changed(script, window, first, lists, max_segment):
    talk = Changing(windows=(window,), vad="none", max_segment_ms=max_segment, hotwords=first)
    talk.lists = list(lists)
    audio = play(script, talk)
    check_order(talk.messages)
    check_sums(talk.session)
    if talk.session.statistics.failures == 0:
        assert heard(talk) == [number for _, number in markers(audio)]


@settings(max_examples=40, deadline=None)
@given(script=st.lists(events, max_size=10), failing=st.sets(st.tuples(st.integers(0, 6), st.integers(0, 6))),
       patience=st.integers(0, 6))
def test_failures_take_back_nothing_that_was_shown(script, failing, patience):
    engine = ScriptedEngine(fail_on=lambda generation, sequence: (generation, sequence) in failing)
    talk = Conversation(engine, vad="none", max_segment_ms=2_000, windows=(Window(4, 4),), hotwords=words(patience))
    play(script, talk)
    check_order(talk.messages)
    numbers = heard(talk)
    assert numbers == sorted(set(numbers))
    shown: dict[int, int] = {}
    for message in talk.messages:
        if isinstance(message, Partial):
            shown[message.segment] = len(message.text)
        elif isinstance(message, Final):
            assert len(message.text) >= shown.get(message.segment, 0)


def test_the_script_says_something() -> None:
    talk = Changing(vad="none", hotwords=words(2))
    talk.lists = [words(3)]
    audio = play([Say(4.0, True, 9_999), "engine dies", Say(1.6, True, 300)], talk)
    assert len(markers(audio)) == len(heard(talk)) > 50


def test_a_list_is_answered_also_where_it_changes_nothing() -> None:
    talk = Conversation().hotwords(from_native([])).audio(np.concatenate([mark(voice(2.0)), silence(1.2)]))
    assert talk.said(HotwordsTaken) == [HotwordsTaken(words=0, unspelt=[])]
    talk.audio(np.concatenate([mark(voice(2.0)), silence(1.2)])).stop()
    assert len(talk.said(HotwordsTaken)) == 1
