"""The schema and the documents say what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import msgspec
import pytest

from stream_server.dialects import ranges
from stream_server.dialects.funasr import FunasrDialect
from stream_server.dialects.native import NativeDialect
from stream_server.dialects.schema import ClientMessage, as_text, native_schema
from stream_server.errors import ClientError
from stream_server.session.messages import Error, Flushed, ServerMessage, Speech, Start
from tests.dialects.conversation import TWO_SENTENCES

DOCS = Path(__file__).parents[2] / "docs"
SCHEMA = native_schema()


def validator(kind: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({"$ref": f"#/$defs/{kind}", "$defs": SCHEMA["$defs"]})


def examples(page: str) -> list[dict]:
    return [json.loads(block) for block in re.findall(r"```json\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)]


def table_under(page: str, heading: str) -> dict[str, list[str]]:
    text = (DOCS / page).read_text().split(f"{heading}\n", 1)[1]
    rows = re.findall(r"^\| (`.*) \|$", text.split("\n#", 1)[0], re.MULTILINE)
    return {cells[0].strip("`"): cells[1:] for cells in (row.split(" | ") for row in rows)}


PROTOCOL = examples("protocol.md")
CLIENT_TYPES = ("start", "resume", "flush", "stop")


def from_client(example: dict) -> bool:
    return example["type"] in CLIENT_TYPES or (example["type"] == "hotwords" and "hotwords" in example)


def test_the_schema_is_current() -> None:
    assert (DOCS / "schema" / "native.json").read_text() == as_text(), (
        "run: python -m stream_server.dialects.schema > docs/schema/native.json")
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("message", [
    *TWO_SENTENCES, Speech(segment=0, start_ms=1), Flushed(id="a", at_ms=2),
    Error(code="overloaded", message="m", fatal=True, retry_after_s=5),
], ids=lambda message: type(message).__name__)
def test_what_is_sent_is_in_the_schema(message: ServerMessage) -> None:
    (text,) = NativeDialect().send(message)
    validator("ServerMessage").validate(json.loads(text))


@pytest.mark.parametrize("example", PROTOCOL, ids=lambda example: example["type"])
def test_examples_of_the_protocol(example: dict) -> None:
    if not from_client(example):
        validator("ServerMessage").validate(example)
        assert json.loads(msgspec.json.encode(msgspec.convert(example, ServerMessage))) == example
        return
    validator("ClientMessage").validate(example)
    if "hotwords" not in example:
        msgspec.convert(example, ClientMessage)
    dialect = NativeDialect()
    if example["type"] not in ("start", "resume"):
        dialect.receive_text('{"type": "start"}')
    assert len(dialect.receive_text(json.dumps(example))[0]) == 1


def test_every_type_of_message_has_an_example() -> None:
    kinds = {kind.__struct_config__.tag for kind in (*ServerMessage.__args__, *ClientMessage.__args__)}
    assert {example["type"] for example in PROTOCOL} == kinds


def test_every_field_of_start_is_in_its_table() -> None:
    rows = table_under("protocol.md", "### start")
    defaults = msgspec.to_builtins(Start())
    assert set(rows) == set(Start.__struct_fields__) == set(ranges.START)
    for field, (allowed, default, _) in rows.items():
        assert default.strip("`").replace("empty", "") == json.dumps(defaults[field]).strip('"'), field
        numbers = re.match(r"(\d+) to (\d+)", allowed)
        if isinstance(ranges.START[field], ranges.WholeNumber):
            assert numbers and (int(numbers[1]), int(numbers[2])) == (ranges.START[field].low, ranges.START[field].high)


@pytest.mark.parametrize("field", sorted(ranges.START))
def test_schema_and_dialect_refuse_the_same(field: str) -> None:
    numbers = (-1, 0, 1, 7, 100, 16000, 1 << 40, 1.5)
    for value in (*numbers, None, True, "", "webrtc", "x" * 300, [], [0, 10, 5], [1, 2], {}):
        message = {"type": "start", field: value}
        try:
            ranges.check(field, value)
            refused = False
        except ClientError:
            refused = True
        if field == "chunk_size" and isinstance(value, int) and value < 1:
            refused = True
        assert refused != validator("ClientMessage").is_valid(message), (field, value)


def test_error_codes_of_the_package_are_in_the_table() -> None:
    package = DOCS.parent / "stream_server"
    used = {code for path in package.rglob("*.py")
            for code in re.findall(r'(?:ClientError\(|[^_]Error\(code=)\s*"(\w+)"', path.read_text())}
    assert used <= set(table_under("protocol.md", "### error"))


def test_examples_for_funasr_clients() -> None:
    given = examples("funasr-clients.md")
    assert {"text" in example for example in given} == {True, False}, "of both sides"
    for example in given:
        if "text" in example:
            assert {"mode", "text", "wav_name", "is_final"} <= set(example)
            assert isinstance(json.loads(example.get("timestamp", "[]")), list)
        else:
            FunasrDialect().receive_text(json.dumps(example))
