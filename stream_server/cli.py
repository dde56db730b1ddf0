"""The command `stream-server`."""

from __future__ import annotations

import argparse
import asyncio
import difflib
import os
import shlex
import shutil
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from stream_server import __version__, logs
from stream_server.bench import commands as bench
from stream_server.config import ServeSettings
from stream_server.errors import SettingsError, StreamServerError

if TYPE_CHECKING:
    from stream_server.engine.wire import EngineInfo

EXIT_SETTINGS = 2
ENVIRONMENT_PREFIX = "STREAM_SERVER_"
LISTS = ("windows", "vad_model", "ice_servers")
PATTERNS = {
    "windows": "0,HOP,LOOK_AHEAD in frames of 60 ms as 0,10,5, with the two look-backs or without: 0,10,5,4,1",
    "device": "auto, cpu, cuda or cuda:NUMBER",
    "ice_servers": "stun:HOST:PORT, turn:HOST:PORT?transport=udp or =tcp, turns:HOST:PORT?transport=tcp",
}
"""What people are told of the settings that have to match a regular expression."""


class Option(NamedTuple):
    """A setting as the command line and the environment name it. `path` leads to it within ServeSettings."""

    path: tuple[str, ...]
    field: FieldInfo

    @property
    def flag(self) -> str:
        return "--" + "-".join(self.path).replace("_", "-")

    @property
    def variable(self) -> str:
        return ENVIRONMENT_PREFIX + "_".join(self.path).upper()


def options(model: type[BaseModel] = ServeSettings, path: tuple[str, ...] = ()) -> Iterator[Option]:
    """Every setting, those of `session` and `limits` behind their group's name."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from options(field.annotation, (*path, name))
        else:
            yield Option((*path, name), field)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; its exit status."""
    parser = _parser()
    parsed = parser.parse_args(arguments)
    for remark in misspelt(os.environ):
        print(f"stream-server: {remark}", file=sys.stderr)
    try:
        if parsed.command == "serve":
            return _serve(read_settings(vars(parsed), os.environ))
        if parsed.command == "doctor":
            from stream_server.doctor import examine
            return examine(read_settings(vars(parsed), os.environ))
        if parsed.command == "bench":
            return bench.measure(read_settings(vars(parsed), os.environ, bench.DEFAULTS), parsed)
    except StreamServerError as error:
        print(f"stream-server: {error}", file=sys.stderr)
        return EXIT_SETTINGS
    parser.print_help()
    return EXIT_SETTINGS


def read_settings(given: Mapping[str, object], environment: Mapping[str, str],
                  defaults: Mapping[str, object] = MappingProxyType({})) -> ServeSettings:
    """The settings of flags, then of the environment, then `defaults`, then serve's own. Raises SettingsError in one
    line."""
    values: dict[str, object] = dict(defaults)
    named: dict[tuple[str, ...], str] = {}
    for option in options():
        value = given.get("__".join(option.path))
        named[option.path] = option.flag
        if value is None and option.variable in environment:
            value = environment[option.variable]
            named[option.path] = option.variable
            if option.path[-1] in LISTS:
                value = value.split()
        if value is not None:
            _put(values, option.path, value)
    try:
        return ServeSettings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(_in_one_line(error, named)) from None


def misspelt(environment: Mapping[str, str]) -> Iterator[str]:
    """What to say of variables that look like a setting and are none; only said, as others' may begin alike too."""
    known = {option.variable for option in options()}
    for variable in sorted(environment):
        if variable.startswith(ENVIRONMENT_PREFIX) and variable not in known:
            for nearest in difflib.get_close_matches(variable, known, 1, cutoff=0.85):
                yield f"the variable {variable} is no setting and is ignored; did you mean {nearest}?"


def _put(values: dict[str, object], path: tuple[str, ...], value: object) -> None:
    for name in path[:-1]:
        values = values.setdefault(name, {})
    values[path[-1]] = value


