"""How soon text that is shown becomes certain, and whether what was called certain ever changes.

`python -m benchmarks stability` speaks the held-out sentences of `benchmarks/demo_cer.py` (espeak-ng is needed) to a
server of its own: without hotwords, and with a list of the sentence's names among 100 other words. A partial says how
many of its characters are stable: only a second pass may change those. Times are of speech, how much more of it had to
be heard, and so the same on every machine: what the machine adds comes on top. The last line is one flat JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from random import Random

from benchmarks.demo_cer import BLOCK_BYTES, SEED, server
from benchmarks.hotwords import sentence
from stream_client import Ended, Event, Final, Partial, Ready, Wishes, transcribe
from stream_client.wishes import parse_chunk_size
from stream_server.bench.report import json_line, percentile, progress, table
from stream_server.units import samples_to_ms

PERCENTS = (50, 95)


@dataclass(slots=True)
class Character:
    """When a character was first shown, and when it was first called stable: milliseconds of sound heard by then."""

    shown: float
    stable: float | None = None


@dataclass(slots=True)
class Segment:
    """What was shown of one segment."""

    text: str = ""
    stable: int = 0
    characters: list[Character] = field(default_factory=list)


class Watch:
    """What one session was told: partials, and the first pass's finals; those of a second pass may say anything.

    `taken_back` characters had been called stable. Of `provisional` ones, shown and not stable at first, `changed`
    became others or went away. Of `second_passes` so many finals as `rewritten` do not begin with the stable text.
    """

    def __init__(self) -> None:
        self.taken_back = self.provisional = self.changed = self.second_passes = self.rewritten = 0
        self.segments: dict[int, Segment] = {}

    def receive(self, event: Event, heard_ms: float = 0.0) -> None:
        """An event, and how much sound the server had heard by then; others than partials and finals are no news."""
        if not isinstance(event, Partial | Final):
            return
        segment = self.segments.setdefault(event.segment, Segment())
        if isinstance(event, Partial):
            self._follow(segment, event.text, event.stable, heard_ms)
            return
        text = event.spoken or event.text
        if event.second_pass:
            self.second_passes += 1
            self.rewritten += not text.startswith(segment.text[: segment.stable])
        else:
            self._follow(segment, text, len(text), heard_ms)

    def _follow(self, segment: Segment, text: str, stable: int, at: float) -> None:
        known = segment.characters
        for place, sign in enumerate(segment.text):
            if text[place : place + 1] == sign:
                continue
            if place < segment.stable:
                self.taken_back += 1
            else:
                self.changed += 1
            known[place] = Character(at)
            self.provisional += stable <= place < len(text)
        del known[len(text) :]
        for place in range(len(known), len(text)):
            known.append(Character(at))
            self.provisional += place >= stable
        for character in known[:stable]:
            character.stable = at if character.stable is None else character.stable
        segment.text, segment.stable = text, stable


def stable_taken_back(events: Iterable[Event]) -> int:
    """Characters of one session that were called stable, and changed without a second pass: there should be none."""
    watch = Watch()
    for event in events:
        watch.receive(event)
    return watch.taken_back


@dataclass(frozen=True)
class Said:
    """An utterance: its sound, its text, when each character of it ended (ms), names in it and words that are not."""

    audio: bytes
    text: str
    ends: list[float]
    names: list[str]
    absent: list[str]


@dataclass
class Waits:
    """Of all sessions of a kind: what was watched, and in milliseconds of speech how long characters took from the
    end of their sound until they were shown, from there until they were stable, and both."""

    characters: int = 0
    stable_taken_back: int = 0
    provisional: int = 0
    changed: int = 0
    second_passes: int = 0
    rewritten: int = 0
    shown_after: list[float] = field(default_factory=list)
    stable_after_shown: list[float] = field(default_factory=list)
    stable_after: list[float] = field(default_factory=list)

    def add(self, said: Said, watch: Watch) -> None:
        self.stable_taken_back += watch.taken_back
        self.provisional += watch.provisional
        self.changed += watch.changed
        self.second_passes += watch.second_passes
        self.rewritten += watch.rewritten
        heard = [character for segment in watch.segments.values() for character in segment.characters]
        text = "".join(segment.text for segment in watch.segments.values())
        self.characters += len(text)
        stable = [character for character in heard if character.stable is not None]
        self.stable_after_shown += [character.stable - character.shown for character in stable]
        for ours, wanted, length in SequenceMatcher(None, text, said.text, autojunk=False).get_matching_blocks():
            for character, end in zip(heard[ours : ours + length], said.ends[wanted : wanted + length], strict=True):
                self.shown_after.append(character.shown - end)
                if character.stable is not None:
                    self.stable_after.append(character.stable - end)

    def row(self, name: str) -> dict[str, object]:
        times = {"shown after sound": self.shown_after, "stable after shown": self.stable_after_shown,
                 "stable after sound": self.stable_after}
        return {
            "sessions": name, "characters": self.characters, "stable taken back": self.stable_taken_back,
            "shown provisionally": self.provisional, "of these changed": self.changed,
            "second passes": self.second_passes, "stable text rewritten by them": self.rewritten,
            **{f"{what} p{percent} ms": percentile(values, percent) for what, values in times.items()
               for percent in PERCENTS},
        }


def main(argv: Sequence[str]) -> int:
    options = _options(argv)
    say = progress(options.json)
    speech = list(held_out(options.utterances, options.seed))
    say(f"{len(speech)} utterances are spoken")
    rows = asyncio.run(_measure(speech, options))
    say(table(rows))
    without, with_lists = ({name.replace(" ", "_"): value for name, value in row.items() if name != "sessions"}
                           for row in rows)
    print(json_line({
        "utterances": len(speech), "stable_taken_back": without["stable_taken_back"] + with_lists["stable_taken_back"],
        **{f"without_{name}": value for name, value in without.items()},
        **{f"hotwords_{name}": value for name, value in with_lists.items()},
    }))
    return 0


def held_out(count: int, seed: int) -> Iterable[Said]:
    """The utterances of `demo_cer`, each with a list of hotwords."""
    from recipes.demo import texts
    from recipes.demo.speech import speak_held_out

    chance = Random(f"stability {seed}")
    for utterance in speak_held_out(texts.held_out_texts(count, seed), seed):
        listed = sentence(utterance.text, chance)
        ends = [samples_to_ms(int(end)) for end in utterance.spans[:, 1]]
        yield Said(utterance.samples.astype("<i2").tobytes(), utterance.text, ends, listed.names, listed.absent)


async def _measure(speech: Sequence[Said], options: argparse.Namespace) -> list[dict[str, object]]:
    rows = []
    places = asyncio.Semaphore(options.together)
    async with server(options.model, "0,10,5", options.window, second_model=options.second_model) as url:
        for name, listed in (("without hotwords", False), ("with hotwords", True)):
            waits = Waits()

            async def recognise(said: Said, waits: Waits = waits, listed: bool = listed) -> None:
                words = (*said.names, *said.absent) if listed else ()
                wishes = Wishes(chunk_size=parse_chunk_size(options.window), hotwords=words)
                async with places:
                    waits.add(said, await _watched(said, url, wishes))

            await asyncio.gather(*(recognise(said) for said in speech))
            rows.append(waits.row(name))
    return rows


async def _watched(said: Said, url: str, wishes: Wishes) -> Watch:
    """A session as fast as the server takes it. What a partial needed to be heard is where it ends and the look-ahead
    behind that, whenever it came."""
    watch, finals = Watch(), []
    look_ahead = end_silence = 0
    async for event in transcribe(_blocks(said.audio), url=url, wishes=wishes):
        if isinstance(event, Ready):
            look_ahead, end_silence = event.window["look_ahead_ms"], event.end_silence_ms
        elif isinstance(event, Partial):
            watch.receive(event, event.end_ms + look_ahead)
        elif isinstance(event, Final):
            behind = end_silence if event.reason == "silence" else look_ahead
            finals.append(event)
            watch.receive(event, min(event.end_ms + behind, samples_to_ms(len(said.audio) // 2)))
        elif isinstance(event, Ended) and event.segments != len(finals):
            raise RuntimeError(f"{event.segments} segments had {len(finals)} finals")
    return watch


async def _blocks(audio: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(audio), BLOCK_BYTES):
        yield audio[start : start + BLOCK_BYTES]


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks stability", description=__doc__.partition("\n")[0])
    parser.add_argument("--utterances", type=int, default=500, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=SEED, help="of texts and voices (default: %(default)s)")
    parser.add_argument("--together", type=int, default=8, help="sessions at once (default: %(default)s)")
    parser.add_argument("--window", default="0,10,5", help="frames of 60 ms (default: %(default)s)")
    parser.add_argument("--model", default="demo", help="demo, or a directory (default: %(default)s)")
    parser.add_argument("--second-model", default="none", help="of a second pass (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="only the line at the end on standard output")
    return parser.parse_args(argv)
