"""Documents: a client's JSON text as an object, within bounds of size and depth, or a ClientError that says why not."""

from __future__ import annotations

import msgspec

from stream_server.errors import ClientError

DEEPEST = 8


def read_object(text: str, longest: int) -> dict[str, object]:
    """The JSON object in `text`. Raises ClientError where it is longer than `longest`, deeper than 8, or no object."""
    if len(text) > longest:
        raise ClientError("too_large", "the message is too long", value=f"{len(text)} characters",
                          allowed=f"at most {longest} characters")
    try:
        value = msgspec.json.decode(text)
    except UnicodeError:
        raise ClientError("bad_json", "the message is not Unicode", allowed="a JSON object in UTF-8") from None
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        reason = f"the message is not JSON: {error}"
        raise ClientError("bad_json", reason, value=text, allowed="a JSON object") from None
    if not isinstance(value, dict):
        raise ClientError("bad_json", "the message is not a JSON object", value=text, allowed="a JSON object")
    if _deeper_than(value, DEEPEST):
        raise ClientError("bad_json", "the message is nested too deep", value=text, allowed=f"at most {DEEPEST} levels")
    return value


def _deeper_than(value: object, levels: int) -> bool:
    if not isinstance(value, (dict, list)):
        return False
    if levels == 0:
        return True
    inner = value.values() if isinstance(value, dict) else value
    return any(_deeper_than(item, levels - 1) for item in inner)
