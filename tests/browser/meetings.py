"""Rooms, and where their pages are."""

from __future__ import annotations

import json

from tests.support.server import Server
from tests.support.speaker import request


def new_room(server: Server, name: str = "周会 & Round") -> dict[str, str]:
    """What the server says of a room that it has just made."""
    status, _, body = request(f"{server.http}/v1/rooms", "POST", json.dumps({"name": name}), "application/json")
    assert status == 201
    return json.loads(body)


def address(server: Server, room: dict[str, str], page: str = "room", more: str = "") -> str:
    """Of the page to read, `overlay`, or with an empty name that to speak."""
    field = {"room": f"read={room['read']}", "overlay": f"room={room['read']}", "": f"speak={room['speak']}"}[page]
    return f"{server.http}/{page}?{field}{more}"
