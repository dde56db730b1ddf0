"""Make the punctuation model: `python -m recipes.punctuation`.  Run again after a stop, it goes on."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from recipes.punctuation import evaluate
from recipes.punctuation.export import export
from recipes.punctuation.train import Plan, train
from stream_server.models.punctuation_checkpoint import PUNCTUATION_DEMO, load_punctuation


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m recipes.punctuation", description=__doc__)
    parser.add_argument(
        "--work", type=Path, default=Path("build/punctuation"), help="for the checkpoint (default: %(default)s)"
    )
    parser.add_argument(
        "--output", type=Path, default=PUNCTUATION_DEMO, help="directory to write (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, default=1, help="of the training (default: %(default)s)")
    parser.add_argument("--texts", type=int, default=1000, help="held out, to measure on (default: %(default)s)")
    parser.add_argument("--only-evaluate", action="store_true", help="measure what is in --output")
    return parser.parse_args()


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    if not arguments.only_evaluate:
        arguments.work.mkdir(parents=True, exist_ok=True)
        export(arguments.output, train(arguments.work, Plan()).average)
    print(evaluate.report(load_punctuation(str(arguments.output)).punctuator(), arguments.texts))


if __name__ == "__main__":
    main()
