"""Hotwords through a real server with both of the demonstration's models: each session's own, however written.

The recording says a name that four people have in the demonstration's world, each written otherwise.
"""

from __future__ import annotations

import asyncio
import json
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import websockets

from tests.doors.conversations import NATIVE, Heard, funasr, native, pieces
from tests.support.server import Server, running_server

NAME = Path(__file__).resolve().parents[2] / "samples" / "name.wav"
NAMES = ("张伟", "章玮")
MID = 48_000
"""Samples after which the name has been said and decided, amid the sentence."""
TWICE = 4_000
"""Samples of silence that the sentence loses where it is said again without a pause."""


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("server") / "log"
    with running_server(log, "--model", "demo", "--second-model", "demo", "--doors", "2", "--threads", "1",
                        "--limits-final-deadline-ms", "60000") as running:
        yield running


@pytest.fixture(scope="module")
def sentence() -> np.ndarray:
    with wave.open(str(NAME)) as recording:
        return np.frombuffer(recording.readframes(recording.getnframes()), "<i2")


def partials(heard: Heard) -> list[str]:
    return [partial["text"] for partial in heard.of("partial") if len(partial["text"]) >= 3]


async def changing(url: str, sound: np.ndarray, begin: dict, change: dict, end: dict, **options: object) -> Heard:
    """A session whose client says `change` behind the first MID samples, once it has read the name in them."""
    heard = Heard()
    async with asyncio.timeout(60), websockets.connect(url, **options) as client:
        for message in (json.dumps(begin), *pieces(sound[:MID])):
            await client.send(message)
        while not any(name in "".join(answer.get("text", "") for answer in heard.answers) for name in NAMES):
            heard.answers.append(json.loads(await client.recv()))
        for message in (json.dumps(change), *pieces(sound[MID:]), json.dumps(end)):
            await client.send(message)
        while not (heard.answers[-1].get("is_final") or heard.of("ended")):
            heard.answers.append(json.loads(await client.recv()))
    return heard


@pytest.mark.parametrize("names", [NAMES, NAMES[::-1]])
async def test_sessions_at_once_each_have_their_own_name_in_partials_and_finals(
        both: Server, sentence: np.ndarray, names: tuple[str, str]) -> None:
    heard = await asyncio.gather(*(native(both.url, sentence, hotwords=[name, "达摩院"]) for name in names * 3))
    for each, name in zip(heard, names * 3, strict=True):
        (final,) = each.of("final")
        assert final["second_pass"] and final["text"].startswith(f"请{name}") and final["hotwords"] == [name]
        assert partials(each) and all(text.startswith(f"请{name}") for text in partials(each))


@pytest.mark.parametrize("second_pass", [False, True])
async def test_a_list_that_changes_in_mid_sentence_holds_from_there_on(both: Server, sentence: np.ndarray,
                                                                       second_pass: bool) -> None:
    """The sentence twice without a pause: behind the first name the list is the other one's."""
    heard = await changing(
        both.url + NATIVE, np.concatenate([sentence[:-TWICE], sentence]),
        {"type": "start", "vad": "none", "second_pass": second_pass, "hotwords": [NAMES[0]]},
        {"type": "hotwords", "hotwords": [NAMES[1]]}, {"type": "stop"})
    (final,) = heard.of("final")
    assert [answer["words"] for answer in heard.of("hotwords")] == [1, 1]
    first, second = (text.find(name) for text, name in zip([partials(heard)[-1]] * 2, NAMES, strict=True))
    assert first == 1 and second > 10
    if second_pass:
        # It hears all of it anew, with the list that was in force at its end.
        assert final["text"].count(NAMES[1]) == 2
    else:
        assert final["text"].startswith(f"请{NAMES[0]}") and final["text"].find(NAMES[1]) == second


@pytest.mark.parametrize("written", [
    "章玮", "章玮 达摩院", "章玮,达摩院", "达摩院，章玮、", "达摩院\n章玮", "章玮 30\n达摩院 40", '{"章玮": 20}',
    '{"章玮":"20","达摩院":"30"}', {"章玮": 20}, ["达摩院", "章玮"], '["章玮"]',
])
async def test_however_a_funasr_client_writes_its_list(both: Server, sentence: np.ndarray, written: object) -> None:
    heard = await funasr(both.url, sentence, mode="online", hotwords=written)
    assert "".join(answer["text"] for answer in heard.answers).startswith("请章玮明天")


@pytest.mark.parametrize("written", [["章玮"], [{"word": "章玮", "weight": 20}, "达摩院"], {"章玮": 20}])
async def test_however_a_list_of_our_own_protocol_is_written(both: Server, sentence: np.ndarray, written: object
                                                             ) -> None:
    heard = await native(both.url, sentence, hotwords=written, second_pass=False)
    assert heard.texts[0].startswith("请章玮明天")


async def test_modes_of_funasr_have_the_name_that_each_session_listed(both: Server, sentence: np.ndarray) -> None:
    cases = [(mode, name) for mode in ("2pass", "offline", "online") for name in NAMES]
    heard = await asyncio.gather(*(funasr(both.url, sentence, mode=mode, hotwords=json.dumps({name: 20}))
                                   for mode, name in cases))
    for each, (mode, name) in zip(heard, cases, strict=True):
        kinds = {answer["mode"] for answer in each.answers if answer["text"]}
        online = "".join(answer["text"] for answer in each.answers if answer["mode"].endswith("online"))
        assert kinds == {"2pass": {"2pass-online", "2pass-offline"}, "offline": {"offline"}, "online": {"online"}}[mode]
        assert [text[:3] for text in each.texts] == ([] if mode == "online" else [f"请{name}"])
        assert online == "" if mode == "offline" else online.startswith(f"请{name}")


async def test_a_funasr_client_that_changes_its_list_in_mid_sentence(both: Server, sentence: np.ndarray) -> None:
    heard = await changing(
        both.url, np.concatenate([sentence[:-TWICE], sentence]),
        {"mode": "online", "chunk_size": [5, 10, 5], "is_speaking": True, "vad": "none", "hotwords": NAMES[0]},
        {"hotwords": NAMES[1]}, {"is_speaking": False}, subprotocols=["binary"])
    text = "".join(answer["text"] for answer in heard.answers)
    assert text.find(NAMES[0]) == 1 and text.find(NAMES[1]) > 10
