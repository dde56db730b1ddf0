"""Make the demonstration model of the second pass: `python -m recipes.seaco`.  Run again after a stop, it goes on."""

import argparse
from pathlib import Path

import torch

from recipes.demo import speech
from recipes.demo.features import read_normalisation
from recipes.seaco import hearing
from recipes.seaco.network import STREAMING
from recipes.seaco.segments import SegmentBatches


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m recipes.seaco", description=__doc__)
    parser.add_argument("--corpus", type=Path, default=Path("build/demo"), help="made if absent (default: %(default)s)")
    parser.add_argument("--work", type=Path, default=Path("build/seaco"), help="checkpoints (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=2, help="for the synthesis (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of the training (default: %(default)s)")
    return parser.parse_args()


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    arguments.work.mkdir(parents=True, exist_ok=True)
    arguments.corpus.mkdir(parents=True, exist_ok=True)
    corpus = speech.make_corpus(arguments.corpus, arguments.processes)
    normalisation, plan = read_normalisation(STREAMING / "am.mvn"), hearing.Plan()
    hearing.train(arguments.work, SegmentBatches(corpus, normalisation, plan.seconds), plan)


if __name__ == "__main__":
    main()
