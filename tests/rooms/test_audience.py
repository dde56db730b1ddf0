"""The viewers of a room, without sockets: all get all finals once, partials the latest, whoever is slow is bounded."""

from __future__ import annotations

import json

from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream_server.rooms import events
from stream_server.rooms.audience import MOST_UNSENT, PIECE, Audience
from stream_server.rooms.events import Chunk
from stream_server.rooms.store import Room, Said, Scene, Speaker

ROOM = Room(1, "0123456789abcdef", "晨会", "read", False, 1_800_000_000_000, None)
WANG, LI = Speaker(1, "小王"), Speaker(2, "小李")
PATIENCE = 30.0


class Reader:
    """A viewer that takes what it is told to take."""

    def __init__(self) -> None:
        self.waiting = b""
        self.taken = b""
        self.most = 0
        self.aborted = False
        self.over = 0

    @property
    def unsent(self) -> int:
        return len(self.waiting)

    def write(self, data: Chunk) -> None:
        self.waiting += data.plain
        self.most = max(self.most, len(self.waiting))

    def abort(self) -> None:
        self.aborted = True

    def end(self) -> None:
        self.over += 1

    def swallow(self, most: int = 1 << 30) -> None:
        """Reads so many bytes."""
        self.taken += self.waiting[:most]
        self.waiting = self.waiting[most:]

    def take(self) -> list[tuple[str, dict]]:
        """Reads what there is; all events until now."""
        self.swallow()
        return read(self.taken)


def read(data: bytes) -> list[tuple[str, dict]]:
    """Kind and data of whole events."""
    found = []
    for block in data.decode(errors="ignore").split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":") and ": " in line)
        if "event" in fields:
            found.append((fields["event"], json.loads(fields["data"])))
            assert (fields["event"] == "final") == ("id" in fields)
    return found


def said(number: int, speaker: Speaker = WANG, text: str = "话", segment: int = 0) -> Said:
    return Said(number, speaker.id, speaker.name, segment, 100 * number, 100 * number + 50, text, [])


def scene(*captions: Said, speakers: tuple[Speaker, ...] = (WANG, LI), room: Room = ROOM) -> Scene:
    return Scene(room, list(speakers), list(captions))


def audience(*captions: Said, most: int = 10_000) -> Audience:
    return Audience(scene(*captions), most_finals=most, patience_s=PATIENCE)


def enter(group: Audience, after: int = 0, now: float = 0.0) -> Reader:
    reader = Reader()
    group.enter(reader, after, now, reader.end)
    return reader


def speak(group: Audience, speaker: Speaker, text: str, segment: int = 0) -> None:
    group.partial(speaker.id, segment, events.partial_event(speaker, segment, 0, text, 0))


def finals(found: list[tuple[str, dict]]) -> list[int]:
    return [data["id"] for kind, data in found if kind == "final"]


def kinds(found: list[tuple[str, dict]]) -> list[str]:
    return [data["text"] if kind == "partial" else kind for kind, data in found]


def test_who_comes_late_gets_what_was_said_then_what_is_being_said() -> None:
    group = audience(said(3), said(5))
    speak(group, LI, "正在")
    assert kinds(enter(group).take()) == ["room", "final", "final", "正在"]
    assert kinds(enter(group, after=3).take()) == ["room", "final", "正在"]
    assert kinds(enter(group, after=5).take()) == ["room", "正在"]
    assert enter(group, after=99).take()[0][1]["speakers"] == [{"speaker": 1, "name": "小王"},
                                                             {"speaker": 2, "name": "小李"}]


def test_all_get_the_same_bytes() -> None:
    group = audience()
    chunks: list[Chunk] = []

    class Keeper(Reader):
        def write(self, data: Chunk) -> None:
            chunks.append(data)

    for _ in range(3):
        keeper = Keeper()
        group.enter(keeper, 0, 0.0, keeper.end)
    chunks.clear()
    group.show(scene(said(1)))
    group.flush(0.0)
    assert len(chunks) == 3 and chunks[0] is chunks[1] is chunks[2]
    assert chunks[0].framed == b"%x\r\n%b\r\n" % (len(chunks[0].plain), chunks[0].plain)


