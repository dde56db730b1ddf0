"""Who reads a room at one door, and what each of them has yet to be sent.

Knows no socket and no clock. What everybody gets is made once, and given to all who keep up. Who does not is left out,
and brought up to date from the finals, which are kept once for all, when there is room again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import Protocol

from stream_server.rooms import events
from stream_server.rooms.events import Chunk, chunk
from stream_server.rooms.store import Said, Scene, Speaker

MOST_UNSENT = 64 << 10
"""Bytes that wait for a viewer, from which on it counts as behind."""

PIECE = 32 << 10
"""Bytes that a viewer who is behind is given at once."""


class Sink(Protocol):
    """Where a viewer's events go."""

    @property
    def unsent(self) -> int:
        """Bytes that were written and wait here."""

    def write(self, data: Chunk) -> None:
        """Sends, or keeps it to be sent. Never waits."""

    def abort(self) -> None:
        """The viewer is cut off; nothing that waits is sent."""


class Viewer:
    """One reader. `on_over` is called once, when it has got all there will ever be, or was cut off."""

    def __init__(self, sink: Sink, seen: int, now: float, on_over: Callable[[], None]) -> None:
        self.sink = sink
        self.seen = seen
        """The id of the last final it was given, while it is behind."""
        self.behind = True
        self.missed = False
        """Something besides finals was not given to it."""
        self.unsent = 0
        self.moved_at = now
        """When it was last seen to take something, while it is behind."""
        self.on_over = on_over


