"""Phantoms, training and evaluation of the reference engines for CT haemorrhage triage."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m converters.reference", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    one = commands.add_parser("train", help="make the training phantoms, train all networks, write their weights")
    one.add_argument("--cache", type=Path, metavar="DIR", help="keep training inputs here (1 GB) and use them again")
    one.add_argument("--processes", type=int, default=2, help="that make phantoms; threads that train")
    one.set_defaults(run=_train)
    two = commands.add_parser("evaluate", help="choose thresholds, measure, write figures and cards")
    two.add_argument("--processes", type=int, default=2)
    two.set_defaults(run=_evaluate)
    three = commands.add_parser(
        "build", help="build all engines in every precision, compare with the committed figures"
    )
    three.add_argument("--into", type=Path, metavar="ENGINES", help="absent: beside their cards")
    three.add_argument("--write", action="store_true", help="commit the figures instead of comparing with them")
    three.set_defaults(run=_build)
    given = parser.parse_args(arguments)
    code: int = given.run(given)
    return code


def _train(given: argparse.Namespace) -> int:
    import torch

    from converters.reference import training, weights
    from converters.reference.samples import CLASSIFIER, DETECTOR, SEGMENTER, TRAINING, cache

    torch.set_num_threads(given.processes)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) if given.cache is None else given.cache
        files = cache(TRAINING, folder / TRAINING.name, given.processes)
        classifier, detector = training.train_triage(files)
        for name, network in (
            (CLASSIFIER, classifier), (DETECTOR, detector), (SEGMENTER, training.train_segmenter(files))
        ):  # fmt: skip
            weights.save(name, network)
    return 0


def _evaluate(given: argparse.Namespace) -> int:
    from converters.reference.evaluation import evaluate

    print(evaluate(given.processes))
    return 0


def _build(given: argparse.Namespace) -> int:
    from converters.reference import builds
    from converters.reference.samples import ENGINES

    found = builds.build_all(given.into or ENGINES)
    if given.write:
        builds.write(found)
        return 0
    differing = list(builds.differences(found))
    for difference in differing:
        print(difference)
    print(f"{len(found)} engines built, {len(differing)} figures differ from those that are committed")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
