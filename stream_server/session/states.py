"""The states of a session and what moves it from one to another. Everything that decides this is in this file."""

from __future__ import annotations

import enum
from itertools import groupby

from stream_server.errors import ClientError


class State(enum.Enum):
    """Where a session stands."""

    # Members are one object each; that of enum hashes their names, in Python, at every step of every session.
    __hash__ = object.__hash__

    NEW = "new"
    OPEN = "open"
    STOPPING = "stopping"
    ENDED = "ended"


class Event(enum.Enum):
    """What may happen to a session."""

    __hash__ = object.__hash__

    START = "start"
    AUDIO = "audio"
    FLUSH = "flush"
    HOTWORDS = "hotwords"
    STOP = "stop"
    IDLE = "idle timeout"
    EXPIRE = "start timeout"
    FINISH = "last final said"
    DISCONNECT = "disconnect"


FIRST = State.NEW

TRANSITIONS: dict[State, dict[Event, State]] = {
    State.NEW: {
        Event.START: State.OPEN,
        Event.EXPIRE: State.ENDED,
        Event.DISCONNECT: State.ENDED,
    },
    State.OPEN: {
        Event.AUDIO: State.OPEN,
        Event.FLUSH: State.OPEN,
        Event.HOTWORDS: State.OPEN,
        Event.STOP: State.STOPPING,
        Event.IDLE: State.STOPPING,
        Event.DISCONNECT: State.ENDED,
    },
    State.STOPPING: {
        Event.FINISH: State.ENDED,
        Event.DISCONNECT: State.ENDED,
    },
    State.ENDED: {
        Event.DISCONNECT: State.ENDED,
    },
}

FROM_CLIENT = (Event.START, Event.AUDIO, Event.FLUSH, Event.HOTWORDS, Event.STOP)


def after(state: State, event: Event) -> State:
    """The state that `event` leads to. Raises ClientError `bad_state` where it cannot happen in `state`."""
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        allowed = ", ".join(e.value for e in TRANSITIONS[state] if e in FROM_CLIENT) or "nothing more"
        raise ClientError("bad_state", f"{event.value} cannot be received: the session is {state.value}",
                          field="type", value=event.value, allowed=allowed) from None


def mermaid() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", f"    [*] --> {FIRST.name}"]
    for state, ways in TRANSITIONS.items():
        by_target = sorted(ways.items(), key=lambda way: list(State).index(way[1]))
        for target, group in groupby(by_target, key=lambda way: way[1]):
            if state is not State.ENDED:
                lines.append(f"    {state.name} --> {target.name}: {', '.join(event.value for event, _ in group)}")
    lines.append(f"    {State.ENDED.name} --> [*]")
    return "\n".join(lines)