def _in_one_line(error: ValidationError, named: Mapping[tuple[str, ...], str]) -> str:
    said = []
    problems = error.errors()
    for problem in problems:
        if any(other["loc"][:-1] == problem["loc"] for other in problems if other["loc"]):
            continue  # what is wrong with a list without its wrong items says nothing more
        path = tuple(part for part in problem["loc"] if isinstance(part, str))
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "string_pattern_mismatch":
            message = f"needed {PATTERNS[path[-1]]}"
        if path:
            message = f"{named.get(path, '.'.join(path))} {problem['input']!r}: {message}"
        said.append(message)
    return "; ".join(said)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="stream-server", description="A streaming speech recognition server.")
    parser.add_argument("--version", action="version", version=f"stream-server {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, summary in (("serve", "run the server"),
                          ("doctor", "tell whether the server could run here, and what is missing")):
        command = commands.add_parser(
            name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=f"Each option may also be given in the environment: --host as {ENVIRONMENT_PREFIX}HOST.",
            allow_abbrev=False)
        _add_settings(command, tuple(ServeSettings.model_fields), {})
    measuring = commands.add_parser("bench", help="measure this server on this machine",
                                    description="Measures this server on this machine.")
    bench.add_measurements(measuring, partial(_add_settings, defaults=bench.DEFAULTS))
    return parser


def _add_settings(command: argparse.ArgumentParser, names: Collection[str], defaults: Mapping[str, object]) -> None:
    """Options for the settings, and groups of settings, of these names; `defaults` are only said."""
    for option in options():
        if option.path[0] in names:
            command.add_argument(
                option.flag, dest="__".join(option.path), metavar=option.path[-1].upper(),
                help=_help(option, defaults), **_values(option))


def _values(option: Option) -> dict[str, object]:
    """How many values an option has: several for a list, and a switch may be given alone."""
    if option.path[-1] in LISTS:
        return {"nargs": "+"}
    return {"nargs": "?", "const": "true"} if option.field.annotation is bool else {}


def _help(option: Option, defaults: Mapping[str, object]) -> str:
    default = defaults.get(option.path[-1], option.field.get_default(call_default_factory=True))
    if isinstance(default, tuple):
        default = " ".join(default)
    ending = "" if default is None else f" (default: {default})"
    return f"{option.field.description}{ending}".replace("%", "%%")


def _serve(settings: ServeSettings) -> int:
    from stream_server.supervisor import Supervisor

    logs.configure("supervisor", settings.log_level)
    print(f"stream-server {__version__}: starting model {settings.model}; the engine loads and warms up",
          file=sys.stderr, flush=True)
    return asyncio.run(Supervisor(settings, partial(announce, self_signed=settings.tls == "auto")).run())


def announce(address: str, info: EngineInfo, self_signed: bool = False) -> None:
    """Says that the server is ready, what it serves, and what to try."""
    window = info.windows[0]
    # No program trusts a certificate that only this server knows.
    trusting, curl = (" --insecure", "curl -k") if self_signed else ("", "curl")
    lines = [f"Ready at {address}"]
    if info.model_kind == "demo":
        lines.append("  model    demo: a DEMONSTRATION, small and trained on synthetic speech; it understands little. "
                     "For real use: --model paraformer-zh-streaming")
    elif info.model_kind == "random":
        lines.append("  model    random: a DEMONSTRATION of speed, its text means nothing")
    else:
        lines.append(f"  model    {info.model}")
    lines += [
        f"  window   {list(window.triple)}: text every {window.hop * 60} ms, {window.look_ahead * 60} ms looked ahead",
        f"  device   {info.device}, {info.dtype}, {info.capacity} sessions at once",
        f"Try:  {_client()} file {_recording()} --url {address}/v1/stream{trusting}",
        f"      any FunASR client at {address}",
        f"      {curl} {address.replace('ws', 'http', 1)}/health/ready",
    ]
    print("\n".join(lines), flush=True)


def _client() -> str:
    """The client's command as this shell can call it: an environment's commands are often not on its path."""
    beside = Path(sys.executable).with_name("stream-client")
    return "stream-client" if shutil.which("stream-client") or not beside.exists() else _from_here(beside)


def _recording() -> str:
    samples = Path(__file__).resolve().parents[1] / "samples"
    return next((_from_here(path) for path in sorted(samples.glob("*.wav"))), "RECORDING.wav")


def _from_here(path: Path) -> str:
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))
