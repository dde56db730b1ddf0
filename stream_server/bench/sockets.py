"""So many sockets that speak all the time, at the pace of speech, against one server: how late its text is.

The load itself is `stream_client.load`: an open loop of its own processes. Sessions are push-to-talk (`vad` is
`none`), so that there is no silence to rest in and every hop costs a step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stream_client import Wishes
from stream_client.load import Figures, Load, run
from stream_client.load.ruler import Ruler, fingerprint, write_rulers
from stream_client.load.run import prepare
from stream_server.audio.windows import Window
from stream_server.bench.server import Server

MESSAGE_FRAMES = 1
"""60 ms of audio a message, as browsers and FunASR's clients send."""

MOST_MESSAGE_FRAMES = 16
WISHES = Wishes(vad="none")


@dataclass(frozen=True, slots=True)
class Point:
    """What so many sockets found. `door_seconds`: processor time of all doors meanwhile."""

    sockets: int
    figures: Figures
    door_seconds: float

    @property
    def lag_p99_ms(self) -> float:
        """Infinite where no text came at all."""
        p99 = self.figures.partial_lag.p99
        return float("inf") if p99 is None else p99

    @property
    def door_us_per_message(self) -> float:
        return 1e6 * self.door_seconds / max(1, self.figures.messages_sent)

    @property
    def faults(self) -> str:
        """What went wrong besides lateness; empty where nothing did."""
        figures = self.figures
        counts = {"refused": figures.streams_refused, "failed": figures.streams_failed,
                  "tokens missing": figures.tokens_missing, "tokens before they were due": figures.tokens_early}
        return ", ".join([*(f"{count} {name}" for name, count in counts.items() if count), *figures.failures])

    def __str__(self) -> str:
        return f"{self.sockets} sockets: p99 {self.lag_p99_ms:.0f} ms{self.faults and ', ' + self.faults}"

    def within(self, lag_ms: float) -> bool:
        return not self.faults and self.lag_p99_ms <= lag_ms

    def row(self) -> dict[str, object]:
        lag = self.figures.partial_lag
        return {"sockets": self.sockets, "p50 ms": lag.p50, "p95 ms": lag.p95, "p99 ms": lag.p99, "max ms": lag.max,
                "tokens": lag.count, "messages": self.figures.messages_sent,
                "door us/message": self.door_us_per_message, "tool busy": f"{self.figures.tool_cpu_share:.0%}",
                "faults": self.faults or "none"}


class Crowd:
    """Sockets against one server: all say the same `seconds` of speech, each from a moment of its own on."""

    def __init__(self, server: Server, audio: Path, seconds: float, folder: Path) -> None:
        self._server = server
        self._audio = audio
        window = server.engine.windows[0]
        hop_s = window.hop * 0.06
        self._seconds = max(4, round(seconds / hop_s)) * hop_s
        self._ruler = folder / "ruler.json"
        self._window = window

    def prepare(self, say: Callable[[str], None]) -> None:
        """Finds out on the idle server which token comes after which hop. Raises StreamClientError.

        The load tool's own way is to wait after every message. Here every hop ends with a message for certain, so one
        long message a hop tells as much in a tenth of the time.
        """
        frames = _longest_part(self._window)
        coarse = self.load(1, 60 * frames)
        content = prepare(coarse, say)
        fine = self.load(1, 60 * MESSAGE_FRAMES)
        rulers = [_refined(ruler, frames // MESSAGE_FRAMES) for ruler in content.rulers]
        write_rulers(self._ruler, rulers, fingerprint(content.audios, fine.dialect, fine.message_ms, fine.wishes))

    def measure(self, sockets: int, seed: int = 0) -> Point:
        """One run. Raises StreamClientError where the server cannot be reached at all."""
        before = self._server.door_seconds()
        figures = run(self.load(sockets, 60 * MESSAGE_FRAMES, self._ruler, seed))
        return Point(sockets, figures, self._server.door_seconds() - before)

    def load(self, sockets: int, message_ms: int, ruler: Path | None = None, seed: int = 0) -> Load:
        """What the load tool is asked for."""
        return Load(url=self._server.address, streams=sockets, seconds=self._seconds, files=(self._audio,),
                    ramp_s=self._window.hop * 0.06, message_ms=message_ms, distinct=1, seed=seed, wishes=WISHES,
                    ruler=ruler)


def _longest_part(window: Window) -> int:
    """Frames of the longest message that ends wherever a hop does."""
    return max(frames for frames in range(1, MOST_MESSAGE_FRAMES + 1) if not window.hop % frames)


def _refined(ruler: Ruler, times: int) -> Ruler:
    """The same ruler for messages so many times shorter: a hop is complete with the last of them."""
    messages = ruler.messages * times
    return Ruler(messages, ruler.tokens, tuple(
        due * times if due <= ruler.messages else messages + 1 for due in ruler.due))