def test_of_partials_the_latest_and_none_that_is_over() -> None:
    group = audience()
    reader = enter(group)
    reader.take()
    for text in ("一", "一二", "一二三"):
        speak(group, WANG, text)
    speak(group, LI, "好")
    group.flush(0.0)
    assert kinds(reader.take())[1:] == ["一二三", "好"]
    speak(group, WANG, "一二三四")
    group.show(scene(said(1, WANG)))
    group.flush(0.0)
    assert kinds(reader.take())[3:] == ["final"]
    speak(group, WANG, "下一段", segment=1)
    group.show(scene(said(2, WANG, segment=0)))
    group.flush(0.0)
    assert kinds(reader.take())[4:] == ["final", "下一段"]


def test_a_segment_that_came_to_nothing_leaves_the_next_alone() -> None:
    group = audience()
    reader = enter(group)
    speak(group, WANG, "一", segment=1)
    group.flush(0.0)
    speak(group, WANG, "二", segment=2)
    speak(group, WANG, "", segment=1)
    group.flush(0.0)
    assert kinds(reader.take()) == ["room", "一", "二"] and kinds(enter(group).take()) == ["room", "二"]
    speak(group, WANG, "", segment=2)
    group.flush(0.0)
    assert kinds(reader.take())[3:] == [""]


def test_after_the_end_nothing_is_said_to_those_who_are_behind() -> None:
    group = audience(*(said(number, text="x" * 4000) for number in range(1, 41)))
    slow = enter(group)
    group.show(scene(room=ROOM._replace(ended_ms=ROOM.began_ms + 5)))
    speak(group, WANG, "太晚")
    for step in range(20):
        group.tick(0.1 * step)
        slow.swallow()
    found = slow.take()
    assert finals(found) == list(range(1, 41)) and kinds(found)[-1] == "ended" and "太晚" not in kinds(found)


def test_people_come_and_go_and_the_room_changes() -> None:
    group = audience()
    reader = enter(group)
    speak(group, LI, "我走了")
    group.show(scene(speakers=(WANG, Speaker(3, "小赵"))))
    group.flush(0.0)
    found = reader.take()[1:]
    assert sorted((data["name"], data["state"]) for _, data in found) == [("小李", "left"), ("小赵", "joined")]
    group.show(scene(speakers=(WANG, Speaker(3, "小赵")), room=ROOM._replace(recorded=True)))
    group.flush(0.0)
    assert reader.take()[-1][1]["recorded"]


def test_the_end_comes_last_and_once() -> None:
    group = audience()
    quick, slow = enter(group), enter(group)
    for number in range(1, 41):
        group.show(scene(said(number, text="x" * 4000)))
        group.flush(0.0)
        quick.swallow()
    group.show(scene(said(41), room=ROOM._replace(ended_ms=ROOM.began_ms + 5)))
    group.tick(0.0)
    assert kinds(quick.take())[-3:] == ["final", "room", "ended"] and quick.over == 1
    assert slow.over == 0
    for step in range(20):
        slow.swallow()
        group.tick(0.1 * step)
    assert finals(slow.take()) == list(range(1, 42)) and kinds(slow.take())[-1] == "ended" and slow.over == 1
    late = enter(group)
    for step in range(20):
        late.swallow()
        group.tick(2 + step)
    assert finals(late.take()) == list(range(1, 42)) and kinds(late.take())[-1] == "ended" and late.over == 1
    assert not group.viewers


def test_what_comes_all_at_once_is_given_in_pieces() -> None:
    group = audience()
    reader = enter(group)
    speak(group, LI, "一", segment=9)
    group.show(scene(*(said(number, text="x" * 4000) for number in range(1, 101))))
    group.flush(0.0)
    for second in range(30):
        reader.swallow()
        group.tick(float(second))
    assert reader.most <= MOST_UNSENT + PIECE
    assert finals(reader.take()) == list(range(1, 101)) and kinds(reader.take())[-1] == "一"
    group.show(scene(said(101)))
    group.flush(30.0)
    assert finals(reader.take())[-1] == 101


