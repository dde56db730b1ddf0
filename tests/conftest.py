"""What every test may ask for. The fixture `server` is one real server, started once for all tests that use it."""

from __future__ import annotations

pytest_plugins: list[str] = []
