"""Everything that is to be measured on a CUDA device, by one command: python -m benchmarks gpu FOLDER

Each measurement is a process of its own; what it prints goes to FOLDER/NAME.txt, its last JSON object, where it prints
any and comes to its end, to FOLDER/NAME.json, and all of these, those of earlier calls too, to FOLDER/summary.json.
One that fails, or takes too long, does not keep the others from running; the exit status is then 1. `--only` takes
names of measurements and of the groups steps, sockets and finals; with `--within` all ends in so many seconds, and
what was found is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from stream_server.bench.speech import Speech

ROOT = Path(__file__).resolve().parents[1]
CORES_PER_DOOR = 4
SESSIONS = 400
"""That wait for finals: each speaks at the pace of speech, and it is processes of this machine that speak for them."""

SPEECH = "speech.pcm"

GROUPS = {
    "steps": ("doctor", "tests", "engine_fp16", "profile_step"),
    "sockets": ("capacity", "host_cost", "engine_bf16"),
    "finals": ("second_pass", "second_pass_flush", "hotwords", "parity_dtypes", "engine_fp32"),
}
"""Each takes some ten minutes; `--within` sees to it."""

LIMIT_S = 270
LIMITS_S = {"engine_fp16": 400, "capacity": 360}
"""A measurement that takes longer is ended."""

SHORTEST_S = 30
"""With less time left none is begun."""

END_S = 40
"""How long one that is told to end may take for it: its server ends in order, or would keep the device's memory."""


def measurements(folder: Path, seconds: float, model: str) -> dict[str, list[str]]:
    """The arguments of Python by the name of the measurement, the quickest and most telling first."""
    doors = str(max(1, len(os.sched_getaffinity(0)) // CORES_PER_DOOR))
    server = ["-m", "stream_server"]
    cuda = ["--model", model, "--device", "cuda"]

    def engine(dtype: str, seconds: float) -> list[str]:
        return [*server, "bench", "engine", *cuda, "--dtype", dtype, "--seconds", str(seconds), "--step-seconds",
                str(min(15.0, seconds)), "--json", "--plot", str(folder / f"engine_{dtype}.svg")]

    finals = ["-m", "benchmarks", "second_pass", *cuda, "--dtype", "fp16", "--turns", "0", "--long", "20", "--doors",
              doors, "--sessions", str(SESSIONS), "--admit", str(2 * SESSIONS), "--processes", doors, "--json"]
    batches = ["--batches", "1", "16", "256"]
    every = {
        "doctor": [*server, "doctor", "--port", "0", *cuda],
        # Without the project's settings of pytest: the plugins that other tests need may be missing there.
        "tests": ["-m", "pytest", "-q", "-c", os.devnull, "--rootdir", ".", "--import-mode", "importlib",
                  "-m", "gpu", "--durations", "10",
                  *(f"tests/models/test_{name}.py" for name in ("on_a_gpu", "program", "hotwords"))],
        "host_cost": ["-m", "benchmarks", "host_cost", "--json"],
        "engine_fp16": engine("fp16", seconds),
        "profile_step": ["-m", "benchmarks", "profile_step", *cuda, *batches, "1024"],
        "capacity": [*server, "bench", "capacity", *cuda, "--doors", doors, "--json", "--audio", str(folder / SPEECH),
                     "--plot", str(folder / "capacity.svg")],
        "engine_bf16": engine("bf16", seconds / 4),
        "second_pass": [*finals, "--seconds", "30"],
        "second_pass_flush": [*finals, "--seconds", "20", "--flush"],
        "hotwords": ["-m", "benchmarks", "step_cost", *cuda, "--dtype", "fp16", *batches, "--threads", "1",
                     "--hotwords", "200", "--without-funasr"],
        "parity_dtypes": ["-m", "benchmarks", "parity", "--dtypes", "--device", "cuda"],
        "engine_fp32": engine("fp32", seconds / 6),
    }
    return {name: every[name] for group in GROUPS.values() for name in group}


def main(argv: Sequence[str]) -> int:
    options = _options(argv)
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    every = measurements(folder, options.seconds, options.model)
    todo = [name for wish in options.only or GROUPS for name in GROUPS.get(wish, (wish,))]
    unknown = set(todo) - set(every)
    if unknown:
        allowed = ", ".join((*GROUPS, *every))
        print(f"--only {' '.join(sorted(unknown))}: unknown; allowed are {allowed}", file=sys.stderr)
        return 2
    # Raw, so that nothing need be there that decodes files.
    (folder / SPEECH).write_bytes(Speech().samples.astype("<i2").tobytes())
    end = time.monotonic() + options.within
    fine = True
    for name in todo:
        began = time.monotonic()
        left = end - began - END_S
        if left < SHORTEST_S:
            said = "left out, for want of time"
        else:
            said = _run(every[name], folder / name, min(left, LIMITS_S.get(name, LIMIT_S)))
        fine &= said == "done"
        print(f"{name:16}{time.monotonic() - began:6.0f} s  {said}", flush=True)
        # After each: who started all this may end it at any time.
        _summarise(folder, every)
    return int(not fine)


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks gpu", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="only these, in this order")
    parser.add_argument("--within", type=float, default=float("inf"), metavar="S", help="at most so many seconds")
    parser.add_argument("--seconds", type=float, default=60.0,
                        help="for which the most streams are held in fp16; in other numbers for a part of it")
    parser.add_argument("--model", default="random")
    return parser.parse_args(argv)


def _run(arguments: Sequence[str], place: Path, limit_s: float) -> str:
    """How it ended; what it said goes to `place`.txt, and its last JSON object, where it came to its end, to
    `place`.json."""
    place.with_suffix(".json").unlink(missing_ok=True)
    with place.with_suffix(".txt").open("w", encoding="utf-8") as file:
        print(f"$ python {' '.join(arguments)}", file=file, flush=True)
        # A shell that starts things in the background has made them deaf to the signal that ends this.
        ours = signal.signal(signal.SIGINT, signal.default_int_handler)
        # With whatever it starts it is one group, which ends together.
        process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdout=file, stderr=subprocess.STDOUT,
                                   process_group=0)
        signal.signal(signal.SIGINT, ours)
        # A door has a file for each socket, and is to be limited by nothing else than its time.
        with suppress(ProcessLookupError):
            _, most_files = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (most_files, most_files))
        ended = _wait(process, limit_s)
    objects = _objects(place.with_suffix(".txt").read_text("utf-8", "replace"))
    if objects and ended == "done":
        place.with_suffix(".json").write_text(json.dumps(objects[-1], ensure_ascii=False) + "\n", "utf-8")
    return ended


def _objects(said: str) -> list[dict[str, object]]:
    found = []
    for line in said.splitlines():
        with suppress(json.JSONDecodeError):
            if line.startswith("{"):
                found.append(json.loads(line))
    return found


def _wait(process: subprocess.Popen[bytes], limit_s: float) -> str:
    try:
        return "done" if process.wait(limit_s) == 0 else "FAILED"
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return f"ENDED after {limit_s:.0f} s"


def _summarise(folder: Path, names: Iterable[str]) -> None:
    found = {name: json.loads((folder / f"{name}.json").read_text("utf-8"))
             for name in names if (folder / f"{name}.json").is_file()}
    (folder / "summary.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
