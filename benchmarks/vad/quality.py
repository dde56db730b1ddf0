"""How late and how wrong the gate is with each detector, against turns that are known.

A turn is *noticed* when the gate opens a segment that reaches into it, and its end when the gate closes the last such
segment; both by how much audio had been received by then, in messages of 20 ms that are judged at once. In a door a
net answers up to 20 ms later.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.vad.speech import Noise, Track, track
from stream_server.audio.windows import DEFAULT_WINDOWS
from stream_server.config import SessionDefaults
from stream_server.session.intake import Intake
from stream_server.session.messages import Start
from stream_server.session.options import choose_options
from stream_server.speech.detectors import Detectors
from stream_server.speech.endpoint import SegmentEnded, SegmentSplit, SegmentStarted
from stream_server.units import SAMPLE_RATE, ms_to_samples

MESSAGE = ms_to_samples(20)
NEAR = ms_to_samples(200)
"""Sound so near to speech is not called falsely heard."""
COLUMNS = ("detector", "noise", "noticed_p50_ms", "noticed_p95_ms", "lost_start_p95_ms", "end_late_p50_ms",
           "end_late_p95_ms", "missed_percent", "false_s_per_min", "false_segments", "splits", "joins", "turns")


@dataclass(frozen=True)
class Segment:
    """In samples. `noticed` and `closed`: how much audio had come when the gate opened and closed it."""

    start: int
    onset: int
    last_speech: int
    end: int
    noticed: int
    closed: int


def measure(detectors: Detectors, noises: Sequence[Noise], end_silence_ms: int, seed: int) -> list[dict[str, object]]:
    """A row of figures for each detector in each noise."""
    tracks = [track(noise, seed) for noise in noises]
    rows = []
    for kind, aggressiveness in _variants(detectors):
        name = f"{kind} {aggressiveness}" if kind == "webrtc" else kind
        print(f"{name} listens", file=sys.stderr)
        listeners = [_Listener(detectors, kind, aggressiveness, end_silence_ms) for _ in tracks]
        listen(listeners, [one.samples for one in tracks])
        rows += [{"detector": name, "noise": noise.name,
                  **figures(one, listener.segments, ms_to_samples(end_silence_ms))}
                 for noise, one, listener in zip(noises, tracks, listeners, strict=True)]
    return rows


def _variants(detectors: Detectors) -> list[tuple[str, int]]:
    return [*(("webrtc", aggressiveness) for aggressiveness in range(4)), *((kind, 0) for kind in detectors.nets)]


class _Listener:
    """A session's intake, with the defaults but for two lengths, and the segments that it decides on."""

    def __init__(self, detectors: Detectors, kind: str, aggressiveness: int, end_silence_ms: int) -> None:
        start = Start(vad=kind, vad_aggressiveness=aggressiveness, end_silence_ms=end_silence_ms,
                      max_segment_ms=60_000)
        options = choose_options(start, SessionDefaults(), DEFAULT_WINDOWS, detectors.kinds)
        self.intake = Intake(options, 1 << 20, detectors.open(kind, aggressiveness))
        self.segments: list[Segment] = []
        self._opened: tuple[SegmentStarted, int] | None = None

    def take(self) -> None:
        """What has been decided."""
        self.intake.judge()
        now = self.intake.ring.end
        while self.intake.decisions:
            decision = self.intake.decisions.popleft()
            if isinstance(decision, SegmentStarted):
                self._opened = decision, now
            elif isinstance(decision, SegmentEnded | SegmentSplit):
                began, noticed = self._opened
                split = isinstance(decision, SegmentSplit)
                end = decision.border if split else decision.end
                last_speech = end if split else decision.last_speech
                self.segments.append(Segment(began.start, began.onset, last_speech, end, noticed, now))
                self._opened = (SegmentStarted(end, end), now) if split else None
        self.intake.ring.forget(now)


