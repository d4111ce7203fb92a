"""Phantoms, training and evaluation of the reference engines: CT haemorrhage triage, and live endoscopy."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

CT, ENDOSCOPY = SETS = ("ct-hemorrhage", "endoscopy")


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
    for command in (one, two):
        command.add_argument("--of", choices=SETS, default=CT, help="which engines; absent: those for CT")
    three = commands.add_parser(
        "build", help="build all engines in every precision, compare with the committed figures"
    )
    three.add_argument("--into", type=Path, metavar="ENGINES", help="absent: beside their cards")
    three.add_argument("--write", action="store_true", help="commit the figures instead of comparing with them")
    three.set_defaults(run=_build)
    four = commands.add_parser("video", help="write a computed endoscopy as MP4, with its truth as JSON beside it")
    four.add_argument("path", type=Path, metavar="OUT.mp4")
    four.add_argument("--seconds", type=float, default=30.0)
    four.add_argument("--seed", type=int, default=1)
    four.add_argument("--rows", type=int, default=360)
    four.add_argument("--columns", type=int, default=480)
    four.add_argument("--frames-per-second", type=float, default=25.0)
    four.set_defaults(run=_video)
    given = parser.parse_args(arguments)
    code: int = given.run(given)
    return code


def _train(given: argparse.Namespace) -> int:
    import torch

    if given.of == ENDOSCOPY:
        return _train_endoscopy(given)
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


def _train_endoscopy(given: argparse.Namespace) -> int:
    import torch

    from converters.reference.endoscopy import training, weights
    from converters.reference.endoscopy.samples import NAMES, TRAINING, cache

    torch.set_num_threads(given.processes)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) if given.cache is None else given.cache
        files = cache(TRAINING, folder / TRAINING.name, given.processes)
        for name in NAMES:
            weights.save(name, training.train(name, files))
    return 0


def _evaluate(given: argparse.Namespace) -> int:
    if given.of == ENDOSCOPY:
        from converters.reference.endoscopy.evaluation import evaluate
    else:
        from converters.reference.evaluation import evaluate

    print(evaluate(given.processes))
    return 0


def _video(given: argparse.Namespace) -> int:
    from converters.reference.endoscopy.video import write_video

    print(write_video(given.path, given.seconds, given.seed, given.rows, given.columns, given.frames_per_second))
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
