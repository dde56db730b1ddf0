"""The recognition of a session's segments: chunks out, hypotheses in, one after the other, and what to say of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from stream_server.session.closing import Closing, ClosingQueue
from stream_server.session.guessing import BEFORE, BEHIND, next_guess, no_guess_before
from stream_server.session.intake import FlushMark, Intake, StopMark
from stream_server.session.ledger import Ledger
from stream_server.session.messages import (
    Error,
    Flushed,
    HotwordsTaken,
    Partial,
    Reason,
    ServerMessage,
    Speech,
)
from stream_server.session.options import Options
from stream_server.session.underway import InFlight, OpenSegment, OpenStream
from stream_server.speech.endpoint import SegmentEnded, SegmentSplit, SegmentStarted
from stream_server.speech.hotwords import EMPTY, HotwordList
from stream_server.speech.recognition import Chunk, Guess, Hypothesis, SecondPass, Span
from stream_server.speech.scribe import Scribed, Spoken
from stream_server.speech.transcript import Transcript
from stream_server.units import ms_to_samples, samples_to_ms

MOST_LOSSES = 3
"""Engines that one chunk may take down with it before it is held to be the cause, and dropped."""

OVERLAP = ms_to_samples(1_200)
"""Audio before a cut without a pause that the second pass hears again, to know the word under the cut."""


@dataclass(slots=True)
class Segments:
    """At most one segment is open, one stream is being recognised and one chunk is in flight.

    Later segments wait as decisions of the intake until the one before them is recognised, so that what a client reads
    is in order however much faster than the engine it sends. With a second pass closed segments wait in `closing` for
    their finals while the next one is recognised.

    Replay. When the engine is lost, the open stream begins anew under the next generation, with the same audio cut
    into the same hops. What hypotheses say of hops up to `reached` is in the transcript already: it is passed over,
    and the first hop beyond adds to the text again. So nothing shown is said twice or taken back. With hotwords some of
    those pieces were undecided: all that fired from the first of them on is taken from the replay. When a piece fires
    does not depend on hotwords, so that this holds if the list was changed meanwhile.

    `hotwords` is the list in force, `own_hotwords` the client's until it has been told that the engine has it.
    """

    options: Options
    intake: Intake
    ledger: Ledger
    closing: ClosingQueue = field(default_factory=lambda: ClosingQueue(0.0))
    messages: list[ServerMessage] = field(default_factory=list)
    hotwords: HotwordList = EMPTY
    own_hotwords: HotwordList | None = None
    _heard_all: bool = False
    _segment: OpenSegment | None = None
    _stream: OpenStream | None = None
    _in_flight: InFlight | None = None
    _engine_away: bool = False
    _generation: int = -1

    @property
    def waiting(self) -> int:
        """Samples that are known to need recognition, or are not judged yet, and are not with the engine."""
        oldest = self._stream.next if self._stream else self.intake.gate.position
        return self.intake.ring.end - oldest

    @property
    def stopped(self) -> bool:
        """All audio is recognised, and all finals are said."""
        return self._heard_all and self.closing.empty

    @property
    def busy(self) -> bool:
        """The session waits for the engine, not for its client."""
        return self._in_flight is not None or self._engine_away or self.closing.full

    @property
    def nothing_until(self) -> int:
        """Nothing follows from more audio before all samples below this are here: no decision, guess or whole hop."""
        intake = self.intake
        if intake.decisions:
            return 0
        until, stream = intake.gate.undecided_until, self._stream
        if stream is None:
            return until
        if self.options.guesses:
            until = min(until, no_guess_before(stream, intake))
        hop = self.options.window.hop_samples
        return min(until, intake.gate.position + hop - (intake.gate.position - stream.next) % hop)

    def advance(self) -> None:
        """Takes the decisions that need no answer of the engine: to be called after whatever may have added one."""
        decisions = self.intake.decisions
        while decisions:
            decision = decisions[0]
            if self._segment is None:
                self._begin(decisions.popleft())
            elif self._is_empty_rest(decision):
                self._finish()
            else:
                break
        if self._segment is None:
            # No segment is open or known to come: all audio is silence that no later segment can reach back to.
            self.ledger.silence_until(self.intake.gate.earliest_start)
        self.intake.forget(self._stream.kept_from if self._stream else self.ledger.settled)

    def take_chunk(self) -> Chunk | None:
        """The next chunk for the engine, if there is one and none is in flight."""
        stream = self._stream
        if stream is None or self.busy:
            return None
        end, last = self._next_end(stream)
        if end is None:
            return None
        samples = self.intake.ring.read(stream.next, end)
        asked = self.hotwords is not stream.hotwords or self.own_hotwords is not None
        news = self.hotwords if asked else None
        keep_from = max(self._heard_from() - stream.start, 0) if self.options.second_pass else None
        closed = self._closed(stream, end, last)
        chunk = Chunk(stream.generation, stream.sequence, self.options.window, samples, last, news, keep_from, closed)
        self._in_flight = InFlight(stream.sequence, end, last, None if news is None else self.own_hotwords,
                                    closed is not None)
        stream.hotwords = self.hotwords
        stream.sequence += 1
        stream.next = end
        return chunk

    def take_guess(self) -> Guess | None:
        """What the second pass may begin with, before it is known whether the segment ends here."""
        stream = self._stream
        if stream is None or self._engine_away or self.intake.decisions:
            return None
        begin = max(self._heard_from() - stream.start, 0)
        return next_guess(stream, self.intake, begin, self.options.window.hop_samples)

    def receive_hypothesis(self, hypothesis: Hypothesis) -> None:
        """The answer to the chunk in flight; any other is counted and dropped."""
        flight, stream = self._in_flight, self._stream
        if flight is None or (hypothesis.generation, hypothesis.sequence) != (stream.generation, flight.sequence):
            self.ledger.stale_hypotheses += 1
            return
        self._in_flight = None
        if hypothesis.error is not None:
            self._fail(flight.end, hypothesis.error)
        else:
            self._accept(flight, hypothesis)
        self.advance()

    def receive_second_pass(self, second_pass: SecondPass) -> None:
        """What the second pass made of a closed segment; one that nobody waits for is counted and dropped."""
        if not self.closing.settle(second_pass):
            self.ledger.stale_second_passes += 1
        self._speak()

    def take_text(self) -> tuple[int, Spoken] | None:
        """A segment and its final, to be written by the engine; None while one is under way."""
        return None if self._engine_away else self.closing.take_text()

    def receive_written(self, segment: int, scribed: Scribed | None) -> None:
        """A final as it is written; one that nobody waits for is counted and dropped."""
        if not self.closing.receive_written(segment, scribed):
            self.ledger.stale_writings += 1
        self._speak()

    def receive_time(self, now: float) -> None:
        """Finals that have waited for too long go out as they are."""
        self.closing.receive_time(now)
        self._speak()

    def lose_engine(self) -> None:
        self._engine_away = True
        self.closing.give_up()
        self._speak()
        if self._in_flight is not None:
            self._stream.losses += 1
            self._in_flight = None

    def regain_engine(self) -> None:
        if not self._engine_away:
            return
        self._engine_away = False
        stream = self._stream
        if stream is None or stream.sequence == 0:
            return
        if stream.losses >= MOST_LOSSES:
            self._fail(stream.next, "the engine was lost repeatedly at this audio")
            self.advance()
            return
        self.ledger.replays += 1
        self._generation += 1
        kept, undecided = stream.kept_from, self._segment.undecided
        decided = undecided[0].fired_at - 1 if undecided else max(stream.given, self._border(stream))
        self._stream = OpenStream(self._generation, kept, kept, stream.reached, kept, stream.given,
                               max(decided, stream.decided), losses=stream.losses)

    def abandon(self) -> int | None:
        """Forgets what is open. The generation that the engine still holds, if any."""
        stream, self._stream, self._segment, self._in_flight = self._stream, None, None, None
        self.messages.clear()
        self.closing.clear()
        self.intake.decisions.clear()
        return stream.generation if stream and stream.sequence and not self._engine_away else None

    # ---- decisions

    def _begin(self, decision: SegmentStarted | FlushMark | StopMark) -> None:
        if isinstance(decision, SegmentStarted):
            self.ledger.silence_until(decision.start)
            self._open(decision.start, decision.onset)
        elif isinstance(decision, FlushMark):
            self.ledger.flushes += 1
            self._say_after_finals(Flushed(id=decision.id, at_ms=samples_to_ms(decision.at)))
        elif isinstance(decision, StopMark):
            self.ledger.silence_until(decision.at)
            self._heard_all = True
        else:
            raise AssertionError(f"{decision} without an open segment")

    def _is_empty_rest(self, decision: object) -> bool:
        """The segment ends where its stream would begin: there is nothing to ask the engine for."""
        stream = self._stream
        return isinstance(decision, SegmentEnded) and stream.sequence == 0 and stream.next == decision.end

    def _next_end(self, stream: OpenStream) -> tuple[int | None, bool]:
        """Where the next chunk ends, if all of it is there, and whether it is the stream's last.

        Audio beyond the gate's position is held back: whether it belongs to the segment is not decided.
        """
        full = stream.next + self.options.window.hop_samples
        decisions = self.intake.decisions
        end = decisions[0].end if decisions and isinstance(decisions[0], SegmentEnded) else None
        # A hop that has been recognised before stays by itself when replayed: with the tail in one hypothesis
        # its pieces could not be told from those that are new.
        replayed = full <= stream.reached
        if end is not None and full >= end and not replayed:
            return end, True
        return (full, False) if full <= self.intake.gate.position else (None, False)

    # ---- hypotheses

    def _accept(self, flight: InFlight, hypothesis: Hypothesis) -> None:
        stream = self._stream
        new = flight.last or flight.end > stream.reached
        self._segment.receive(stream, hypothesis, new, self._border(stream))
        if new:
            stream.losses = 0
        if hypothesis.unspelt is not None and flight.own_hotwords is not None:
            self._confirm(flight.own_hotwords, hypothesis.unspelt)
        self.ledger.recognise_until(flight.end)
        stream.reached = max(stream.reached, flight.end)
        head = self.intake.decisions[0] if self.intake.decisions else None
        if flight.last:
            self._finish(flight)
        elif isinstance(head, SegmentSplit) and head.hop_end == flight.end:
            self._split(self.intake.decisions.popleft(), flight)
        elif new:
            self._show()

    def _border(self, stream: OpenStream) -> int:
        """Up to which sample hypotheses of the hops until `reached` have pieces."""
        return stream.reached - self.options.look_ahead_samples

    def _confirm(self, own: HotwordList, unspelt: list[str]) -> None:
        words = {hotword.word for hotword in own.words}
        self.messages.append(HotwordsTaken(words=len(words), unspelt=[word for word in unspelt if word in words]))
        if own is self.own_hotwords:
            self.own_hotwords = None

    def _show(self) -> None:
        segment = self._segment
        transcript = segment.transcript.extended(segment.undecided)
        shown = transcript.text, segment.transcript.stable
        if shown == segment.shown or not self.options.partials:
            return
        segment.shown = shown
        segment.revision += 1
        end = max(self._border(self._stream), segment.onset)
        tokens, confidences = transcript.told(segment.onset, end)
        self.messages.append(Partial(
            segment=segment.number, revision=segment.revision, text=transcript.text, stable=segment.transcript.stable,
            start_ms=samples_to_ms(segment.onset), end_ms=samples_to_ms(end), tokens=tokens,
            confidences=confidences,
        ))

    def _open(self, start: int, onset: int) -> None:
        self._generation += 1
        self._stream = OpenStream(self._generation, start, start, start, start)
        self._begin_segment(onset, Transcript(start))

    def _begin_segment(self, onset: int, transcript: Transcript, after_cut: bool = False) -> None:
        self._segment = OpenSegment(self.ledger.segments, onset, transcript, after_cut=after_cut)
        self.ledger.segments += 1
        self.messages.append(Speech(segment=self._segment.number, start_ms=samples_to_ms(onset)))

    def _finish(self, flight: InFlight | None = None) -> None:
        """The head of the decisions is the end of the open segment, and its text is complete."""
        decision = self.intake.decisions.popleft()
        self._segment.decide()
        self._segment.transcript.finish()
        self._close(decision.last_speech, decision.reason, flight)
        self._stream = None

    def _split(self, split: SegmentSplit, flight: InFlight) -> None:
        # Speech without a pause. To end the stream here would cut a word: the model would finish the half before
        # the cut and begin the other anew, so that the word is lost or heard twice. So the stream goes on, with
        # its caches, and only the text is closed with what has been given; a half-spelt word moves on. As tokens
        # are given a look-ahead late, the border in time lies that much before the end of the hop.
        stream = self._stream
        if self._segment.undecided:
            stream.decided = self._segment.undecided[-1].fired_at
        self._segment.decide()
        pending = self._segment.transcript.take_pending()
        border = max(split.border, self._segment.onset)
        self._close(border, "length", flight, cut=True)
        self._begin_segment(border, Transcript(border, pending), after_cut=True)
        # A replay must come to `reached` with the caches that the stream had there: they hold so many hops.
        window = self.options.window
        context = max(window.encoder_look_back, math.ceil(window.look_ahead / window.hop)) * window.hop_samples
        stream.kept_from = max(stream.kept_from, stream.reached - context)

    def _fail(self, failed_until: int, error: str) -> None:
        """The engine gave up on the stream: what was shown stands, the failed chunk is dropped, the rest goes on."""
        self.ledger.failures += 1
        resume = max(failed_until, self._stream.reached)
        self._segment.decide()
        self._segment.transcript.finish()
        self._close(self._stream.reached, "error")
        message = f"a part of the audio was not recognised: {error}"
        self._say_after_finals(Error(code="engine_failed", message=message))
        self._stream = None
        self.ledger.drop_until(resume)
        decisions = self.intake.decisions
        if decisions and isinstance(decisions[0], SegmentSplit) and decisions[0].hop_end <= resume:
            decisions.popleft()
        if decisions and isinstance(decisions[0], SegmentEnded) and decisions[0].end <= resume:
            decisions.popleft()
        else:
            self._open(resume, resume)

    def _close(self, end: int, reason: Reason, flight: InFlight | None = None, cut: bool = False) -> None:
        """The open segment ends at `end`; `flight` is the chunk that closed it, `cut`: speech goes on behind it."""
        segment = self._segment
        self._segment = None
        closing = Closing(segment.number, segment.revision + 1, segment.onset, max(end, segment.onset), reason,
                          segment.transcript, self.hotwords, self._stream.start, segment.after_cut, cut)
        if flight is not None and flight.heard_again:
            self.closing.wait((self._stream.generation, flight.sequence), closing)
        else:
            self.closing.close(closing)
            self._speak()

    def _say_after_finals(self, message: ServerMessage) -> None:
        self.closing.say(message)
        self._speak()

    def _speak(self) -> None:
        self.messages.extend(self.closing.take_messages())

    # ---- the second pass

    def _heard_from(self) -> int:
        """The first sample of the open segment that its second pass hears."""
        return self._segment.onset - (OVERLAP if self._segment.after_cut else BEFORE)

    def _closed(self, stream: OpenStream, end: int, last: bool) -> Span | None:
        """What the second pass is to hear, if the chunk up to `end` closes a segment and it is wanted."""
        decisions = self.intake.decisions
        head = decisions[0] if decisions else None
        if not self.options.second_pass:
            return None
        if last:
            until = min(head.last_voiced + BEHIND, end)
        elif isinstance(head, SegmentSplit) and head.hop_end == end:
            until = end
        else:
            return None
        begin = max(self._heard_from() - stream.start, 0)
        return Span(begin, until - stream.start) if until - stream.start > begin else None
