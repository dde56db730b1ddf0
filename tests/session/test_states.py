"""The table of states, and its picture in the documentation."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream_server.errors import ClientError
from stream_server.session.messages import Flush, Start
from stream_server.session.states import FROM_CLIENT, TRANSITIONS, Event, State, after, mermaid
from tests.support.conversation import Conversation

PAGE = Path(__file__).parents[2] / "docs" / "session.md"


def test_the_documentation_shows_the_table():
    assert f"```mermaid\n{mermaid()}\n```" in PAGE.read_text("utf-8")


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_what_the_table_does_not_hold_is_a_client_error(state, event):
    if event in TRANSITIONS[state]:
        assert after(state, event) is TRANSITIONS[state][event]
        return
    with pytest.raises(ClientError) as error:
        after(state, event)
    assert error.value.code == "bad_state"
    assert state.value in error.value.message
    for allowed in TRANSITIONS[state]:
        assert (allowed.value in error.value.allowed) == (allowed in FROM_CLIENT)


def test_every_state_can_be_reached_and_left_but_the_last():
    assert {target for ways in TRANSITIONS.values() for target in ways.values()} | {State.NEW} == set(State)
    assert set(TRANSITIONS) == set(State)


def test_an_illegal_message_leaves_the_session_as_it_was():
    talk = Conversation()
    with pytest.raises(ClientError, match="open"):
        talk.session.receive_start(Start())
    talk.stop()
    for illegal in (lambda: talk.session.receive_audio(b"\0\0"), lambda: talk.session.receive_flush(Flush()),
                    talk.session.receive_stop):
        with pytest.raises(ClientError) as error:
            illegal()
        assert error.value.code == "bad_state"
    assert talk.session.take_messages() == [] and talk.session.ended
