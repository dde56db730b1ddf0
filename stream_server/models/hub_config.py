"""Values of FunASR's `config.yaml`, once read into a mapping: each is there and of its kind, or one clear line says so.

A value is named by its path, such as `encoder_conf.num_blocks`; `source` names the file in errors. All functions raise
ModelError.
"""

from __future__ import annotations

from collections.abc import Mapping

from stream_server.errors import ModelError

Config = Mapping[str, object]

REQUIRED = object()


def value(config: Config, path: str, source: str, default: object = REQUIRED) -> object:
    """What lies at `path`, or `default` where there is nothing."""
    found: object = config
    for name in path.split("."):
        if not isinstance(found, Mapping) or name not in found:
            if default is REQUIRED:
                raise ModelError(f"{source}: {path} is missing; needed in a model's configuration")
            return default
        found = found[name]
    return found


def check_fixed(config: Config, fixed: Config, defaults: Config, source: str, kind: str) -> None:
    """That `config` has all values of `fixed`; it may be silent where FunASR's `defaults` stand in. `kind` is what
    such a model is called in errors."""
    for path, needed in fixed.items():
        found = value(config, path, source, defaults.get(path, REQUIRED))
        if found != needed:
            raise ModelError(f"{source}: {path} is {found!r}; needed {needed!r} ({kind})")


def whole_number(config: Config, path: str, source: str, default: object = REQUIRED) -> int:
    """A whole number from 1."""
    found = value(config, path, source, default)
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise ModelError(f"{source}: {path} is {found!r}; needed a whole number from 1")
    return found


def fraction(config: Config, path: str, source: str, default: object = REQUIRED) -> float:
    """A number from 0 to 1. CIF's weights lie there: beyond 1 a frame could fire twice, which FunASR's loop does not
    do either."""
    found = value(config, path, source, default)
    if not isinstance(found, int | float) or isinstance(found, bool) or not 0 <= found <= 1:
        raise ModelError(f"{source}: {path} is {found!r}; needed a number from 0 to 1")
    return float(found)
