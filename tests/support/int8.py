"""Whether int8 can be computed here, and what is absent where it cannot."""

from __future__ import annotations

import pytest

from stream_server.errors import SettingsError
from stream_server.models.quantised import check_int8


def why_not() -> str:
    """What is absent; empty where nothing is."""
    try:
        check_int8("cpu")
    except SettingsError as error:
        return str(error)
    return ""


NEEDS_INT8 = pytest.mark.skipif(bool(why_not()), reason=why_not())
