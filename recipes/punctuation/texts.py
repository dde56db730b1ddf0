"""Texts of several sentences with all their marks: the demonstration's grammar, and more of it.

Where the demonstration's sentences may have a pause, these always have `，`: from a text alone nobody could tell
whether the reader paused. Everything here is plain Python, deterministic for a seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from random import Random

from recipes.demo import texts as spoken
from stream_server.speech.punctuated import words_of

NO_MARK = "_"
MARKS = ("，", "。", "？", "、")

_WITHOUT_ORDER = ("{free}", "{person}", "{phone}{p}{person}", "通知{person}{p}{person}和{person}{clock}到{place}")
"""Templates of the demonstration that say nothing about where a sentence ends, or pause where a list has `、`."""

QUESTIONS = (
    "{person}{when}去{city}吗", "{person}在哪里", "{document}在{place}吗", "谁负责{topic}", "{topic}{verb}了没有",
    "{people}什么时候{verb}{topic}", "为什么{people}觉得{topic}很{adjective}", "{food}多少钱一个",
    "{city}{when}会下雨吗", "你喜欢{food}还是{food}", "能不能把{room}的{device}关掉", "{when}的会议几点开始",
    "要不要{filing}{document}", "从{city}到{city}怎么走", "这个{topic}{adjective}不{adjective}", "{english}怎么使用",
    "有没有人看见我的{goods}", "{person}的电话号码是多少", "{when}{clock}可以吗", "what time is it",
    "where is the {english}",
)  # fmt: skip

STATEMENTS = (
    "如果{topic}很{adjective}，{people}就{verb}{topic}", "因为{topic}不够{adjective}，所以{people}{adverb}{verb}",
    "虽然{topic}很{adjective}，但是{people}{adverb}{verb}", "首先{verb}{topic}，然后{verb}{topic}，最后{verb}{topic}",
    "{person}、{person}和{person}负责{topic}", "我想买{small}个{food}、{small}个{food}和{small}个{goods}",
    "{adverb}{verb}{topic}、{topic}和{topic}", "{department}、{department}和{department}{when}开会",
    "通知{person}、{person}和{person}{clock}到{place}", "{city}、{city}和{city}{when}都是{weather}",
    "{device_verb}{room}的{device}、{device}和{device}", "不仅{topic}很{adjective}，而且{topic}也很{adjective}",
    "{when}{clock}，{person}在{place}{verb}{topic}", "听说{person}去了{city}，{when}才回来",
    "打开{english}", "把{document}发到{english}", "{english}的{topic}很{adjective}", "我们用{english}{verb}{topic}",
    "好的，谢谢", "对不起，我没有听清楚", "我知道了", "不用了，谢谢你", "等一下，我在{verb}{topic}",
    "the {english} is ready", "thank you", "ok, open the {english}", "please check the {english}, {name}",
)  # fmt: skip

OWN = {
    "english": (
        "email wifi app ppt pdf demo logo bug windows office excel word phone python java linux android google server "
        "AI GPU CPU VIP CEO KPI USB NBA"
    ).split(),
    "name": "tom mary john lucy".split(),
}

FREE_SHARE = 0.05
"""Of the sentences: words in free combination, whose end cannot be known."""

_STATEMENTS = tuple(
    template.replace("{p}", "，")
    for template in (*spoken.TEMPLATES, *STATEMENTS, *STATEMENTS)
    if template not in _WITHOUT_ORDER and not template.endswith(("怎么样", "等于多少"))
)
_QUESTIONS = tuple(
    (*QUESTIONS, *(template for template in spoken.TEMPLATES if template.endswith(("怎么样", "等于多少"))))
)


def sentence(random: Random) -> str:
    """One sentence with all its marks."""
    kind = random.random()
    if kind < FREE_SHARE:
        return spoken.filled("{free}。", random)
    if kind < 0.28:
        return spoken.filled(random.choice(_QUESTIONS), random, OWN) + "？"
    return spoken.filled(random.choice(_STATEMENTS), random, OWN) + "。"


def text(random: Random) -> str:
    """One to six sentences."""
    return "".join(sentence(random) for _ in range(random.choice((1, 1, 2, 2, 3, 4, 5, 6))))


def read(text: str) -> tuple[list[str], list[str]]:
    """Words as a recogniser gives them, and the mark of each; `_` for none."""
    words: list[str] = []
    marks: list[str] = []
    for word in words_of(text.replace(",", " ，")):
        if word.text in MARKS:
            marks[-1] = word.text
        else:
            words.append(word.text)
            marks.append(NO_MARK)
    return words, marks


@cache
def vocabulary() -> tuple[str, ...]:
    """Every word that the grammar can say, sorted."""
    templates = " ".join((*QUESTIONS, *STATEMENTS)).replace("{", " {").replace("}", "} ")
    words = {word.text for word in words_of(templates) if not word.text.startswith("{")}
    words |= set(spoken.characters()) | {word for group in OWN.values() for word in group}
    return tuple(sorted({word.strip(",") for word in words} - {"", *MARKS}))


def training_texts(seed: int) -> Iterator[str]:
    """Endless texts of a seed, none of which holds a sentence kept for `held_out_texts`."""
    kept = frozenset(_held_out_sentences())
    random = Random(f"training {seed}")
    while True:
        found = text(random)
        if kept.isdisjoint(sentences(found)):
            yield found


def held_out_texts(count: int) -> list[str]:
    """Texts of another seed."""
    random = Random("held out")
    return [text(random) for _ in range(count)]


def sentences(text: str) -> list[str]:
    """A text's sentences with more than a few words: short ones are said everywhere."""
    found = text.replace("？", "？\n").replace("。", "。\n").splitlines()
    return [part for part in found if len(part) > 12]


HELD_OUT = 2000


@cache
def _held_out_sentences() -> tuple[str, ...]:
    return tuple(part for found in held_out_texts(HELD_OUT) for part in sentences(found))
