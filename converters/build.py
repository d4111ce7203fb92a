"""Build an engine: the steps in order, from the checkpoint to the folder of an engine with its passport."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import onnx

from converters.export import export
from converters.golden_run import GoldenRun, largest_difference, noise_of, run_golden
from converters.graph import opset_of
from converters.lower import Sources, Wanted, lower, open_sets
from converters.made import GOLDEN_FILE, NETWORK_FILE, PRECISIONS, Made, Request
from converters.progress import Progress
from converters.quantize.half import rounded
from converters.quantize.lint import lint_tensorrt
from converters.report import render
from converters.report.describe import make_report
from converters.sealing import make_passport
from converters.targets import TARGETS, build_target, check_target, flavour_of
from converters.workspace import check_output, whole_folder, write
from edge_runtime.engines.card import CARD_FILE, Card, read_card
from edge_runtime.engines.golden import make_golden, write_golden
from edge_runtime.engines.instruction_set import has_vnni, instruction_set
from edge_runtime.engines.passport import PASSPORT_FILE, write_passport
from edge_runtime.errors import ConfigurationError, EngineRejected


def build(request: Request, progress: Progress) -> Path:
    """Build the engine into the folder `output`, which appears whole or not at all; returns it.

    Raises:
        ConfigurationError: the card or the samples are wrong, or `output` holds something that is no engine.
        EngineRejected: the network is not valid, not the card's, differs too much from its checkpoint, or does not
            pass the card's gate.
        BackendUnavailable: a package is missing.
    """
    card, card_sha256 = read_card(request.card)
    check_output(request.output)
    _check_name(request)
    check_target(request.target, request.options)
    with whole_folder(request.output) as folder:
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            files = _files(card, card_sha256, request, Path(scratch), progress)
        for name, data in files.items():
            write(folder / name, data)
    _place_card(card, request, progress)
    return request.output


def _check_name(request: Request) -> None:
    """An engine does not take the place of another kind of engine, nor stand beside a card where no daemon looks."""
    output, expected = request.output.resolve(), f"{request.target}-{request.precision}"
    other_kind = output.name in {f"{t}-{p}" for t in TARGETS for p in PRECISIONS} - {expected}
    beside_card = output.parent == request.folder.resolve() and output.name != expected
    if other_kind or beside_card:
        raise ConfigurationError(f"--output {request.output}: this engine's folder is called {expected}")


def _files(card: Card, card_sha256: str, request: Request, scratch: Path, progress: Progress) -> dict[str, bytes]:
    """The files of the engine's folder by name, the passport last."""
    made = _make(card, card_sha256, request, scratch, progress)
    files = {
        made.built.file: made.built.engine,
        GOLDEN_FILE: write_golden(make_golden(made.run.seed, made.run.prepared, made.run.output)),
        **made.documents,
    }
    if made.network != made.built.engine:
        files[NETWORK_FILE] = made.network
    with progress.step("measuring the layers and the latency"):
        report = make_report(made, files, progress)
    files |= render(report)
    return {**files, PASSPORT_FILE: write_passport(make_passport(made, files), request.key)}


def _make(card: Card, card_sha256: str, request: Request, scratch: Path, progress: Progress) -> Made:
    """Export, compare with the checkpoint, lower the precision, build for the target, and run the golden input."""
    wanted = _wanted(request)
    sets = None
    if request.precision != "fp32":
        sets = open_sets(card, wanted, Sources(request.folder, request.calibration, request.holdout))
    with progress.step(f"exporting {card.name} from {card.checkpoint.format}"):
        exported = export(card, request.checkpoint, request.folder)
    for text in (*(f"rewrote the graph: {rewrite}" for rewrite in exported.rewrites), *exported.notes):
        progress.say(text)
    with progress.step(f"comparing with {exported.reference_name} on the golden input"):
        run = run_golden(card, exported.data)
        expected = exported.reference(run.prepared)
    _check_parity(card, largest_difference(card, run.output, expected), progress)
    network, lowered, tolerance = exported.data, None, card.tolerance
    _lint(card, request, network)
    if sets is not None:
        lowered = lower(card, network, wanted, sets, request.output.parent, run.prepared, scratch, progress)
        network = lowered.network
        _lint(card, request, network)
    with progress.step(f"building for {request.target}"):
        built = build_target(request.target, network, request.options, progress)
    if lowered is not None:  # the processor does not round to FP16 on the way, a GPU does
        run = run_golden(card, network if built.runs_here else rounded(network))
    error = largest_difference(card, run.output, expected)
    if lowered is not None:
        tolerance = _golden_tolerance(card, network, run, built.runs_here, error)
    opset = opset_of(onnx.load_from_string(network))
    return Made(card, card_sha256, request, exported, network, opset, lowered, built, run, error, tolerance)


def _lint(card: Card, request: Request, network: bytes) -> None:
    if flavour_of(request.target) == "tensorrt":
        lint_tensorrt(network, f"engine {card.name}")


def _wanted(request: Request) -> Wanted:
    flavour = flavour_of(request.target)
    saturates = flavour == "cpu" and not has_vnni(request.options.instruction_set or instruction_set())
    return Wanted(request.precision, flavour, saturates, request.ungated)


def _golden_tolerance(card: Card, network: bytes, run: GoldenRun, runs_here: bool, error: float) -> float:
    """How far a golden run may be from this one.

    In lower precision a value may fall into the next step on another day or processor: where the engine runs here,
    as much is allowed as inputs that differ in their last digits make; a plan may be as far from the network that it
    was built from as that is from FP32.
    """
    allowed = noise_of(card, network, run) if runs_here else error
    return max(card.tolerance, allowed)


def _check_parity(card: Card, error: float, progress: Progress) -> None:
    if not error <= card.tolerance:  # NaN too
        raise EngineRejected(
            f"engine {card.name}: its output differs by {error:.3g} from the checkpoint's, its card allows "
            f"{card.tolerance:g}; nothing was written"
        )
    progress.say(f"largest absolute difference {error:.3g}, {card.tolerance:g} is allowed")


def _place_card(card: Card, request: Request, progress: Progress) -> None:
    """Copy the card beside an engine that is built into another engines folder."""
    file = request.folder / CARD_FILE if request.card.is_dir() else request.card
    folder = request.output.parent
    beside = folder / CARD_FILE
    if beside.exists() and beside.samefile(file):
        return
    if folder.resolve().name != card.name:
        progress.say(f"note: a daemon finds this engine in ENGINES/{card.name}/, with {CARD_FILE} beside it")
        return
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as stream:
        stream.write(file.read_bytes())
    Path(stream.name).chmod(0o644)
    shutil.move(stream.name, beside)
