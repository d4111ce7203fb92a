"""`edge-convert verify`: everything in an engine's folder against its passport, and the golden run where it can run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from edge_runtime.backends.registry import open_on_cpu
from edge_runtime.engines.golden import golden_difference, golden_image
from edge_runtime.engines.runner import load_runner
from edge_runtime.engines.verify import VerifiedEngine, is_ungated, verify, verify_documents
from edge_runtime.errors import EngineRejected
from edge_runtime.preprocess import compile_recipe


def check_engine(folder: Path) -> Iterator[str]:
    """Check one thing after the other; yields a line on each that holds.

    Raises:
        ConfigurationError: the card is missing or wrong.
        EngineRejected: names what was expected and found, and the command that rebuilds.
    """
    engine = verify(Path(os.path.abspath(folder)), (), allow_unsigned=True, allow_ungated=True, any_machine=True)
    passport = engine.passport
    yield f"{engine.card.name} {passport.version}: {passport.engine.file} and golden pair are those of the passport"
    verify_documents(folder)
    yield f"{len(passport.documents)} documents are those of the passport"
    if is_ungated(passport):
        yield f"this {passport.precision.recipe} engine has passed no gate: a daemon refuses it by default"
    if passport.target.flavour != "onnxruntime":
        yield f"the golden run needs a GPU that {passport.target.flavour} runs on: not done"
        return
    of_input, of_output = _golden_run(engine)
    allowed = passport.golden.tolerance
    if not max(of_input, of_output) <= allowed:
        raise EngineRejected(
            f"engine {engine.card.name}: the golden run differs by {of_input:.3g} (input) and {of_output:.3g} (output),"
            f" {allowed:g} is allowed; was it built for another processor?"
        )
    yield f"golden run: differs by {of_input:.3g} (input) and {of_output:.3g} (output), {allowed:g} is allowed"


def _golden_run(engine: VerifiedEngine) -> tuple[float, float]:
    backend, device = open_on_cpu()
    try:
        runner = load_runner(engine, backend, device)
        image = golden_image(engine.golden.seed)
        prepared = next(iter(compile_recipe(engine.card)(image, None, 0.0))).inputs[0].array
        found = golden_difference(engine.golden, prepared, runner.run(prepared))
        runner.close()
        return found
    finally:
        device.close()
