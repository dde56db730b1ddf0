"""The captions page and its files, from memory, with the headers that keep everything foreign out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

DIRECTORY = Path(__file__).resolve().parents[1] / "static"
PREFIX = "/static"

TYPES = {
    ".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml", ".wav": "audio/wav",
}

HEADERS = {
    # 'self' for connections includes WebSockets of the same origin.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
                               "connect-src 'self'; media-src 'self' blob:; base-uri 'none'; form-action 'none'; "
                               "frame-ancestors 'none'",
    "Permissions-Policy": "microphone=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # Asked for each time, answered in a word while it is the same: a page never mixes files of two versions.
    "Cache-Control": "no-cache",
}


class Pages:
    """The files of a directory, without its folders, read once."""

    def __init__(self, directory: Path = DIRECTORY) -> None:
        self._files: Mapping[str, tuple[bytes, str, str]] = {
            path.name: _read(path) for path in sorted(directory.iterdir()) if path.suffix in TYPES}

    def answer(self, request: Request, name: str) -> Response:
        """A file by its name; 304 where the client has it already, 404 where there is none."""
        if name not in self._files:
            return PlainTextResponse("There is no such file.\n", HTTPStatus.NOT_FOUND)
        content, kind, tag = self._files[name]
        headers = {**HEADERS, "ETag": tag}
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(content, headers=headers, media_type=kind)

    @property
    def routes(self) -> list[Route]:
        """The files under PREFIX."""

        async def file(request: Request) -> Response:
            return self.answer(request, request.path_params["name"])

        return [Route(PREFIX + "/{name}", file)]


def _read(path: Path) -> tuple[bytes, str, str]:
    content = path.read_bytes()
    return content, TYPES[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:32]}"'
