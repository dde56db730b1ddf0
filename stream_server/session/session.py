"""A conversation with one client: its messages and audio in; messages for it, and chunks for the engine, out.

Synchronous and alone: no socket, thread or clock. Whoever holds a session calls a `receive_…`, then drains the
`take_…`: `docs/session.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stream_server.audio.windows import Window
from stream_server.config import SessionDefaults, SessionLimits
from stream_server.session import states
from stream_server.session.closing import ClosingQueue
from stream_server.session.held import Held
from stream_server.session.intake import Intake
from stream_server.session.ledger import Ledger
from stream_server.session.messages import Error, Flush, Hotwords, Resume, ServerMessage, Start, Stop
from stream_server.session.options import Options, choose_options
from stream_server.session.segments import Segments
from stream_server.session.states import Event, State
from stream_server.speech.detectors import Detectors
from stream_server.speech.hotwords import EMPTY, HotwordList
from stream_server.speech.recognition import Chunk, Guess, Hypothesis, SecondPass
from stream_server.speech.scribe import Scribed, Spoken
from stream_server.speech.vad import Vad
from stream_server.units import SAMPLE_RATE, ms_to_samples


class Session:
    """One client's session. `receive_…` raises ClientError where the client is wrong; the state is then as before."""

    def __init__(self, session_id: str, *, model: str, windows: Sequence[Window], defaults: SessionDefaults,
                 limits: SessionLimits, detectors: Detectors = Detectors(),  # noqa: B008 - frozen
                 hotwords: HotwordList = EMPTY, second_model: bool = False, punctuation: bool = False,
                 itn: bool = False, new_held: Callable[[], Held] = Held) -> None:
        """`windows`: those that are served, the default first; `model`: its name, for the ready message;
        `hotwords`: the server's; `second_model`, `punctuation`, `itn`: whether there is one for a second pass, for
        marks, and for numbers as they are written; `new_held`: makes what audio is held in."""
        self.id = session_id
        self.state = states.FIRST
        self.statistics = Ledger()
        """Samples received, recognised, silent and dropped, and counts of what is seldom."""
        self.judged_later = False
        """The detector is a net's: look at `unjudged` after whatever came from the client."""
        self._model = model
        self._windows = tuple(windows)
        self._defaults = defaults
        self._limits = limits
        self._detectors = detectors
        self._hotwords = hotwords
        self._finishing = second_model, punctuation, itn
        self.parked = False
        """Its connection is lost and it waits for another: its client's silence does not end it."""
        self.writes = False
        """Whether finals are written as people read them, so that `take_text` may have one."""
        self.guesses = False
        """Whether segments have second passes and end in silence, so that `take_guess` may have one."""
        self._new_held = new_held
        self.held = new_held()
        """Audio from which nothing can follow yet: no segment begins, ends or is cut with it, and no hop is complete.
        It is heard together with the first from which something can, since most of what a message costs is to come to
        its session at all. There is room in it only where audio is the next that may come, and never before the first;
        another connection's audio goes into another one."""
        self._messages: list[ServerMessage] = []
        self._segments: Segments | None = None
        self._most_waiting = 0
        self._abort: int | None = None
        self._left_over = 0
        self._engine_away = False
        self._heard_at = 0.0

    # ---- from the client

    def receive_start(self, start: Start) -> None:
        """Opens the session. Raises ClientError where a field cannot be had."""
        state = states.after(self.state, Event.START)
        options = choose_options(start, self._defaults, self._windows, self._detectors.kinds, *self._finishing)
        self.writes = options.punctuation or options.itn
        self.guesses = options.guesses
        vad = self._detectors.open(options.vad, options.vad_aggressiveness)
        self.judged_later = vad.net is not None
        intake = Intake(options, options.capacity(self._limits), vad)
        closing = ClosingQueue(self._limits.final_deadline_ms / 1000, marks=options.punctuation,
                               numbers=options.itn)
        self._segments = Segments(options, intake, self.statistics, closing)
        # Less than a hop waits always, for the rest of the hop: a bound below that would wait for itself.
        self._most_waiting = max(self._limits.max_buffered_s * SAMPLE_RATE, 2 * options.window.hop_samples)
        self._take_hotwords(start.hotwords)
        if self._engine_away:
            self._segments.lose_engine()
        self._messages.append(options.ready(self.id, self._model))
        self._enter(state)
        # The first audio may still bring a command before it.
        self.held.room = 0

    def receive_audio(self, data: bytes) -> None:
        """Audio as the Start described it, cut anywhere. Raises ClientError where `wants_audio` was ignored."""
        held = self.held
        if held.take(data):
            return
        state = states.after(self.state, Event.AUDIO)
        intake = self._segments.intake
        if held.size:
            if intake.has_room(held.size + len(data)):
                data = held.drain(data)
            else:
                self._hear_held()
        intake.receive_audio(data)
        self._enter(state)

    def receive_flush(self, flush: Flush) -> None:
        """Ends the open segment here. Raises ClientError where too many flushes wait for their answer."""
        state = states.after(self.state, Event.FLUSH)
        self._hear_held()
        self._segments.intake.receive_flush(flush.id, self._segments.closing.flushes)
        self._enter(state)

    def receive_hotwords(self, hotwords: Hotwords) -> None:
        """Another list for the session, from the next hop on."""
        state = states.after(self.state, Event.HOTWORDS)
        self._hear_held()
        self._take_hotwords(hotwords.hotwords)
        self._enter(state)

    def receive_stop(self, stop: Stop = Stop()) -> None:  # noqa: B008 - frozen and without fields
        """No more audio will come; what has come is finished."""
        state = states.after(self.state, Event.STOP)
        self._hear_held()
        self._left_over = self._segments.intake.receive_end()
        self._enter(state)

    def receive_resume(self, resume: Resume) -> None:
        """The client is back: `intake.position` says what it has to send next, as it is written from now on."""
        self.parked = False
        if self.state is State.OPEN:
            self._hear_held()
        self.held.room = 0
        self.held = self._new_held()
        if self.state is State.OPEN:
            intake = self._segments.intake
            intake.receive_resume(resume.encoding or intake.encoding, resume.sample_rate or intake.sample_rate,
                                  ms_to_samples(resume.overlap_ms))
            self._enter(State.OPEN)
            self.held.room = 0

    def receive_disconnect(self) -> None:
        """The client is gone: nothing more is said; `take_abort` tells what the engine may let go of."""
        self._hear_held()
        self._end(states.after(self.state, Event.DISCONNECT))
        self._messages.clear()

    # ---- from the detector

    @property
    def unjudged(self) -> Vad | None:
        """The detector, where its net has to judge it before the session can go on: then `receive_scores`."""
        if self._segments is None or self.state is State.ENDED:
            return None
        vad = self._segments.intake.vad
        return vad if vad.outstanding else None

    def receive_scores(self) -> None:
        """The detector has been judged, as far as it was."""
        if self._segments is not None and self.state is not State.ENDED:
            self._segments.intake.judge()
            self._segments.advance()
            self._drain()

    # ---- from the engine

    def receive_hypothesis(self, hypothesis: Hypothesis) -> None:
        """The answer to the chunk in flight; any other is counted and dropped."""
        if hypothesis.error is not None:
            self._hear_held()
        if self._segments is None or self.state is State.ENDED:
            self.statistics.stale_hypotheses += 1
            return
        self._segments.receive_hypothesis(hypothesis)
        self._drain()

    def receive_second_pass(self, second_pass: SecondPass) -> None:
        """What the second pass made of a closed segment; one that nobody waits for is counted and dropped."""
        if self._segments is None or self.state is State.ENDED:
            self.statistics.stale_second_passes += 1
            return
        self._segments.receive_second_pass(second_pass)
        self._drain()

    def receive_written(self, segment: int, scribed: Scribed | None) -> None:
        """A final as it is written, None where it could not be; one that nobody waits for is counted and dropped."""
        if self._segments is None or self.state is State.ENDED:
            self.statistics.stale_writings += 1
            return
        self._segments.receive_written(segment, scribed)
        self._drain()

    def receive_engine_lost(self) -> None:
        """The engine is away with all that it held. Audio is kept; no chunk is given out until it is back."""
        self._hear_held()
        self._engine_away = True
        if self._segments is not None and self.state is not State.ENDED:
            self._segments.lose_engine()
            self._drain()

    def receive_engine_back(self) -> None:
        """An engine without memory is there: the open stream is begun anew, in a generation of its own."""
        self._hear_held()
        self._engine_away = False
        if self._segments is not None and self.state is not State.ENDED:
            self._segments.regain_engine()
            self._drain()

    # ---- drains

    def take_messages(self) -> list[ServerMessage]:
        """What is to be said to the client, in order."""
        messages, self._messages = self._messages, []
        return messages

    def take_chunk(self) -> Chunk | None:
        """The next chunk for the engine. None while one is in flight, or not enough audio is there."""
        if self._segments is None or self.state is State.ENDED:
            return None
        return self._segments.take_chunk()

    def take_guess(self) -> Guess | None:
        """What the second pass may begin with, where `guesses`; to be given to the engine after the chunk."""
        if self._segments is None or self.state is not State.OPEN:
            return None
        return self._segments.take_guess()

    def take_text(self) -> tuple[int, Spoken] | None:
        """A segment and its final to be written by the engine, where `writes`; None while one is under way."""
        if self._segments is None or self.state is State.ENDED:
            return None
        return self._segments.take_text()

    def take_abort(self) -> int | None:
        """The generation that the engine holds and nobody waits for any more; told once."""
        generation, self._abort = self._abort, None
        return generation

    @property
    def options(self) -> Options | None:
        """What is in force; None before the Start."""
        return self._segments.options if self._segments else None

    @property
    def intake(self) -> Intake | None:
        """What has come; None before the Start."""
        return self._segments and self._segments.intake

    @property
    def wants_audio(self) -> bool:
        """False while more audio waits than `max_buffered_s`: read no more from the client until it is true again."""
        return self._segments is None or self._segments.waiting <= self._most_waiting

    @property
    def ended(self) -> bool:
        """All is said, or the client is gone: close the connection once the messages are out."""
        return self.state is State.ENDED

    # ---- time

    def next_deadline(self, now: float) -> float | None:
        """When to call `receive_time` at the latest, in seconds of the clock of `now`. None: no need."""
        self._note_activity(now)
        if self.state is State.NEW:
            return self._heard_at + self._limits.start_timeout_s
        final = None if self._segments is None else self._segments.closing.next_deadline(now)
        if self.state is State.OPEN:
            idle = self._heard_at + self._limits.idle_timeout_s
            return idle if final is None else min(idle, final)
        return final

    def receive_time(self, now: float) -> None:
        """It is `now`. Without a Start in time the session fails; without messages and audio for long it is stopped. A
        final that has waited for its second pass for too long goes out without."""
        deadline = self.next_deadline(now)
        if deadline is None or now < deadline:
            return
        if self._segments is not None:
            self._segments.receive_time(now)
            self._drain()
            if self.state is not State.OPEN or now < self._heard_at + self._limits.idle_timeout_s:
                return
        if self.state is State.NEW:
            self._messages.append(Error(code="start_timeout", message="no start message came in time", fatal=True,
                                        allowed=f"within {self._limits.start_timeout_s:g} s"))
            self._end(states.after(self.state, Event.EXPIRE))
        else:
            self._messages.append(Error(code="idle_timeout", message="no message or audio came for long: stopping",
                                        allowed=f"within {self._limits.idle_timeout_s:g} s"))
            state = states.after(self.state, Event.IDLE)
            self._hear_held()
            self._left_over = self._segments.intake.receive_end()
            self._enter(state)

    def _note_activity(self, now: float) -> None:
        if self.held.fresh or self.parked or self._waits_for_us():
            self._heard_at = now
            self.held.fresh = False

    def _waits_for_us(self) -> bool:
        # A client that is not read from, or waits for the engine, cannot be blamed for its silence.
        return self._segments is not None and (
            self._segments.busy or self.unjudged is not None or not self.wants_audio)

    # ---- inside

    def _hear_held(self) -> None:
        if self.held.size:
            self._segments.intake.receive_audio(self.held.drain())
            self._enter(self.state)
        self.held.room = 0

    def _take_hotwords(self, own: HotwordList | None) -> None:
        self._segments.own_hotwords = own
        self._segments.hotwords = self._hotwords.overlaid(own or EMPTY) or EMPTY

    def _enter(self, state: State) -> None:
        self.state = state
        self.held.fresh = True
        self.statistics.received = self._segments.intake.ring.end
        self._segments.advance()
        self.held.room = self._holdable()
        self._drain()

    def _holdable(self) -> int:
        """Bytes of audio that may be held from here on."""
        if self.state is not State.OPEN:
            return 0
        segments = self._segments
        nothing_until = min(segments.nothing_until, segments.intake.ring.end + self._most_waiting - segments.waiting)
        return segments.intake.bytes_before(nothing_until)

    def _drain(self) -> None:
        segments = self._segments
        if segments.messages:
            self._messages.extend(segments.messages)
            segments.messages.clear()
        if segments.stopped and self.state is State.STOPPING:
            self._finish()

    def _finish(self) -> None:
        if self._left_over:
            self._messages.append(Error(code="bad_audio", field="audio", value=f"{self._left_over} bytes",
                                        message="the audio ended within a sample; the incomplete sample was ignored",
                                        allowed="whole samples"))
        self._messages.append(self.statistics.ended())
        self._end(states.after(self.state, Event.FINISH))

    def _end(self, state: State) -> None:
        self.state = state
        if self._segments is not None:
            abort = self._segments.abandon()
            self._abort = self._abort if abort is None else abort
