"""Character error rates on held-out texts in held-out voices, clean, disturbed and joined."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recipes.demo import augment, speech, texts
from recipes.demo.geometry import DEFAULT, Window
from recipes.demo.recognise import FunasrRecogniser, Recogniser

WINDOWS = (DEFAULT, Window(8, 4), Window(4, 4))
Case = list[tuple[np.ndarray, str]]


@dataclass
class Score:
    """Sums over utterances; `cer` counts names that sound alike as equal, `cer_strict` does not."""

    utterances: int = 0
    characters: int = 0
    errors: int = 0
    strict_errors: int = 0
    wrong_first: int = 0

    def add(self, said: str, heard: str) -> None:
        alike_said, alike_heard = texts.canonical_names(said), texts.canonical_names(heard)
        self.utterances += 1
        self.characters += len(said)
        self.errors += distance(alike_said, alike_heard)
        self.strict_errors += distance(said, heard)
        self.wrong_first += alike_said[:1] != alike_heard[:1]

    @property
    def cer(self) -> float:
        return self.errors / max(1, self.characters)

    @property
    def cer_strict(self) -> float:
        return self.strict_errors / max(1, self.characters)

    @property
    def first(self) -> float:
        """The share of utterances whose first character is wrong or missing."""
        return self.wrong_first / max(1, self.utterances)


def distance(said: str, heard: str) -> int:
    """Levenshtein distance in characters."""
    row = list(range(len(heard) + 1))
    for i, a in enumerate(said, 1):
        previous, row[0] = row[0], i
        for j, b in enumerate(heard, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (a != b))
    return row[-1]


def clean_case(count: int, seed: int) -> Case:
    """Held-out utterances as they are."""
    return [(sound, text) for sound, text, _ in speech.synthesise_held_out(count, seed)]


def _corpus(case: Case) -> speech.Corpus:
    """The utterances without their silence, as the augmentation wants them; spans play no part."""
    edge = speech.RATE * 3 // 10
    sounds = [sound[edge:-edge] for sound, _ in case]
    at = np.cumsum([0, *map(len, sounds)])
    spans = np.zeros((len(case), 2), dtype=np.int32)
    return speech.Corpus(np.concatenate(sounds), at, spans, np.arange(len(case) + 1), [text for _, text in case])


def disturbed_case(case: Case, seed: int, joined: int = 1) -> Case:
    """The utterances with silence, room, level and noise; `joined` of them to each sound, with pauses."""
    random, corpus = np.random.default_rng(seed), _corpus(case)
    groups = [list(range(i, min(i + joined, len(case)))) for i in range(0, len(case), joined)]
    examples = (augment.example(random, corpus, group) for group in groups)
    return [(example.samples.astype(np.int16), example.text) for example in examples]


def _batched(recogniser: Recogniser, case: Case, window: Window) -> Iterator[tuple[str, str]]:
    for start in range(0, len(case), 16):
        part = case[start : start + 16]
        heard = recogniser.texts([sound for sound, _ in part], window)
        yield from zip((text for _, text in part), heard, strict=True)


def score(pairs: Iterator[tuple[str, str]], show: Callable[[str, str], None] | None = None) -> Score:
    """Sum up (said, heard)."""
    total = Score()
    for said, heard in pairs:
        total.add(said, heard)
        if show and texts.canonical_names(said) != texts.canonical_names(heard):
            show(said, heard)
    return total


def report(recogniser: Recogniser, count: int, seed: int) -> list[tuple[str, Window, Score]]:
    """Scores of the three cases and three windows."""
    clean = clean_case(count, seed)
    cases = {"clean": clean, "disturbed": disturbed_case(clean, seed), "joined": disturbed_case(clean, seed, 5)}
    return [
        (name, window, score(_batched(recogniser, case, window))) for name, case in cases.items() for window in WINDOWS
    ]


def funasr_report(folder: Path, count: int, seed: int) -> list[tuple[str, Window, Score]]:
    """Scores of the clean case through FunASR's own streaming code."""
    recogniser, case = FunasrRecogniser(folder), clean_case(count, seed)
    return [
        ("clean, FunASR", window, score((text, recogniser.text(sound, window)) for sound, text in case))
        for window in WINDOWS
    ]


def table(rows: list[tuple[str, Window, Score]]) -> str:
    """The scores as a Markdown table."""
    lines = ["| case | window | utterances | characters | cer | cer_strict | first character wrong |", "|" + "---|" * 7]
    for name, window, s in rows:
        chunk = f"[0,{window.center},{window.right}]"
        rates = " | ".join(f"{100 * rate:.2f} %" for rate in (s.cer, s.cer_strict, s.first))
        lines.append(f"| {name} | {chunk} | {s.utterances} | {s.characters} | {rates} |")
    return "\n".join(lines)
