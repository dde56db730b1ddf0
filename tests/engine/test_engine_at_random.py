"""Sessions that come, speak, break off and leave at random: each gets its own text, and no slot is lost."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stream_server.audio.windows import Window
from stream_server.engine.engine import Engine
from stream_server.engine.stepping import Begun, advance
from stream_server.engine.stream import Lane, Stream
from stream_server.engine.wire import Abort, Admit, Admitted, Recognised, Release, Step
from tests.support.scripted_runner import ScriptedRunner, digest

WINDOWS = (Window(1, 1), Window(2, 0))
SLOTS, CAPACITY, MAX_BATCH = 3, 4, 2
NAMES = st.tuples(st.sampled_from([b"x", b"y"]), st.sampled_from("abc"))


class Speaker:
    """What a session of the test expects of the engine."""

    def __init__(self) -> None:
        self.generation = -1
        self.window: Window | None = None
        self.sequence = 0
        self.hash = 0
        self.awaited: tuple[int, bool] | None = None


class EngineAtRandom(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = ScriptedRunner(SLOTS, WINDOWS)
        self.engine = Engine(self.runner, capacity=CAPACITY, max_batch=MAX_BATCH)
        self.speakers: dict[tuple[bytes, str], Speaker] = {}
        self.under_way: list[Begun] = []
        self.stepping: dict[Stream, Speaker] = {}
        self.stale = 0
        self.now = 0.0

    @rule(key=NAMES)
    def admit(self, key: tuple[bytes, str]) -> None:
        self.engine.receive(key[0], Admit(key[1]), self.now)
        ((door, message),) = self.engine.take_messages()
        assert (door, message.session) == key
        assert isinstance(message, Admitted) == (key in self.speakers or len(self.speakers) < CAPACITY)
        if isinstance(message, Admitted):
            self.speakers.setdefault(key, Speaker())

    @precondition(lambda self: any(speaker.awaited is None for speaker in self.speakers.values()))
    @rule(data=st.data(), last=st.booleans(), window=st.sampled_from(WINDOWS), seed=st.integers(0, 30_000))
    def speak(self, data: st.DataObject, last: bool, window: Window, seed: int) -> None:
        silent = [key for key, speaker in self.speakers.items() if speaker.awaited is None]
        key = data.draw(st.sampled_from(silent))
        speaker = self.speakers[key]
        if speaker.window is None:
            speaker.generation, speaker.sequence, speaker.hash = speaker.generation + 1, 0, 0
            speaker.window = window
        length = data.draw(st.integers(0, 3)) if last else speaker.window.hop_samples
        samples = np.full(length, seed % 29_000, np.int16)
        speaker.hash = digest(speaker.hash, samples)
        speaker.awaited = (speaker.sequence, last)
        step = Step(key[1], speaker.generation, speaker.sequence, speaker.window, last)
        self.engine.receive(key[0], step, self.now, samples.tobytes())

    @rule(seconds=st.floats(0, 1), sharers=st.integers(1, 3))
    def begin(self, seconds: float, sharers: int) -> None:
        self.now += seconds
        begun = self.engine.begin(self.now, sharers)
        if begun is not None:
            self.under_way.append(begun)
            self.stepping |= {stream: self.speakers[stream.tenant] for stream in begun.streams}

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        """One of the steps that are under way, which writes to its slots only now, at the latest possible moment."""
        begun = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        self.stale += len(self._left_behind(begun.streams))
        self.engine.finish(begun, advance(self.runner, begun.window, begun.rows))
        for stream in begun.streams:
            del self.stepping[stream]
        for door, message in self.engine.take_messages():
            assert isinstance(message, Recognised)
            self._check(self.speakers[door, message.session], message)

    def _left_behind(self, streams: Iterable[Stream]) -> list[Stream]:
        """Of those that are stepping, those that nobody wants any more."""
        return [stream for stream in streams if self.stepping[stream] is not self.speakers.get(stream.tenant)
                or self.stepping[stream].window is None or self.stepping[stream].generation != stream.generation]

    @precondition(lambda self: self.speakers)
    @rule(data=st.data())
    def abort(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.speakers)))
        speaker = self.speakers[key]
        self.engine.receive(key[0], Abort(key[1], speaker.generation), self.now)
        speaker.window = speaker.awaited = None

    @rule(key=NAMES)
    def release(self, key: tuple[bytes, str]) -> None:
        self.engine.receive(key[0], Release(key[1]), self.now)
        self.speakers.pop(key, None)

    @rule(door=st.sampled_from([b"x", b"y"]))
    def door_dies(self, door: bytes) -> None:
        self.engine.forget_door(door)
        self.speakers = {key: speaker for key, speaker in self.speakers.items() if key[0] != door}

    @invariant()
    def nothing_is_lost(self) -> None:
        numbers = self.engine.statistics
        left_behind = self._left_behind(self.stepping)
        streams = sum(speaker.window is not None for speaker in self.speakers.values())
        awaited = sum(speaker.awaited is not None for speaker in self.speakers.values())
        assert numbers.sessions == len(self.speakers) <= CAPACITY
        assert numbers.slots_in_use == min(streams + len(left_behind), SLOTS)
        assert numbers.chunks_waiting == awaited - (len(self.stepping) - len(left_behind))
        assert numbers.rejected_chunks == numbers.row_errors == 0
        assert numbers.stale_results == self.stale

    def teardown(self) -> None:
        for key in list(self.speakers):
            self.release(key)
        self.nothing_is_lost()
        for begun in self.under_way:
            self.engine.finish(begun, advance(self.runner, begun.window, begun.rows))
        assert self.engine.statistics.slots_in_use == 0

    def _check(self, speaker: Speaker, message: Recognised) -> None:
        hypothesis = message.hypothesis
        assert hypothesis.error is None
        assert hypothesis.generation == speaker.generation
        assert (hypothesis.sequence, hypothesis.last) == speaker.awaited
        assert hypothesis.pieces == [f"{speaker.hash:08x}"]
        assert hypothesis.frames == [speaker.sequence * speaker.window.hop]
        speaker.awaited = None
        speaker.sequence += 1
        if hypothesis.last:
            speaker.window = None


numbers = st.integers(-1, 3)
anything = st.one_of(
    st.builds(Admit, st.sampled_from("ab")),
    st.builds(Release, st.sampled_from("ab")),
    st.builds(Abort, st.sampled_from("ab"), numbers),
    st.builds(Step, st.sampled_from("ab"), numbers, numbers, st.sampled_from([*WINDOWS, Window(0, 0)]), st.booleans(),
              st.sampled_from(Lane)),
    st.none(),
)


@settings(deadline=None)
@given(said=st.lists(st.tuples(anything, st.sampled_from([0, 1, 8, 1920, 3840, 3842])), max_size=60))
def test_whatever_a_door_says_nothing_raises_and_every_chunk_is_answered_or_waits(
        said: list[tuple[object, int]]) -> None:
    engine = Engine(ScriptedRunner(1, WINDOWS), capacity=2)
    for message, length in said:
        waited = engine.statistics.chunks_waiting
        if message is None:
            engine.step(0.0)
        else:
            engine.receive(b"x", message, 0.0, bytes(length))
        if isinstance(message, Step):
            answered = len(engine.take_messages())
            assert answered in (0, 1)
            assert answered or engine.statistics.chunks_waiting >= max(waited, 1)
        engine.take_messages()
        assert engine.statistics.slots_in_use <= 1 and engine.statistics.sessions <= 2
    assert engine.statistics.stale_results == 0


TestEngineAtRandom = EngineAtRandom.TestCase
TestEngineAtRandom.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
