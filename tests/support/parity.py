"""The comparison of our streaming Paraformer with FunASR's, and its rules.

Features, encoder output and CIF's weights must agree to 1e-3, its sums to 1e-4, tokens and the frames in which they
fired exactly. A token may differ only where FunASR itself was within rounding of saying something else: its two best
log-scores lie within 1e-3, or a sum of CIF within 1e-4 of firing. Such a place is counted and listed, and the
stream's comparison ends there, since what follows depends on it.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from stream_server.audio.windows import Window
from stream_server.engine.runner import Row, RowResult
from stream_server.models.checkpoint import Model
from stream_server.models.paraformer import Heard
from stream_server.models.streaming import ParaformerRunner
from tests.support.reference import Reference, ReferenceStep

_ALLOWED = {"features": 1e-3, "encoded": 1e-3, "alphas": 1e-3, "carry": 1e-4}
"""Differences allowed. CIF's carry adds up what the weights differ by since the stream began."""

SCORES_TIE = 1e-3
FIRING_TIES = 1e-4


@dataclass
class Tally:
    """What was compared and what came of it; `worst` are the largest differences of the numbers."""

    streams: int = 0
    chunks: int = 0
    tokens: int = 0
    mismatched_tokens: int = 0
    batched_mismatched_tokens: int = 0
    tolerated: int = 0
    tokens_not_compared: int = 0
    seconds: float = 0.0
    places: list[str] = field(default_factory=list)
    worst: dict[str, float] = field(default_factory=lambda: dict.fromkeys(_ALLOWED, 0.0))

    def add(self, other: Tally) -> None:
        for item in dataclasses.fields(self):
            if item.name == "worst":
                self.worst = {name: max(value, other.worst[name]) for name, value in self.worst.items()}
            else:
                setattr(self, item.name, getattr(self, item.name) + getattr(other, item.name))

    def check(self) -> None:
        """Assert what parity means."""
        assert self.mismatched_tokens == 0, self.places
        assert self.batched_mismatched_tokens == 0, self.places
        assert all(self.worst[name] <= allowed for name, allowed in _ALLOWED.items()), self.worst
        assert self.tolerated <= max(1, self.tokens / 1000), self.places


@dataclass(frozen=True, slots=True)
class Step:
    """What FunASR said in one step, as our runner would say it, and how sure of it it was."""

    pieces: list[str]
    frames: list[int]
    margin: float
    nearest: float

    @property
    def undecided(self) -> bool:
        return self.margin < SCORES_TIE or self.nearest < FIRING_TIES

    def agrees(self, result: RowResult) -> bool:
        return result.error is None and (self.pieces, self.frames) == (result.pieces, result.frames)


@dataclass(frozen=True, slots=True)
class Recorded:
    """A stream and FunASR's word on it."""

    name: str
    window: Window
    pieces: Sequence[np.ndarray]
    steps: list[Step]


class Listener:
    """Stands in for the network and keeps what the last step heard."""

    def __init__(self, network: object) -> None:
        self._network = network
        self.say = network.say
        self.heard: Heard | None = None

    def hear(self, *arguments: object) -> Heard:
        self.heard = self._network.hear(*arguments)
        return self.heard


def listen(model: Model, windows: Sequence[Window], slots: int) -> tuple[ParaformerRunner, Listener]:
    """A runner whose insides can be looked at."""
    runner = ParaformerRunner(model, windows, slots)
    runner.network = Listener(model.network)
    return runner, runner.network


def compare_alone(
    reference: Reference, runner: ParaformerRunner, listener: Listener, pieces: Sequence[np.ndarray], window: Window,
    name: str,
) -> tuple[Recorded, Tally]:
    """One stream through both, step by step, alone in our batch."""
    tally, steps = Tally(streams=1, seconds=sum(map(len, pieces)) / 16_000), []
    vocabulary, comparing = runner.vocabulary, True
    slot = random.Random(name).randrange(runner.slots)
    for number, said in enumerate(reference.stream(pieces, window)):
        row = Row(slot, pieces[number], first=number == 0, last=number == len(pieces) - 1)
        (result,) = runner.run(window, [row])
        _measure(tally, said, listener.heard)
        step = _as_step(said, vocabulary)
        steps.append(step)
        tally.chunks += 1
        comparing = comparing and _compare(tally, step, result, f"{name} {window} step {number}")
        if comparing:
            tally.tokens += len(step.pieces)
        else:
            tally.tokens_not_compared += len(step.pieces)
    return Recorded(name, window, pieces, steps), tally


