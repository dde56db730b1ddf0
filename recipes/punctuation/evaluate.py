"""How well marks are told on held-out texts, through the server's own code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random

from recipes.demo import texts as spoken
from recipes.punctuation import texts
from stream_server.models.punctuator import Punctuator
from stream_server.speech.punctuated import ENDS, Words

_AT_ONCE = 50
_LOOK_AHEAD = (0, 1, 2, 3, 5, 8, 12)


def marks_of(punctuator: Punctuator, rows: Sequence[Words]) -> list[list[str]]:
    found = []
    for start in range(0, len(rows), _AT_ONCE):
        found += [marked.marks for marked in punctuator.step(rows[start : start + _AT_ONCE])]
    return found


class Score:
    """Counts of marks that should be, that are, and that are both."""

    def __init__(self) -> None:
        self.wanted: Counter[str] = Counter()
        self.found: Counter[str] = Counter()
        self.right: Counter[str] = Counter()

    def add(self, wanted: str, found: str) -> None:
        self.wanted[wanted] += 1
        self.found[found] += 1
        self.right[wanted] += wanted == found

    def f1(self, marks: Sequence[str]) -> tuple[float, float, float]:
        """Precision, recall and F1 in %, over all of `marks`."""
        right = sum(self.right[mark] for mark in marks)
        precision = right / max(1, sum(self.found[mark] for mark in marks))
        recall = right / max(1, sum(self.wanted[mark] for mark in marks))
        return 100 * precision, 100 * recall, 200 * precision * recall / max(1e-9, precision + recall)

    @property
    def accuracy(self) -> float:
        return 100 * sum(self.right.values()) / max(1, sum(self.wanted.values()))


def held_out(punctuator: Punctuator, count: int) -> tuple[Score, float]:
    """Over texts of the grammar, the forced last mark included; and the share of texts, %, with not a mark wrong."""
    known = [texts.read(text) for text in texts.held_out_texts(count)]
    found = marks_of(punctuator, [Words(words) for words, _ in known])
    score, whole = Score(), 0
    for (_, wanted), row in zip(known, found, strict=True):
        wanted = ["" if mark == texts.NO_MARK else mark for mark in wanted]
        whole += wanted == row
        for pair in zip(wanted, row, strict=True):
            score.add(*pair)
    return score, 100 * whole / count


def spoken_sentences(punctuator: Punctuator, count: int) -> Score:
    """Over three sentences at a time of those that the recognition model is measured on: where sentences end."""
    random, score = Random(1), Score()
    sentences = [spoken.spoken(text) for text in spoken.held_out_texts(count, 1)]
    random.shuffle(sentences)
    rows = [sentences[start : start + 3] for start in range(0, count - 2, 3)]
    found = marks_of(punctuator, [Words(list("".join(row))) for row in rows])
    for row, marks in zip(rows, found, strict=True):
        ends = set()
        for sentence in row:
            ends.add(max(ends, default=-1) + len(sentence))
        for place, mark in enumerate(marks[:-1]):
            score.add("end" if place in ends else "", "end" if mark in ENDS else "")
    return score


def flicker(punctuator: Punctuator, count: int) -> dict[int, tuple[float, float]]:
    """By how many words have followed: the share of marks shown then that are not those of the whole text, and the
    share of the whole text's marks that are shown, both in %."""
    wrong: Counter[int] = Counter()
    shown: Counter[int] = Counter()
    kept: Counter[int] = Counter()
    final: Counter[int] = Counter()
    for text in texts.held_out_texts(count):
        words, _ = texts.read(text)
        prefixes = [Words(words[:end], is_final=False) for end in range(1, len(words) + 1)]
        found = marks_of(punctuator, prefixes)
        whole = found[-1]
        for ahead in _LOOK_AHEAD:
            for place in range(len(words) - ahead):
                mark = found[place + ahead][place]
                shown[ahead] += mark != ""
                wrong[ahead] += mark != "" and mark != whole[place]
                final[ahead] += whole[place] != ""
                kept[ahead] += whole[place] != "" and mark == whole[place]
    return {ahead: (100 * wrong[ahead] / max(1, shown[ahead]), 100 * kept[ahead] / max(1, final[ahead]))
            for ahead in _LOOK_AHEAD}


def report(punctuator: Punctuator, count: int) -> str:
    """Tables in Markdown."""
    score, whole = held_out(punctuator, count)
    lines = [f"{count} held-out texts, {sum(score.wanted.values())} words: {score.accuracy:.2f} % of the marks right, "
             f"{whole:.1f} % of the texts without a fault", "", "| mark | precision | recall | F1 |",
             "| --- | --- | --- | --- |"]
    for name, marks in (*((mark, (mark,)) for mark in texts.MARKS), ("all", texts.MARKS)):
        lines.append(f"| {name} | " + " | ".join(f"{value:.1f} %" for value in score.f1(marks)) + " |")
    precision, recall, f1 = spoken_sentences(punctuator, min(count, 600)).f1(("end",))
    lines += ["", "Ends of sentences between three of those that the recognition model is measured on: "
              f"precision {precision:.1f} %, recall {recall:.1f} %, F1 {f1:.1f} %",
              "", "| words that followed | marks shown that were changed later | marks that were there already |",
              "| --- | --- | --- |"]
    for ahead, (wrong, kept) in flicker(punctuator, min(count, 150)).items():
        lines.append(f"| {ahead} | {wrong:.1f} % | {kept:.1f} % |")
    return "\n".join(lines)
