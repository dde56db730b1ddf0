"""Sentences for the demonstration: a seeded grammar over the lexicon, and the rule for sound-alike names.

Sentences are lists of characters without punctuation, apart from `，` where the reader pauses; numbers
are written as they are read.  Everything here is plain Python, deterministic for a seed.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import chain
from random import Random

from recipes.demo import lexicon as lex

PAUSE = "，"
TRAIN_SEED = 20260701
TRAIN_COUNT = 14000
DIGITS = "零一二三四五六七八九"
NUMERALS = DIGITS + "十百千万两点分半整刻号月年第之"

TEMPLATES: tuple[str, ...] = (
    "{when}{clock}在{place}开会{p}{verb}{topic}",
    "请{person}{when}{clock}到{place}来一下",
    "{person}{adverb}{filing}了{document}",
    "{when}{span}的{topic}{meeting}会议{adverb}取消",
    "提醒我{when}{clock}给{person}打电话",
    "帮我{filing}{person}的{document}",
    "{device_verb}{room}的{device}",
    "把{room}的{device}调到{number}度",
    "{device_verb}{app}",
    "导航到{city}{place}",
    "{city}{when}的天气怎么样",
    "{city}{when}{weather}{p}气温{small}度",
    "电话号码是{phone}",
    "验证码是{code}",
    "订{small}张{date}去{city}的火车票",
    "{date}{clock}从{city}飞往{city}",
    "我想买{small}个{food}和{small}个{goods}",
    "{department}的{person}负责{topic}和{topic}",
    "{department}{verb}{topic}的{topic}",
    "{span}的{topic}增长了百分之{percent}",
    "{span}{topic}下降百分之{percent}",
    "一共{number}{unit}",
    "距离{place}还有{decimal}公里",
    "会议{clock}开始{p}{clock}结束",
    "请{people}{adverb}{verb}{topic}",
    "{connective}{people}觉得{topic}很{adjective}",
    "{person}说{topic}不够{adjective}",
    "{topic}的{topic}非常{adjective}{p}{people}都很{adjective}",
    "第{small}季度{topic}是{number}元",
    "第{small}页的{document}需要{verb}",
    "设一个{clock}的闹钟",
    "{date}是{weekday}",
    "{person}和{person}{when}去{city}出差",
    "通知{person}{p}{person}和{person}{clock}到{place}",
    "联系{city}的{person}",
    "给{person}发一条消息{p}{free}",
    "{person}的{document}在{place}",
    "主持人是{person}{p}记录人是{person}",
    "欢迎{person}{verb}{topic}",
    "{connective}{free}",
    "{number}加{number}等于多少",
    "{number}乘以{small}",
    "{phone}{p}{person}",
    "{people}{when}{clock}吃{food}",
    "{goods}在{room}的{goods}上",
    "{place}在{place}{side}",
    "{person}",
    "好的{p}{adverb}{verb}",
    "没有问题{p}谢谢{person}",
)

FIXED_WORDS = (
    "在 开会 请 到 来一下 了 的 会议 提醒我 给 打电话 帮我 把 调到 度 导航 天气怎么样 气温 电话号码是 "
    "验证码是 订 张 去 火车票 从 飞往 我想买 个 和 负责 增长 百分之 下降 一共 距离 还有 公里 开始 结束 觉得 很 "
    "说 不够 非常 都 季度 是 需要 设一个 出差 通知 联系 发一条消息 主持人 记录人 欢迎 加 等于多少 乘以 吃 上 "
    "好的 没有问题 谢谢 部门 小组 线上 年度 例行 视频"
).split()
SIDES = "左边 右边 前面 后面 旁边".split()
MEETINGS = "部门 小组 线上 年度 例行 视频".split()


def number_text(value: int) -> str:
    """Read 0..99999 in Chinese: 10 -> 十, 105 -> 一百零五, 20300 -> 两万零三百."""
    if value < 10:
        return DIGITS[value]
    text, pending_zero = "", False
    for size, unit in ((10000, "万"), (1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit, value = divmod(value, size)
        if not digit:
            pending_zero = bool(text)
            continue
        text += "零" * pending_zero
        pending_zero = False
        if digit == 1 and unit == "十" and not text:
            text += unit
        elif digit == 2 and size >= 1000:
            text += "两" + unit
        else:
            text += DIGITS[digit] + unit
    return text


def digits_text(random: Random, count: int) -> str:
    """Read `count` random digits one by one."""
    return "".join(random.choice(DIGITS) for _ in range(count))


def clock_text(random: Random) -> str:
    """A time of day: 三点, 十点半, 九点一刻, 两点零五分, 八点整."""
    hour = random.randint(1, 12)
    text = ("两" if hour == 2 else number_text(hour)) + "点"
    kind = random.random()
    if kind < 0.25:
        return text + random.choice(("半", "一刻", "三刻", "整"))
    if kind < 0.45:
        return text
    minute = random.randint(1, 59)
    return text + ("零" if minute < 10 else "") + number_text(minute) + random.choice(("分", "分", ""))


def date_text(random: Random) -> str:
    """A date, with a year in front every third time."""
    year = "" if random.random() < 0.66 else "二零" + digits_text(random, 2) + "年"
    return f"{year}{number_text(random.randint(1, 12))}月{number_text(random.randint(1, 31))}号"


def when_text(random: Random) -> str:
    """A day, a weekday or a date, often with the part of the day."""
    day = random.choice((random.choice(lex.DAYS), random.choice(lex.WEEKDAYS), date_text(random)))
    return day + (random.choice(lex.DAY_PARTS) if random.random() < 0.5 else "")


def person_text(random: Random) -> str:
    """A name, most often one of a group that sounds alike; sometimes with a title."""
    if random.random() < 0.75:
        name = random.choice(random.choice(lex.NAME_GROUPS))
    else:
        name = random.choice(lex.PLAIN_NAMES)
    return name + (random.choice(lex.TITLES) if random.random() < 0.2 else "")


def free_text(random: Random) -> str:
    """Two to seven words in free combination: no order of words can be learnt by heart."""
    return "".join(random.choice(_FREE_WORDS) for _ in range(random.randint(2, 7)))


def decimal_text(random: Random) -> str:
    """A decimal fraction: 三点一四."""
    return number_text(random.randint(0, 99)) + "点" + digits_text(random, random.randint(1, 2))


_FREE_WORDS = sorted(set(chain.from_iterable(lex.WORD_LISTS)))
FREE_SHARE = 0.3  # of the sentences are words in free combination only

SLOTS: dict[str, Callable[[Random], str]] = {
    "when": when_text,
    "clock": clock_text,
    "date": date_text,
    "person": person_text,
    "free": free_text,
    "decimal": decimal_text,
    "number": lambda random: number_text(random.randrange(10 ** random.randint(1, 5))),
    "small": lambda random: number_text(random.randint(1, 12)),
    "percent": lambda random: number_text(random.randint(1, 100)),
    "phone": lambda random: "一" + digits_text(random, 10),
    "code": lambda random: digits_text(random, random.randint(4, 6)),
    "p": lambda random: PAUSE if random.random() < 0.6 else "",
}
_CHOICES: dict[str, list[str]] = {
    "place": lex.PLACES, "verb": lex.MEETING_VERBS, "topic": lex.TOPICS, "adverb": lex.ADVERBS,
    "filing": lex.FILE_VERBS, "document": lex.DOCUMENTS, "span": lex.SPANS, "meeting": MEETINGS,
    "device_verb": lex.DEVICE_VERBS, "room": lex.ROOMS, "device": lex.DEVICES, "app": lex.APPS,
    "city": lex.CITIES, "weather": lex.WEATHER, "food": lex.FOODS, "goods": lex.GOODS,
    "department": lex.DEPARTMENTS, "unit": lex.UNITS, "people": lex.PEOPLE, "connective": lex.CONNECTIVES,
    "adjective": lex.ADJECTIVES, "weekday": lex.WEEKDAYS, "side": SIDES,
}  # fmt: skip


def filled(template: str, random: Random, own: Mapping[str, Sequence[str]] | None = None) -> str:
    """A template with words in its slots; `own` has the words of slots that are not of this grammar."""
    choices = _CHOICES | dict(own or {})

    def fill(match: re.Match[str]) -> str:
        slot = match.group(1)
        return SLOTS[slot](random) if slot in SLOTS else random.choice(choices[slot])

    return re.sub(r"{(\w+)}", fill, template)


def sentence(random: Random) -> str:
    """One sentence, with `，` where the reader pauses."""
    template = "{free}{p}{free}" if random.random() < FREE_SHARE / 2 else random.choice(TEMPLATES)
    if random.random() < FREE_SHARE / 2:
        template = "{free}"
    return filled(template, random).strip(PAUSE)


def spoken(text: str) -> str:
    """The text as a recogniser writes it: without pauses."""
    return text.replace(PAUSE, "")


def distinct_sentences(seed: int | str, avoid: frozenset[str] = frozenset()) -> Iterator[str]:
    """Endless sentences of a seed, none twice and none whose spoken form is in `avoid`."""
    random, seen = Random(seed), set(avoid)
    while True:
        text = sentence(random)
        if spoken(text) not in seen:
            seen.add(spoken(text))
            yield text


@cache
def train_texts() -> tuple[str, ...]:
    """The training sentences."""
    source = distinct_sentences(TRAIN_SEED)
    return tuple(next(source) for _ in range(TRAIN_COUNT))


def held_out_texts(count: int, seed: int) -> list[str]:
    """Sentences of a held-out seed; none of them is spoken in training."""
    source = distinct_sentences(f"held-out {seed}", frozenset(map(spoken, train_texts())))
    return [next(source) for _ in range(count)]


@cache
def words() -> frozenset[str]:
    """Every word that the grammar can say, numerals and names included."""
    names = chain.from_iterable(lex.NAME_GROUPS)
    return frozenset(chain(names, FIXED_WORDS, NUMERALS, *lex.WORD_LISTS))


@cache
def characters() -> tuple[str, ...]:
    """Every character that the grammar can say, sorted: the model's vocabulary."""
    return tuple(sorted(set("".join(words())) | set("".join(map(spoken, TEMPLATES_TEXT)))))


TEMPLATES_TEXT = tuple(re.sub(r"{\w+}", "", template) for template in TEMPLATES)


def _alike_patterns() -> list[tuple[re.Pattern[str], str]]:
    """For each group: a pattern for any mixture of its characters place by place, and its first name."""
    patterns = []
    for group in lex.NAME_GROUPS:
        places = ("[" + "".join(sorted(set(column))) + "]" for column in zip(*group, strict=True))
        patterns.append((re.compile("".join(places)), group[0]))
    return patterns


_ALIKE = _alike_patterns()


def canonical_names(text: str) -> str:
    """Write every name of a sound-alike group as the first name of its group.

    A mixture such as 章炜, which sounds the same but is nobody's name here, counts as the group too.
    """
    for pattern, first in _ALIKE:
        text = pattern.sub(first, text)
    return text
