"""The page when its connection is cut amid a sentence: it goes on by another one, and no caption is lost or doubled."""

from __future__ import annotations

import asyncio
import json
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread

import pytest

from tests.browser.conftest import ALLOWED, FAKE_DEVICE, MICROPHONE_RATE, NO_UDP, Browse
from tests.browser.test_page import by_socket, page_texts, saved, stop, wait_for_state, wait_for_text
from tests.support.proxy import Proxy, proxy
from tests.support.server import Server
from tests.support.speaker import request

ROUNDS = 3


@pytest.fixture(scope="module")
def expected(server: Server) -> str:
    return by_socket(server, "command")


@pytest.fixture(scope="module")
def round_s(microphone: str) -> float:
    """How long the microphone takes to hear the same again."""
    with wave.open(microphone.partition("=")[2]) as file:
        return file.getnframes() / MICROPHONE_RATE


@contextmanager
def between(server: Server) -> Iterator[tuple[str, Callable[[], int]]]:
    """The server's address behind a network, and what cuts all connections there and says how many there were."""
    loop, running = asyncio.new_event_loop(), []

    async def serve() -> None:
        async with proxy(server.url) as network:
            over = asyncio.Event()
            running.extend((network, over))
            await over.wait()

    def cut() -> int:
        network: Proxy = running[0]
        loop.call_soon_threadsafe(network.cut)
        return network.connections

    thread = Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        while len(running) < 2:
            pass
        yield f"http://127.0.0.1:{running[0].port}", cut
    finally:
        loop.call_soon_threadsafe(running[1].set)
        thread.join()
        loop.close()


def spoken_to(page, expected: str) -> None:
    """Waits until a sentence is being spoken, some words in."""
    page.locator("#segments li:not(.final) p").filter(has_text=expected[:2]).first.wait_for()


def check(page, expected: str, round_s: float, within_s: float) -> None:
    """Every round of what the microphone hears stands there once, at its time."""
    page.locator("#segments li.final p").filter(has_text=expected).nth(ROUNDS - 1).wait_for()
    stop(page)
    # The microphone may have begun amid a sentence, and ended so.
    begin = page_texts(page).index(expected)
    segments = json.loads(saved(page, "json"))["segments"][begin:begin + ROUNDS]
    assert [segment["text"] for segment in segments] == ROUNDS * [expected]
    for earlier, later in zip(segments, segments[1:], strict=False):
        assert (later["start_ms"] - earlier["start_ms"]) / 1000 == pytest.approx(round_s, abs=within_s)
    assert not page.is_visible("#trouble") and not page.is_visible("#note")


def test_a_websocket_that_is_cut(server: Server, browse: Browse, microphone: str, expected: str,
                                 round_s: float) -> None:
    with between(server) as (address, cut), browse(address, *FAKE_DEVICE, *ALLOWED, microphone) as page:
        page.click("#settings summary")
        page.evaluate("localStorage.setItem('captions', JSON.stringify({way: 'websocket'}))")
        page.reload()
        page.click("#speak")
        wait_for_text(page, expected)
        for _ in range(2):
            spoken_to(page, expected)
            cut()
            wait_for_text(page, expected)
        check(page, expected, round_s, within_s=0.15)


def test_webrtc_that_is_lost_goes_on_by_a_websocket(server: Server, browse: Browse, microphone: str, expected: str,
                                                    round_s: float) -> None:
    with browse(server.http, *FAKE_DEVICE, *ALLOWED, microphone) as page:
        with page.expect_response(lambda answer: answer.request.method == "POST") as answer:
            page.click("#speak")
        wait_for_text(page, expected)
        spoken_to(page, expected)
        assert page.inner_text("#by") == "WebRTC"
        assert request(server.http + answer.value.headers["location"], "DELETE")[0] == 204
        check(page, expected, round_s, within_s=0.15)
        assert page.inner_text("#by") == "WebSocket"


def test_a_session_that_is_gone_is_told_and_another_one_begins(server: Server, browse: Browse, microphone: str,
                                                               expected: str) -> None:
    with browse(server.http, *FAKE_DEVICE, *ALLOWED, *NO_UDP, microphone) as page:
        page.route_web_socket("**/v1/stream", forget_token)
        page.click("#speak")
        wait_for_text(page, expected)
        spoken_to(page, expected)
        sockets.pop().close(code=1012)
        page.wait_for_selector("#trouble:not([hidden])")
        assert "has not kept this session" in page.inner_text("#trouble")
        assert expected in page_texts(page)
        page.click("#speak")
        wait_for_state(page, "Listening")
        assert not page.is_visible("#trouble") and expected in page_texts(page)
        stop(page)


sockets: list = []


def forget_token(socket) -> None:
    """A way to the server on which tokens become others."""
    there = socket.connect_to_server()
    sockets.append(socket)

    def pass_on(message: str | bytes) -> None:
        if isinstance(message, str) and json.loads(message)["type"] == "resume":
            message = json.dumps({**json.loads(message), "token": "door-0.another"})
        there.send(message)

    socket.on_message(pass_on)