def test_who_takes_nothing_is_cut_off_and_who_takes_little_is_not() -> None:
    group = audience()
    stuck, slow, quick = enter(group), enter(group), enter(group)
    number = 0
    for second in range(100):
        for _ in range(5):
            number += 1
            group.show(scene(said(number, text="x" * 2000)))
        group.flush(float(second))
        slow.swallow(1000)
        quick.swallow()
        group.tick(float(second))
    assert stuck.aborted and stuck.over == 1 and group.cut == 1
    assert not slow.aborted and not quick.aborted and len(group.viewers) == 2
    assert max(stuck.most, slow.most) <= MOST_UNSENT + PIECE
    assert finals(quick.take()) == list(range(1, number + 1))


def test_what_is_kept_is_bounded() -> None:
    group = audience(most=100)
    for number in range(1, 1_001):
        group.show(scene(said(number)))
        group.flush(0.0)
    found = finals(enter(group).take())
    assert 100 <= len(found) <= 113 and found[-1] == 1_000


STEPS = st.lists(st.one_of(
    st.tuples(st.just("final"), st.integers(1, 3), st.sampled_from([1, 3_000, 20_000])),
    st.tuples(st.just("partial"), st.integers(0, 3), st.integers(0, 1)),
    st.tuples(st.just("people"), st.integers(0, 3), st.just(0)),
    st.tuples(st.just("flush"), st.just(0), st.just(0)),
    st.tuples(st.just("take"), st.integers(0, 2), st.integers(0, 50_000)),
    st.tuples(st.just("enter"), st.integers(0, 9), st.just(0)),
    st.tuples(st.just("tick"), st.just(0), st.just(0)),
), max_size=60)


@settings(max_examples=100, deadline=None)
@given(STEPS)
@example([("final", 1, 3_000), *[("final", 3, 20_000)] * 3])
@example([("people", 1, 0), *[("final", 3, 20_000)] * 3, ("partial", 0, 1), ("flush", 0, 0), ("take", 0, 50_000)])
def test_whatever_happens_each_final_comes_once_in_order_and_all_end_with_the_same(steps: list[tuple]) -> None:
    group = audience()
    readers = [(0, enter(group)), (0, enter(group))]
    number, here = 0, [WANG, LI]
    for kind, first, second in steps:
        if kind == "final":
            for _ in range(first):
                number += 1
                group.show(scene(said(number, text="x" * second, segment=number), speakers=tuple(here)))
        elif kind == "partial" and here:
            speak(group, here[first % len(here)], f"{number}", segment=number + second)
        elif kind == "people":
            here = [speaker for place, speaker in enumerate((WANG, LI)) if first >> place & 1]
            group.show(scene(speakers=tuple(here)))
        elif kind == "flush":
            group.flush(0.0)
        elif kind == "take":
            readers[first % len(readers)][1].swallow(second)
        elif kind == "enter":
            after = min(first, number)
            readers.append((after, enter(group, after)))
        else:
            group.tick(0.0)
    for _ in range(60):
        for _, reader in readers:
            reader.swallow()
        group.tick(0.0)
    states = [state(reader.take()) for _, reader in readers]
    for (after, reader), shown in zip(readers, states, strict=True):
        assert finals(reader.take()) == list(range(after + 1, number + 1))
        assert reader.most <= MOST_UNSENT + PIECE + 2 * 21_000
        assert shown == states[0] and set(shown[0]) == {speaker.id for speaker in here}


def state(found: list[tuple[str, dict]]) -> tuple[dict, dict]:
    """Speakers and partials as a page would show them in the end, by the rules of docs/rooms.md."""
    people: dict[int, str] = {}
    partials: dict[int, tuple[int, str]] = {}
    for kind, data in found:
        speaker = data.get("speaker")
        if kind == "room":
            people = {each["speaker"]: each["name"] for each in data["speakers"]}
            partials = {}
        elif kind == "partial":
            partials[speaker] = data["segment"], data["text"]
        elif kind == "final" and speaker in partials and partials[speaker][0] <= data["segment"]:
            del partials[speaker]
        elif kind == "speaker":
            people[speaker] = data["name"]
            if data["state"] == "left":
                del people[speaker]
                partials.pop(speaker, None)
    return people, partials
