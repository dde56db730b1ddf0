"""An engine process around the scripted runner: python -m tests.engine.scripted_process ENDPOINT SLOTS STEP_SECONDS."""

from __future__ import annotations

import sys

from stream_server.engine.process import serve
from stream_server.engine.wire import EngineInfo
from tests.support.scripted_runner import ScriptedRunner


def main() -> None:
    endpoint, slots, step_seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    runner = ScriptedRunner(slots, step_seconds=step_seconds)
    info = EngineInfo(model="scripted", model_kind="demo", windows=runner.windows, slots=slots, device="cpu",
                      dtype="none")
    serve(runner, endpoint, info, on_bound=lambda: print("bound", flush=True))


if __name__ == "__main__":
    main()