def listen(listeners: Sequence[_Listener], tracks: Sequence[np.ndarray]) -> None:
    """Each hears its track, all of one length, message by message; a net judges all of them together."""
    intakes = [listener.intake for listener in listeners]
    for place in range(0, len(tracks[0]) + MESSAGE, MESSAGE):
        for intake, samples in zip(intakes, tracks, strict=True):
            if place < len(samples):
                intake.receive_audio(samples[place:place + MESSAGE].tobytes())
            else:
                intake.receive_end()
        while waiting := [intake.vad for intake in intakes if intake.vad.outstanding]:
            waiting[0].net.judge(waiting)
        for listener in listeners:
            listener.take()


def figures(heard: Track, segments: Sequence[Segment], end_silence: int) -> dict[str, object]:
    """What was late and wrong; times in ms, `missed_percent` of the speech, `false_s_per_min` of all audio."""
    noticed, lost, late, splits = [], [], [], 0
    spans = [(turn[0][0], turn[-1][1]) for turn in heard.turns]
    covered: dict[int, int] = {}
    for start, end in spans:
        mine = [place for place, segment in enumerate(segments) if segment.onset < end and segment.last_speech > start]
        for place in mine:
            covered[place] = covered.get(place, 0) + 1
        splits += max(len(mine) - 1, 0)
        if not mine:
            continue
        # One that was open before the turn, for noise or another turn, has noticed it at once.
        noticed.append(max(segments[mine[0]].noticed - start, 0))
        lost.append(max(segments[mine[0]].start - start, 0))
        late.append(segments[mine[-1]].closed - end - end_silence)
    joins = sum(count - 1 for count in covered.values())
    missed, speech = _missed(heard, segments)
    false, false_segments = _false(spans, segments)
    ms = SAMPLE_RATE / 1000

    def percentile(values: list[int], share: int) -> int | None:
        return round(float(np.percentile(values, share)) / ms) if values else None

    return {"noticed_p50_ms": percentile(noticed, 50), "noticed_p95_ms": percentile(noticed, 95),
            "lost_start_p95_ms": percentile(lost, 95), "end_late_p50_ms": percentile(late, 50),
            "end_late_p95_ms": percentile(late, 95), "missed_percent": round(100 * missed / speech, 2),
            "false_s_per_min": round(60 * false / len(heard.samples), 2), "false_segments": false_segments,
            "splits": splits, "joins": joins, "turns": len(spans)}


def _missed(heard: Track, segments: Sequence[Segment]) -> tuple[int, int]:
    """Samples of speech in no segment, and of speech."""
    recognised = np.zeros(len(heard.samples), bool)
    for segment in segments:
        recognised[segment.start:segment.end] = True
    spoken = np.zeros(len(heard.samples), bool)
    for turn in heard.turns:
        for start, end in turn:
            spoken[start:end] = True
    return int((spoken & ~recognised).sum()), int(spoken.sum())


def _false(spans: Sequence[tuple[int, int]], segments: Sequence[Segment]) -> tuple[int, int]:
    """Samples that were taken for speech and are not near any, and segments that hold none."""
    length = max(spans[-1][1], *(segment.end for segment in segments), 0) if segments else spans[-1][1]
    near = np.zeros(length + NEAR, bool)
    for start, end in spans:
        near[max(start - NEAR, 0):end + NEAR] = True
    false = sum(int((~near[segment.onset:segment.last_speech]).sum()) for segment in segments)
    empty = sum(not any(segment.onset < end and segment.last_speech > start for start, end in spans)
                for segment in segments)
    return false, empty


def table(rows: Sequence[dict[str, object]]) -> str:
    """As Markdown."""
    lines = ["| " + " | ".join(name.replace("_", " ") for name in COLUMNS) + " |", "|" + " --- |" * len(COLUMNS)]
    lines += ["| " + " | ".join("" if row[name] is None else str(row[name]) for name in COLUMNS) + " |" for row in rows]
    return "\n".join(lines)
