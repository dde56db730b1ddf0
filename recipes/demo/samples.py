"""Write `samples/`: a few recordings in held-out voices with their texts. `python -m recipes.demo.samples`."""

import wave
from pathlib import Path

import numpy as np

from recipes.demo import texts
from recipes.demo.speech import RATE, Voice, synthesise

FOLDER = Path(__file__).parents[2] / "samples"
PAUSE = np.zeros(RATE * 9 // 10, dtype=np.int16)
EDGE = np.zeros(RATE * 4 // 10, dtype=np.int16)

SAMPLES: dict[str, tuple[Voice, tuple[str, ...]]] = {
    "meeting": (Voice("f3", 165, 50, 50), ("明天下午三点半在会议室开会，讨论新闻和预算",)),
    "command": (Voice("m4", 175, 45, 50), ("把卧室的空调调到二十六度",)),
    "number": (Voice("Annie", 160, 55, 50), ("电话号码是一三八零五七二九四六一",)),
    "name": (Voice("john", 170, 50, 50), ("请章玮明天上午十点到报告厅来一下",)),
    "date": (Voice("linda", 170, 50, 50), ("二零二六年十月十八号是星期日",)),
    "long": (
        Voice("Annie", 170, 50, 50),
        (
            "通知周婕，马骏和谢刚九点一刻到办公室",
            "技术部的孙岳负责接口和测试",
            "下周数据增长了百分之三十五",
            "订三张十二月二十号去杭州的火车票",
            "提醒我星期五晚上八点给刘洋打电话",
        ),
    ),
}


def sound_of(voice: Voice, sentences: tuple[str, ...]) -> np.ndarray:
    """The sentences with pauses between them and a little silence around: int16 (time,) at 16 kHz."""
    pieces = [EDGE]
    for utterance in synthesise([(sentence, voice) for sentence in sentences]):
        pieces += [utterance.samples // 2, PAUSE]
    return np.concatenate([*pieces[:-1], EDGE])


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, (voice, sentences) in SAMPLES.items():
        with wave.open(str(FOLDER / f"{name}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes(sound_of(voice, sentences).astype("<i2").tobytes())
        (FOLDER / f"{name}.txt").write_text("".join(map(texts.spoken, sentences)) + "\n")


if __name__ == "__main__":
    main()
