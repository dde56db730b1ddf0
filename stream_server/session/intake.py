"""From a client's bytes to what is to be recognised: samples that are kept, and decisions about them in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stream_server.audio.pcm import PcmDecoder
from stream_server.audio.resample import Resampler
from stream_server.audio.ring import Ring
from stream_server.audio.seam import TEMPLATE, Seam
from stream_server.errors import ClientError
from stream_server.session.messages import Encoding
from stream_server.session.options import Options
from stream_server.speech.endpoint import Decision, Gate
from stream_server.speech.vad import Vad
from stream_server.units import SAMPLE_RATE

MOST_FLUSHES = 16


@dataclass(frozen=True, slots=True)
class FlushMark:
    """The client's flush `id`, after the decisions about everything received before it."""

    id: str
    at: int


@dataclass(frozen=True, slots=True)
class StopMark:
    """The end of the audio."""

    at: int


Mark = FlushMark | StopMark


class Intake:
    """Decodes, resamples, keeps and judges the audio of one session."""

    def __init__(self, options: Options, capacity: int, vad: Vad) -> None:
        """`capacity`: samples at 16 kHz that may be kept; `vad`: the detector that options name."""
        self.ring = Ring(capacity + TEMPLATE)
        self.gate = Gate(options.gate(), vad.manner)
        self.decisions: deque[Decision | Mark] = deque()
        self.position = 0
        """Whole samples that have come, counted at the rate of the audio that comes now."""
        self.encoding = options.encoding
        self.tap: Callable[[np.ndarray], None] | None = None
        """Given all samples that are heard, in order."""
        self._seam: Seam | None = None
        self._decoder = PcmDecoder(options.encoding)
        self._resampler = Resampler(options.sample_rate)
        self.vad = vad
        # Marks wait for the scores of the audio before them, which a detector may give later.
        self._marks: deque[Mark] = deque()

    def receive_audio(self, data: bytes) -> None:
        """Bytes of audio. Raises ClientError where more waits than a client that heeds back-pressure can cause."""
        if not self.has_room(len(data)):
            raise ClientError("too_large", "more audio waits for recognition than can be kept", field="audio",
                              value=f"{len(data)} bytes", allowed="send no faster than the server reads")
        samples = self._decoder.decode(data)
        self.position += len(samples)
        self._hear(self._resampler.convert(samples))

    def has_room(self, size: int) -> bool:
        """Whether `size` bytes of audio can be taken."""
        most = (size // self._decoder.sample_bytes + 2) * SAMPLE_RATE // self._resampler.sample_rate
        return most + SAMPLE_RATE <= self.ring.room

    def bytes_before(self, sample: float) -> int:
        """Bytes that may come, cut anyhow, before all samples below `sample` are here. 0 where that is not known, or a
        detector that answers later is better asked at once."""
        if self.vad.net is not None or self._seam is not None or self._resampler.sample_rate != SAMPLE_RATE:
            return 0
        # One sample may be completed by bytes that came before.
        samples = min(sample - self.ring.end, self.ring.room - SAMPLE_RATE) - 2
        return int(max(samples, 0) * self._decoder.sample_bytes)

    def receive_flush(self, id: str, waiting: int = 0) -> None:
        """Everything received before is to be finished. Raises ClientError where too many flushes wait already,
        `waiting` of them for finals."""
        waiting += sum(isinstance(item, FlushMark) for item in (*self.decisions, *self._marks))
        if waiting >= MOST_FLUSHES:
            raise ClientError("bad_state", f"{waiting} flushes wait for their answer already", field="type",
                              value="flush", allowed="wait for an answer before the next flush")
        self._hear(self._resampler.flush())
        # Before it can be reached, all that came was heard before.
        if self._seam is not None and self._seam.reached:
            self._join()
        self.vad.receive_flush()
        self._marks.append(FlushMark(id, self.ring.end))
        self.judge()

    def receive_end(self) -> int:
        """No more audio. Says how many bytes of an incomplete sample were left over."""
        left_over = self._decoder.flush()
        self._hear(self._resampler.flush())
        self._join()
        self.vad.receive_end()
        self._marks.append(StopMark(self.ring.end))
        self.judge()
        return left_over

    @property
    def sample_rate(self) -> int:
        return self._resampler.sample_rate

    def receive_resume(self, encoding: Encoding, sample_rate: int, overlap: int = 0) -> None:
        """Audio goes on after a pause that is none in the audio: what comes next begins with a whole sample, and may
        be written otherwise than before. About `overlap` samples at 16 kHz of it were heard already."""
        self._decoder.flush()
        if encoding != self.encoding:
            self.encoding, self._decoder = encoding, PcmDecoder(encoding)
        if sample_rate == self.sample_rate and not overlap and self._seam is None:
            return
        # What a seam that was not found yet held back is sent again as well.
        unjoined, self._seam = self._seam, None
        rest = self._resampler.flush()
        if unjoined is None:
            self._hear(rest)
        if sample_rate != self.sample_rate:
            self._resampler = Resampler(sample_rate)
        self.position = round(self.ring.end * sample_rate / SAMPLE_RATE)
        if overlap:
            self._seam = Seam(self.ring.read(max(self.ring.start, self.ring.end - TEMPLATE), self.ring.end), overlap)

    def forget(self, before: int) -> None:
        """Audio below the sample `before` is needed no more, but for what a seam would be found by."""
        self.ring.forget(min(before, self.ring.end - TEMPLATE))

    def _join(self) -> None:
        """Goes on after a seam with what has come behind it."""
        if self._seam is not None:
            (samples, before), self._seam = self._seam.join(), None
            self.position -= round(before * self.sample_rate / SAMPLE_RATE)
            self._hear(samples)

    def _hear(self, samples: np.ndarray) -> None:
        if self._seam is not None:
            if self._seam.receive(samples):
                self._join()
            return
        self.ring.append(samples)
        if self.tap is not None:
            self.tap(samples)
        self.vad.receive(samples)
        self.judge()

    def judge(self) -> None:
        """Takes the scores that are there. To be called too when a detector that answers later has answered."""
        scores = self.vad.take_scores()
        if self._marks:
            for score in scores:
                while self._marks and self._marks[0].at < score.end:
                    self._pass_mark()
                self.gate.receive(score)
        else:
            self.gate.receive_all(scores)
        self.decisions.extend(self.gate.take_decisions())
        while self._marks and not self.vad.outstanding:
            self._pass_mark()

    def _pass_mark(self) -> None:
        mark = self._marks.popleft()
        self.gate.cut(mark.at, "flush" if isinstance(mark, FlushMark) else "stop")
        self.decisions.extend(self.gate.take_decisions())
        self.decisions.append(mark)
