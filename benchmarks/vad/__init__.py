"""What finding speech costs, and how late and how wrong it is: `python -m benchmarks vad`.

Each detector that is here runs with the gate of sessions. Cost: processor time for a second of audio, in a process like
a door, with so many sessions at once. Quality: recordings beside the project, joined with known silences, as they are
and in noise; `speech.py` says how the truth is known, `quality.py` what is counted. `docs/vad.md` has the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

# As the supervisor does for doors, before numpy is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from benchmarks.vad import cost, quality  # noqa: E402
from benchmarks.vad.speech import Noise  # noqa: E402
from stream_server.speech.detectors import SILERO, Detectors, load  # noqa: E402
from stream_server.speech.silero import found  # noqa: E402
from tests.support import recordings  # noqa: E402

FSMN = recordings.FOLDER / "models" / "fsmn-vad"


def main(argv: Sequence[str]) -> int:
    """Measure and print; returns the exit code."""
    options = _options(argv)
    detectors = _detectors(options.vad_model)
    report: dict[str, object] = {}
    if "cost" in options.parts:
        report["cost"] = cost.measure(detectors, options.sessions, options.seconds)
        if not options.json:
            print(cost.table(report["cost"]))
    if "quality" in options.parts:
        if recordings.present():
            noises = [Noise("clean"), *(Noise(kind, ratio) for kind in options.noises for ratio in options.ratios)]
            report["quality"] = quality.measure(detectors, noises, options.end_silence_ms, options.seed)
            if not options.json:
                print(quality.table(report["quality"]))
        else:
            print(f"no quality: {recordings.ABSENT}", file=sys.stderr)
            report["quality"] = None
    if options.json:
        print(json.dumps(report))
    return 0


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks vad", description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", default=["cost", "quality"], help="cost, quality (default: both)")
    parser.add_argument("--vad-model", default=str(FSMN), metavar="DIR", help="FSMN-VAD (default: %(default)s)")
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 16, 64], help="default: %(default)s")
    parser.add_argument("--seconds", type=int, default=20, help="of audio of each session (default: %(default)s)")
    parser.add_argument("--noises", nargs="+", choices=("pink", "babble"), default=["pink", "babble"])
    parser.add_argument("--ratios", type=int, nargs="+", default=[20, 10, 5], help="of speech to noise, in dB")
    parser.add_argument("--end-silence-ms", type=int, default=800, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="of silences and noise (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON object, and nothing else")
    options = parser.parse_args(argv)
    unknown = set(options.parts) - {"cost", "quality"}
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are cost and quality")
    return options


def _detectors(fsmn: str) -> Detectors:
    """Those that are here; says of the others why they are not."""
    models = []
    if Path(fsmn).is_dir():
        models.append(fsmn)
    else:
        print(f"no fsmn: no directory {fsmn}", file=sys.stderr)
    if found() == "can be had":
        models.append(SILERO)
    else:
        print(f"no silero: it {found()}", file=sys.stderr)
    return load(models)
