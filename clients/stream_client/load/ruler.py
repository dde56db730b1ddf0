"""What a stream's text is measured with: which message each token was waiting for."""

from __future__ import annotations

import bisect
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from stream_client.errors import MediaError
from stream_client.load.tokens import Transcript


@dataclass(frozen=True)
class Ruler:
    """Of one stream's content. `due[i]`: how many messages had been sent when token i first appeared, while each
    message waited for the answers to the one before. What came only after the end of the audio is due `messages + 1`.
    """

    messages: int
    tokens: tuple[str, ...]
    due: tuple[int, ...]


@dataclass
class Comparison:
    """One stream under load against its ruler. Lags in seconds."""

    first_partial: float | None = None
    partial: list[float] = field(default_factory=list)
    compared: int = 0
    missing: int = 0
    different: int = 0
    extra: int = 0
    early: int = 0
    """Tokens that came before what they were waiting for had been sent: the ruler is wrong there."""


def earlier(one: Ruler, other: Ruler) -> Ruler:
    """Of two rulers of the same content the text of `one`, each token due when either had it."""
    due = [min(pair) for pair in zip(one.due, other.due, strict=False)]
    return replace(one, due=(*due, *one.due[len(due):]))


def compare(ruler: Ruler, transcript: Transcript, start: float, message_s: float, *, until: float, ended: bool,
            failed: bool) -> Comparison:
    """`start` is when the first message was to be sent, `until` when the stream ended or was interrupted.

    Tokens are matched by their place in the cumulative text. A stream that failed misses all that did not come; of
    one that was interrupted nothing is known but what came.
    """
    found = Comparison()
    came = transcript.moments
    expected = len(ruler.tokens)
    if not (ended or failed):
        expected = bisect.bisect_right([start + (due - 1) * message_s for due in ruler.due], until)
    found.compared = min(expected, len(came))
    for number in range(found.compared):
        if ruler.due[number] > ruler.messages:
            continue
        lag = came[number] - (start + (ruler.due[number] - 1) * message_s)
        found.partial.append(lag)
        found.early += lag < 0
        if number == 0:
            found.first_partial = lag
    if ended or failed:
        # A text counts as it is in the end: of a stream that failed the open segment might still have changed.
        texts = transcript.tokens if ended else transcript.finals
        found.different = sum(a != b for a, b in zip(texts, ruler.tokens, strict=False))
        reached = len(texts) if ended else len(came)
        found.missing = max(0, len(ruler.tokens) - reached)
        found.extra = max(0, len(texts) - len(ruler.tokens))
    return found


def fingerprint(audios: Sequence[bytes], *said: object) -> str:
    """What a ruler was made for: the audio, and everything `said` about how it is sent."""
    digest = hashlib.sha256(repr(said).encode())
    for audio in audios:
        digest.update(hashlib.sha256(audio).digest())
    return digest.hexdigest()


def write_rulers(path: Path, rulers: Sequence[Ruler], made_for: str) -> None:
    """Keep rulers for later runs. Raises MediaError where the file cannot be written."""
    try:
        path.write_text(json.dumps({"made_for": made_for, "rulers": list(map(asdict, rulers))}, ensure_ascii=False))
    except OSError as error:
        raise MediaError(f"{path}: cannot be written ({error.strerror})") from None


def read_rulers(path: Path, made_for: str) -> list[Ruler] | None:
    """The rulers of an earlier run; None where there is no such file. Raises MediaError if they do not fit."""
    try:
        kept = json.loads(path.read_text())
        rulers = [Ruler(one["messages"], tuple(one["tokens"]), tuple(one["due"])) for one in kept["rulers"]]
        fits = kept["made_for"] == made_for
    except FileNotFoundError:
        return None
    except OSError as error:
        raise MediaError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, TypeError, KeyError):
        raise MediaError(f"{path}: not a ruler that `stream-client load` has written") from None
    if not fits:
        raise MediaError(f"{path}: made for other audio, another protocol or other wishes; name another file")
    return rulers