class Audience:
    """The viewers of a room, and the room as they are to see it. Times are seconds of any one clock."""

    def __init__(self, scene: Scene, *, most_finals: int, patience_s: float) -> None:
        """`scene`: all of the room; `most_finals` are kept, as in the store; a viewer that takes nothing for
        `patience_s` is cut off."""
        self.viewers: set[Viewer] = set()
        self.cut = 0
        """Viewers that were cut off, ever."""
        self._room = scene.room
        self._speakers = {speaker.id: speaker for speaker in scene.speakers}
        self._ids: list[int] = []
        self._finals: list[bytes] = []
        self._partials: dict[int, tuple[int, bytes]] = {}
        """By speaker: the segment, and its event."""
        self._fresh: dict[int, None] = {}
        """Speakers whose partial nobody has yet."""
        self._news: list[bytes] = []
        self._most_finals = most_finals
        self._patience_s = patience_s
        self._end: bytes | None = None
        for said in scene.said:
            self._keep(said)
        self._told = self.last
        """The last final that `flush` has seen."""
        if scene.room.ended_ms is not None:
            self._end = events.ended_event(scene.room.ended_ms, "ended")

    @property
    def last(self) -> int:
        """The id of the last final."""
        return self._ids[-1] if self._ids else 0

    @property
    def waits(self) -> bool:
        """There is something for `flush`."""
        return bool(self._news or self._fresh)

    @property
    def over(self) -> bool:
        """Nothing more will come."""
        return self._end is not None

    # ---- what happens in the room

    def show(self, scene: Scene) -> None:
        """The room as it is now; `said` is what was said since `last`."""
        if self._end is not None:
            return
        for said in scene.said:
            if said.id > self.last:
                self._keep(said)
                self._news.append(self._finals[-1])
                if said.speaker in self._partials and self._partials[said.speaker][0] <= said.segment:
                    self._drop_partial(said.speaker)
        self._show_speakers({speaker.id: speaker for speaker in scene.speakers})
        if scene.room != self._room:
            self._room = scene.room
            self._news.append(events.room_event(scene.room, scene.speakers))
            self._fresh.update(dict.fromkeys(self._partials))
        if scene.room.ended_ms is not None:
            self.end(events.ended_event(scene.room.ended_ms, "ended"))

    def partial(self, speaker: int, segment: int, event: bytes) -> None:
        """What a speaker is saying; only the latest of each is sent. Nothing is said after the end."""
        if self._end is not None or (speaker in self._partials and self._partials[speaker][0] > segment):
            # With a second pass a segment may come to nothing when the next is being spoken already.
            return
        # Pop first: whoever spoke last comes last, and so keeps its order when several are sent together.
        self._fresh.pop(speaker, None)
        self._partials[speaker] = segment, event
        self._fresh[speaker] = None

    def end(self, event: bytes) -> None:
        """Nothing more will come after this event."""
        if self._end is None:
            self._end = event

    # ---- viewers

    def enter(self, sink: Sink, after: int, now: float, on_over: Callable[[], None]) -> Viewer:
        """Another viewer, who has the finals up to the id `after`."""
        self.flush(now)
        viewer = Viewer(sink, after, now, on_over)
        self.viewers.add(viewer)
        sink.write(chunk(events.opening() + self._room_event()))
        self._catch_up(viewer, now)
        return viewer

    def leave(self, viewer: Viewer) -> None:
        """It is gone."""
        self.viewers.discard(viewer)

    def flush(self, now: float) -> None:
        """Sends what is new to all who keep up."""
        data = b"".join((*self._news, *(self._partials[speaker][1] for speaker in self._fresh)))
        other = len(self._fresh) or any(not event.startswith(b"event: final") for event in self._news)
        told, self._told = self._told, self.last
        self._news.clear()
        self._fresh.clear()
        if len(data) > MOST_UNSENT:
            self._catch_up_all(told, bool(other), now)
        elif data:
            self._broadcast(chunk(data), now, bool(other))
        if self._end is not None:
            for viewer in [viewer for viewer in self.viewers if not viewer.behind]:
                self._finish(viewer)

    def tick(self, now: float, heartbeat: bool = False) -> None:
        """Brings up to date who is behind, cuts off who takes nothing; to be called a few times a second."""
        self.flush(now)
        if heartbeat:
            self._broadcast(chunk(events.HEARTBEAT), now, False)
        for viewer in [viewer for viewer in self.viewers if viewer.behind]:
            unsent = viewer.sink.unsent
            if unsent < viewer.unsent:
                viewer.moved_at = now
            viewer.unsent = unsent
            if unsent <= MOST_UNSENT - PIECE:
                self._catch_up(viewer, now)
            elif now - viewer.moved_at > self._patience_s:
                self.cut += 1
                self.viewers.discard(viewer)
                viewer.sink.abort()
                viewer.on_over()

    # ---- inside

    def _room_event(self) -> bytes:
        return events.room_event(self._room, list(self._speakers.values()))

    def _keep(self, said: Said) -> None:
        self._ids.append(said.id)
        self._finals.append(events.final_event(said))
        # In lumps: the first of a list is dear to delete.
        if len(self._ids) > self._most_finals + self._most_finals // 8 + 1:
            excess = len(self._ids) - self._most_finals
            del self._ids[:excess], self._finals[:excess]

    def _show_speakers(self, speakers: dict[int, Speaker]) -> None:
        for speaker in self._speakers.keys() - speakers.keys():
            self._drop_partial(speaker)
            self._news.append(events.speaker_event(self._speakers[speaker], "left"))
        for speaker in speakers.keys() - self._speakers.keys():
            self._news.append(events.speaker_event(speakers[speaker], "joined"))
        self._speakers = speakers

    def _drop_partial(self, speaker: int) -> None:
        self._partials.pop(speaker, None)
        self._fresh.pop(speaker, None)

    def _broadcast(self, data: Chunk, now: float, other: bool) -> None:
        """Gives it to all who keep up; `other`: it has more than finals, which can be had later."""
        for viewer in self.viewers:
            if viewer.behind:
                viewer.missed = viewer.missed or other
                continue
            viewer.sink.write(data)
            if viewer.sink.unsent > MOST_UNSENT:
                self._fall_behind(viewer, self.last, False, now)

    def _catch_up_all(self, told: int, other: bool, now: float) -> None:
        """In place of `_broadcast` where it is too much at once: who kept up, to the final `told`, is behind now."""
        for viewer in list(self.viewers):
            if viewer.behind:
                viewer.missed = viewer.missed or other
            else:
                self._fall_behind(viewer, told, other, now)
                self._catch_up(viewer, now)

    def _fall_behind(self, viewer: Viewer, seen: int, missed: bool, now: float) -> None:
        viewer.behind, viewer.missed, viewer.seen = True, missed, seen
        viewer.unsent, viewer.moved_at = viewer.sink.unsent, now

    def _catch_up(self, viewer: Viewer, now: float) -> None:
        """Gives a viewer the finals that it lacks, as many as there is room for, then how things stand."""
        room = MOST_UNSENT - viewer.sink.unsent
        while room > 0:
            data, complete = self._lacking(viewer, min(room, PIECE))
            if data:
                viewer.sink.write(chunk(data))
            viewer.moved_at, viewer.unsent = now, viewer.sink.unsent
            if complete:
                viewer.behind = viewer.missed = False
                if self._end is not None:
                    self._finish(viewer)
                return
            room = MOST_UNSENT - viewer.unsent

    def _lacking(self, viewer: Viewer, most: int) -> tuple[bytes, bool]:
        begin = place = bisect_right(self._ids, viewer.seen)
        length = 0
        while place < len(self._ids) and length < most:
            length += len(self._finals[place])
            place += 1
        data = b"".join(self._finals[begin:place])
        if place > begin:
            viewer.seen = self._ids[place - 1]
        if place < len(self._ids):
            return data, False
        if viewer.missed:
            data += self._room_event()
        return data + b"".join(event for _, event in self._partials.values()), True

    def _finish(self, viewer: Viewer) -> None:
        self.viewers.discard(viewer)
        viewer.sink.write(chunk(self._end))
        viewer.on_over()
