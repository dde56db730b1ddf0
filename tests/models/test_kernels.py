"""Whether int8's compiled kernels are here at all: tests of what they compute skip where they are not."""

from __future__ import annotations

import platform

import pytest

from tests.support.compiler import COMPILER
from tests.support.int8 import why_not


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="this is no x86 processor")
@pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler")
def test_they_are_built_and_of_this_version_where_there_is_a_compiler():
    assert why_not() == "" or "AVX2" in why_not()
