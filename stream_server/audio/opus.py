"""Opus, as WebRTC carries speech."""

from __future__ import annotations

import logging

import numpy as np

OPUS_RATE = 48_000
"""The rate of its clock and of what it is decoded to, whatever the sender's microphone had."""

log = logging.getLogger(__name__)


class OpusDecoder:
    """Decodes the packets of one stream."""

    def __init__(self) -> None:
        import av

        self._av = av
        self._codec = av.CodecContext.create("libopus", "r")
        self._codec.format = "s16"
        self._codec.layout = "mono"
        self._codec.sample_rate = OPUS_RATE

    def decode(self, payload: bytes) -> np.ndarray:
        """A packet's samples, int16 at 48 kHz, one channel; none where it is broken."""
        try:
            frames = self._codec.decode(self._av.Packet(payload))
        except self._av.FFmpegError as error:
            log.debug("a packet is no Opus: %s", error)
            return np.zeros(0, np.int16)
        return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames] or [np.zeros(0, np.int16)])
