"""From probabilities of silence to where speech begins and ends, by FunASR's rules.

The decisions of FunASR's `FsmnVADStreaming` (funasr/models/fsmn_vad_streaming/model.py) for streams with any number
of segments, and nothing of its audio: a frame is 10 ms, one probability, and stands for the samples
[160 i, 160 (i + 1)). However the probabilities are cut into calls, the decisions are the same.

A frame is speech where its silence is improbable enough. A window over the last frames turns voiced and silent again
by the number of speech frames in it. When it turns voiced a segment begins, some way back; when it has been silent
for long enough the segment ends, some way back; a segment that lasts too long ends at once. After an end the window
is empty and no segment reaches back beyond it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, fields

from stream_server.errors import SettingsError
from stream_server.units import SAMPLE_RATE

FRAME_MS = 10
FRAME = FRAME_MS * SAMPLE_RATE // 1000
"""Samples of a frame."""


@dataclass(frozen=True, slots=True)
class SegmenterOptions:
    """FunASR's `vad_post_conf` as far as it matters here, by its names and with its defaults. Times in ms.

    `max_end_silence_time`: silence that ends a segment, counted from when the last `speech_to_sil_time_thres` ms of
    speech leave the window. `window_size_ms`, `sil_to_speech_time_thres`, `speech_to_sil_time_thres`: the window
    turns voiced with so much speech in it, silent with so little. `lookback_time_start_point`: what a segment's start
    lies before the window that found it. `lookahead_time_end_point`: how far its end lies in the silence.
    `max_single_segment_time`: a longer segment is cut. `speech_noise_thres`: by how much the probability of speech
    must exceed that of silence. Raises SettingsError.
    """

    max_end_silence_time: int = 800
    max_single_segment_time: int = 60_000
    window_size_ms: int = 200
    sil_to_speech_time_thres: int = 150
    speech_to_sil_time_thres: int = 150
    lookback_time_start_point: int = 200
    lookahead_time_end_point: int = 100
    speech_noise_thres: float = 0.6

    def __post_init__(self) -> None:
        for field in fields(self)[:-1]:
            value = getattr(self, field.name)
            _demand(type(value) is int and value % FRAME_MS == 0, field.name, value, f"multiples of {FRAME_MS} ms")
        self._demand_within("window_size_ms", 2 * FRAME_MS, 2_000)
        self._demand_within("sil_to_speech_time_thres", 2 * FRAME_MS, self.window_size_ms)
        self._demand_within("speech_to_sil_time_thres", 0, self.sil_to_speech_time_thres)
        self._demand_within("max_end_silence_time", self.speech_to_sil_time_thres, 60_000)
        self._demand_within("lookback_time_start_point", 0, 2_000)
        self._demand_within("lookahead_time_end_point", 0, 2_000)
        self._demand_within("max_single_segment_time", self.window_size_ms + self.lookback_time_start_point, 3_600_000)
        number = isinstance(self.speech_noise_thres, int | float) and not isinstance(self.speech_noise_thres, bool)
        _demand(number and -1 <= self.speech_noise_thres <= 1, "speech_noise_thres", self.speech_noise_thres,
                "from -1 to 1")

    def _demand_within(self, name: str, least: int, most: int) -> None:
        value = getattr(self, name)
        _demand(least <= value <= most, name, value, f"from {least} to {most} ms")


def _demand(holds: bool, name: str, value: object, allowed: str) -> None:
    if not holds:
        raise SettingsError(f"{name} is {value!r}; allowed: {allowed}")


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Speech begins at sample `start`; that is known since the samples before `known` were judged."""

    start: int
    known: int


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """Speech ends before sample `end`, because of `silence`, `length`, or the `end` of the audio."""

    end: int
    known: int
    reason: str


Decision = SpeechStarted | SpeechEnded


class Segmenter:
    """Turns probabilities of silence, frame by frame, into decisions, in order."""

    def __init__(self, options: SegmenterOptions = SegmenterOptions()) -> None:  # noqa: B008 - frozen
        # Speech is likelier than silence by the threshold, and the two make up 1.
        self._most_silence = (1.0 - options.speech_noise_thres) / 2
        self._width = options.window_size_ms // FRAME_MS
        self._turns_voiced = options.sil_to_speech_time_thres // FRAME_MS
        self._turns_silent = options.speech_to_sil_time_thres // FRAME_MS
        self._reach_back = self._width + options.lookback_time_start_point // FRAME_MS
        self._longest = options.max_single_segment_time // FRAME_MS
        self._end_silence = (options.max_end_silence_time - options.speech_to_sil_time_thres) // FRAME_MS
        # What of the silence that ended a segment does not belong to it.
        self._given_back = max(0, self._end_silence - options.lookahead_time_end_point // FRAME_MS - 1)
        self._frame = -1
        self._floor = 0
        self._start: int | None = None
        self._clear_window()

    @property
    def position(self) -> int:
        """All samples before this one have been judged."""
        return (self._frame + 1) * FRAME

    @property
    def speaking(self) -> bool:
        """A segment is open."""
        return self._start is not None

    def receive(self, silence: Iterable[float]) -> list[Decision]:
        """The next frames' probabilities of silence, and the decisions that follow."""
        decisions: list[Decision] = []
        for probability in silence:
            decision = self._judge(probability <= self._most_silence)
            if decision is not None:
                decisions.append(decision)
        return decisions

    def receive_end(self) -> list[Decision]:
        """No more frames: what is open ends with the last one."""
        return [self._end(self._frame, "end")] if self._start is not None else []

    def _judge(self, speech: bool) -> Decision | None:
        self._frame += 1
        turned = self._slide(speech)
        if self._voiced or turned:
            self._silent = 0
        else:
            self._silent += 1
        if self._start is None:
            return self._begin() if self._voiced and turned else None
        if self._silent and self._silent >= self._end_silence:
            return self._end(self._frame - self._given_back, "silence")
        if self._frame - self._start >= self._longest:
            return self._end(self._frame, "length")
        return None

    def _slide(self, speech: bool) -> bool:
        """Takes a frame into the window, and says whether the window has turned voiced or silent by it."""
        self._speech += speech - self._window[0]
        self._window.append(speech)
        if self._voiced:
            turned = self._speech <= self._turns_silent
        else:
            turned = self._speech >= self._turns_voiced
        self._voiced ^= turned
        return turned

    def _begin(self) -> SpeechStarted:
        self._start = max(self._floor, self._frame - self._reach_back)
        return SpeechStarted(self._start * FRAME, self.position)

    def _end(self, last: int, reason: str) -> SpeechEnded:
        self._start = None
        self._floor = last + 1
        self._clear_window()
        return SpeechEnded(self._floor * FRAME, self.position, reason)

    def _clear_window(self) -> None:
        self._window = deque([False] * self._width, self._width)
        self._speech = 0
        self._voiced = False
        self._silent = 0