def compare_together(
    runner: ParaformerRunner, streams: Sequence[Recorded], random_: random.Random, busiest: int = 16
) -> Tally:
    """All streams through one runner, up to `busiest` at once: they join, pause, end and reuse slots at random.

    Every stream must say what FunASR said of it alone. Counts into `batched_mismatched_tokens`.
    """
    tally, waiting, running = Tally(), list(streams), {}
    random_.shuffle(waiting)
    free = list(range(min(runner.slots, busiest)))
    while waiting or running:
        while waiting and free and (not running or random_.random() < 0.6):
            running[free.pop(random_.randrange(len(free)))] = (waiting.pop(), 0)
        window = random_.choice([stream.window for stream, _ in running.values()])
        ready = [slot for slot, (stream, _) in running.items() if stream.window == window and random_.random() < 0.85]
        random_.shuffle(ready)
        for slot, result in zip(ready, _run(runner, window, ready, running), strict=True):
            stream, number = running.pop(slot)
            ended = number + 1 == len(stream.steps)
            if not _agrees_in_batch(tally, stream, number, result) or ended:
                free.append(slot)
            else:
                running[slot] = (stream, number + 1)
    return tally


def _run(runner: ParaformerRunner, window: Window, ready: list[int], running: dict) -> list[RowResult]:
    rows = []
    for slot in ready:
        stream, number = running[slot]
        rows.append(Row(slot, stream.pieces[number], first=number == 0, last=number + 1 == len(stream.steps)))
    return runner.run(window, rows)


def _agrees_in_batch(tally: Tally, stream: Recorded, number: int, result: RowResult) -> bool:
    step = stream.steps[number]
    if step.agrees(result):
        return True
    if not step.undecided:
        tally.batched_mismatched_tokens += _differing(step, result)
        tally.places.append(f"in a batch: {_place(f'{stream.name} {stream.window} step {number}', step, result)}")
    return False


def _compare(tally: Tally, step: Step, result: RowResult, name: str) -> bool:
    """Count one step; whether the stream's comparison goes on."""
    if step.agrees(result):
        return True
    tally.places.append(_place(name, step, result))
    if step.undecided:
        tally.tolerated += 1
        return False
    tally.mismatched_tokens += _differing(step, result)
    return True


def _place(name: str, step: Step, result: RowResult) -> str:
    said = f"FunASR {step.pieces} at {step.frames}, we {result.error or result.pieces} at {result.frames}"
    return f"{name}: {said}; margin {step.margin:.1e}, CIF {step.nearest:.1e}"


def _differing(step: Step, result: RowResult) -> int:
    theirs = list(zip(step.pieces, step.frames, strict=True))
    ours = list(zip(result.pieces, result.frames, strict=True))
    longest = max(len(theirs), len(ours), 1)
    return max(1, longest - sum(a == b for a, b in zip(theirs, ours, strict=False)))


def _as_step(said: ReferenceStep, vocabulary: Sequence[str]) -> Step:
    kept = [(vocabulary[id_], frame) for id_, frame in zip(said.ids, said.frames, strict=True) if id_ > 2]
    pieces, frames = [piece for piece, _ in kept], [frame for _, frame in kept]
    return Step(pieces, frames, min(said.margins, default=1.0), said.nearest)


def _measure(tally: Tally, said: ReferenceStep, heard: Heard) -> None:
    pairs = {
        "features": (said.features, heard.features[0]),
        "encoded": (said.encoded, heard.encoded[0].float()),
        "alphas": (said.alphas, heard.alphas[0]),
    }
    for name, (theirs, ours) in pairs.items():
        tally.worst[name] = max(tally.worst[name], _distance(theirs, ours[: len(theirs)]))
    apart = abs(said.carry - float(heard.tokens.carry[0]))
    # Just below a token and just above one is next to each other.
    tally.worst["carry"] = max(tally.worst["carry"], min(apart, 1 - apart))


def _distance(theirs: Tensor, ours: Tensor) -> float:
    assert theirs.shape == ours.shape
    return float(torch.max((theirs - ours).abs())) if theirs.numel() else 0.0
