"""Everything that is to be measured on a CUDA device, by one command: python -m benchmarks gpu FOLDER

Each measurement is a process of its own; what it prints goes to FOLDER/NAME.txt, its last JSON object, where it prints
any, to FOLDER/NAME.json, and all of these to FOLDER/summary.json. One that fails does not keep the others from
running; the exit status is then 1.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CORES_PER_DOOR = 4


def measurements(folder: Path, seconds: float, model: str) -> dict[str, list[str]]:
    """The arguments of Python by the name of the measurement, the quickest and most telling first."""
    doors = max(1, len(os.sched_getaffinity(0)) // CORES_PER_DOOR)
    server = ["-m", "stream_server"]
    cuda = ["--model", model, "--device", "cuda"]

    def engine(dtype: str) -> list[str]:
        return [*server, "bench", "engine", *cuda, "--dtype", dtype, "--seconds", str(seconds), "--json",
                "--plot", str(folder / f"engine_{dtype}.svg")]

    return {
        "doctor": [*server, "doctor", "--port", "0", *cuda],
        "engine_fp16": engine("fp16"),
        "engine_bf16": engine("bf16"),
        "tests": ["-m", "pytest", "-q", "-m", "gpu or not slow", "tests/models", "tests/engine"],
        "host_cost": ["-m", "benchmarks", "host_cost", "--json"],
        "parity_dtypes": ["-m", "benchmarks", "parity", "--dtypes", "--device", "cuda"],
        "profile_step": ["-m", "benchmarks", "profile_step", *cuda, "--batches", "1", "16", "256"],
        "capacity": [*server, "bench", "capacity", *cuda, "--doors", str(doors), "--json",
                     "--plot", str(folder / "capacity.svg")],
        "second_pass": ["-m", "benchmarks", "second_pass", *cuda, "--dtype", "fp16", "--turns", "0", "--json"],
        "hotwords": ["-m", "benchmarks", "step_cost", *cuda, "--dtype", "fp16", "--batches", "1", "16", "256",
                     "--hotwords", "200", "--without-funasr"],
        "engine_fp32": engine("fp32"),
    }


def main(argv: Sequence[str]) -> int:
    options = _options(argv)
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    todo = measurements(folder, options.seconds, options.model)
    unknown = set(options.only) - set(todo)
    if unknown:
        print(f"--only {' '.join(sorted(unknown))}: unknown; allowed are {', '.join(todo)}", file=sys.stderr)
        return 2
    statuses = {}
    for name in options.only or todo:
        began = time.monotonic()
        statuses[name] = _run(todo[name], folder / name)
        print(f"{name:16}{time.monotonic() - began:6.0f} s  {'done' if not statuses[name] else 'FAILED'}", flush=True)
    found = {name: json.loads((folder / f"{name}.json").read_text("utf-8"))
             for name in todo if (folder / f"{name}.json").is_file()}
    (folder / "summary.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return int(any(statuses.values()))


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks gpu", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="only these, in this order")
    parser.add_argument("--seconds", type=float, default=30.0, help="of steps, and of streams, for each kind of number")
    parser.add_argument("--model", default="random")
    return parser.parse_args(argv)


def _run(arguments: Sequence[str], place: Path) -> int:
    """The exit status; what it said goes to `place`.txt, its last JSON object to `place`.json."""
    place.with_suffix(".json").unlink(missing_ok=True)
    with place.with_suffix(".txt").open("w", encoding="utf-8") as file:
        print(f"$ python {' '.join(arguments)}", file=file, flush=True)
        ended = subprocess.run([sys.executable, *arguments], cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)
    said = place.with_suffix(".txt").read_text("utf-8", "replace").splitlines()
    objects = [line for line in said if line.startswith("{")]
    if objects:
        place.with_suffix(".json").write_text(objects[-1] + "\n", "utf-8")
    return ended.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
