"""The C++ compiler of this machine: what it builds is optional."""

from __future__ import annotations

import shutil

COMPILER = next(filter(None, map(shutil.which, ("g++", "c++"))), None)
