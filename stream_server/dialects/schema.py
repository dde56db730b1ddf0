"""The JSON Schema of the native dialect, made from the message structs: `python -m stream_server.dialects.schema`."""

from __future__ import annotations

import json
from inspect import cleandoc

import msgspec

from stream_server.audio.windows import DEFAULT_WINDOWS, describe
from stream_server.dialects import ranges
from stream_server.dialects.native import LONGEST_FLUSH_ID
from stream_server.session.messages import Flush, Hotwords, Resume, ServerMessage, Start, Stop
from stream_server.speech.hotwords import LONGEST_WORD, MOST_WORDS, WEIGHTS


class StartMessage(Start, frozen=True, kw_only=True, tag="start", forbid_unknown_fields=True):
    __doc__ = cleandoc(Start.__doc__ or "")


class ResumeMessage(Resume, frozen=True, kw_only=True, tag="resume", forbid_unknown_fields=True):
    __doc__ = cleandoc(Resume.__doc__ or "")


class FlushMessage(Flush, frozen=True, kw_only=True, tag="flush", forbid_unknown_fields=True):
    __doc__ = cleandoc(Flush.__doc__ or "")


class HotwordsMessage(Hotwords, frozen=True, kw_only=True, tag="hotwords", forbid_unknown_fields=True):
    __doc__ = cleandoc(Hotwords.__doc__ or "")


class StopMessage(Stop, frozen=True, kw_only=True, tag="stop", forbid_unknown_fields=True):
    __doc__ = cleandoc(Stop.__doc__ or "")


ClientMessage = StartMessage | ResumeMessage | FlushMessage | HotwordsMessage | StopMessage


def native_schema() -> dict[str, object]:
    """Every message of both sides; `$defs/ClientMessage` and `$defs/ServerMessage` are the two unions."""
    (client, server), definitions = msgspec.json.schema_components(
        [ClientMessage, ServerMessage], ref_template="#/$defs/{name}", schema_hook=_anything)
    _narrow(definitions["StartMessage"]["properties"], ranges.START)
    _narrow(definitions["ResumeMessage"]["properties"], ranges.RESUME)
    definitions["Ready"]["properties"]["window"] = _window()
    words = _hotwords()
    definitions["HotwordsMessage"]["properties"]["hotwords"] = words
    definitions["StartMessage"]["properties"]["hotwords"] = {"anyOf": [words, {"type": "null"}], "default": None}
    for internal in ("HotwordList", "Hotword"):
        definitions.pop(internal, None)
    definitions["FlushMessage"]["properties"]["id"]["maxLength"] = LONGEST_FLUSH_ID.longest
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The native dialect of the streaming speech recognition server",
        "anyOf": [{"$ref": "#/$defs/ClientMessage"}, {"$ref": "#/$defs/ServerMessage"}],
        "$defs": {**definitions, "ClientMessage": client, "ServerMessage": server},
    }


def _anything(kind: type) -> dict[str, object]:
    if kind is object:
        return {"description": "anything"}
    raise TypeError(f"no schema for {kind}")


def _window() -> dict[str, object]:
    """What `describe` says of a window, its types read from an example."""
    whole = {"type": "integer", "minimum": 0}
    triple = {"type": "array", "items": whole, "minItems": 3, "maxItems": 3}
    example = describe(DEFAULT_WINDOWS[0])
    properties = {name: triple if isinstance(value, list) else whole for name, value in example.items()}
    return {"type": "object", "properties": properties, "required": sorted(properties)}


def _hotwords() -> dict[str, object]:
    """A list of words, with weights or without, or an object of weights; the structs hold it in one form."""
    word = {"type": "string", "minLength": 1, "maxLength": LONGEST_WORD}
    weight = {"type": "number", "minimum": WEIGHTS[0], "maximum": WEIGHTS[1]}
    weighted = {"type": "object", "properties": {"word": word, "weight": weight}, "required": ["word"],
                "additionalProperties": False}
    return {"anyOf": [
        {"type": "array", "items": {"anyOf": [word, weighted]}, "maxItems": MOST_WORDS},
        {"type": "object", "additionalProperties": weight, "maxProperties": MOST_WORDS},
    ]}


def _narrow(properties: dict[str, dict], allowed_in: dict[str, ranges.Range]) -> None:
    """The ranges, which the structs do not know."""
    for field, allowed in allowed_in.items():
        variants = properties[field].get("anyOf", [properties[field]])
        for variant in variants:
            if isinstance(allowed, ranges.WholeNumber) and variant.get("type") == "integer":
                variant.update(minimum=allowed.low, maximum=allowed.high)
            elif isinstance(allowed, ranges.Text) and variant.get("type") == "string":
                variant["maxLength"] = allowed.longest
            elif variant.get("type") == "array":
                variant.update(minItems=3, maxItems=3)
            elif variant.get("type") == "integer":
                variant.update(minimum=1)


def as_text() -> str:
    return json.dumps(native_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(as_text(), end="")
