"""What became of each sample of a session."""

from __future__ import annotations

from dataclasses import dataclass

from stream_server.session.messages import Ended
from stream_server.units import samples_to_ms


@dataclass(slots=True)
class Ledger:
    """Samples at 16 kHz. They are settled in order, each once: all below `settled` have been counted.

    At the end of a session received = recognised + silent + dropped.
    """

    received: int = 0
    recognised: int = 0
    silent: int = 0
    dropped: int = 0
    stale_hypotheses: int = 0
    """Hypotheses of a stream that was over or a chunk that was not in flight; their text was not used."""
    stale_second_passes: int = 0
    stale_writings: int = 0
    """Second passes that nobody waited for any more."""
    failures: int = 0
    """Chunks on which the engine failed."""
    replays: int = 0
    """Streams begun anew because the engine was lost."""
    segments: int = 0
    flushes: int = 0

    @property
    def settled(self) -> int:
        return self.recognised + self.silent + self.dropped

    def recognise_until(self, sample: int) -> None:
        self.recognised += max(sample - self.settled, 0)

    def silence_until(self, sample: int) -> None:
        self.silent += max(sample - self.settled, 0)

    def drop_until(self, sample: int) -> None:
        self.dropped += max(sample - self.settled, 0)

    def ended(self) -> Ended:
        # The sums are rounded one upon the other, so that in milliseconds too they add up.
        recognised = samples_to_ms(self.recognised)
        heard = samples_to_ms(self.recognised + self.dropped)
        received = samples_to_ms(self.received)
        return Ended(received_ms=received, recognised_ms=recognised, dropped_ms=heard - recognised,
                     silent_ms=received - heard, segments=self.segments)
