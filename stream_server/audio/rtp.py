"""A sender's RTP stream as continuous sound: in order, each packet at its time, silence where there is none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stream_server.audio.jitter import JitterBuffer, Packet
from stream_server.audio.timeline import Timeline

LONGEST_BRIDGE_S = 0.06
"""A gap up to this, three packets, is bridged by what was before it, mirrored and fading: recognition takes silence
amid a word for its end. Longer gaps are silence."""

Sound = np.ndarray | int
"""Samples (int16), or so many of silence."""


class RtpSound:
    """One track. The samples given out, silence included, are the sender's time since its first packet."""

    def __init__(self, decode: Callable[[bytes], np.ndarray], rate: int) -> None:
        """`decode` gives a payload's samples, int16; `rate`: samples a second, and ticks of the RTP clock."""
        self.jitter = JitterBuffer()
        self._timeline = Timeline(rate)
        self._decode = decode
        self._longest_bridge = round(LONGEST_BRIDGE_S * rate)
        self._last = np.zeros(0, np.int16)
        self._source: int | None = None

    def receive(self, source: int, packet: Packet, now: float) -> list[Sound]:
        """A packet came of the sender `source` (SSRC): what follows upon what was given out before."""
        before: list[Sound] = []
        if source != self._source:
            before = self._place(self.jitter.take_all(), now)
            self.jitter = JitterBuffer()
            self._timeline.restart()
            self._source = source
        return before + self._place(self.jitter.receive(packet, now), now)

    def take(self, now: float) -> list[Sound]:
        """What follows because time has passed. To be called a few times a second."""
        sound = self._place(self.jitter.take(now), now)
        silence = self._timeline.fill(now)
        if silence:
            sound.append(silence)
        return sound

    def _place(self, packets: list[Packet], now: float) -> list[Sound]:
        sound: list[Sound] = []
        for packet in packets:
            samples = self._decode(packet.payload) if packet.payload else ()
            if not len(samples):
                continue
            place = self._timeline.place(packet.timestamp, now)
            if place.silence:
                sound.append(self._bridge(place.silence))
            self._last = samples
            samples = samples[place.overlap:]
            if len(samples):
                sound.append(samples)
            self._timeline.advance(place.silence + len(samples))
        return sound

    def _bridge(self, length: int) -> Sound:
        if length > self._longest_bridge or not len(self._last):
            return length
        fading = np.linspace(1.0, 0.0, self._longest_bridge, dtype=np.float32)[:length]
        return (np.resize(np.concatenate((self._last[::-1], self._last)), length) * fading).astype(np.int16)
