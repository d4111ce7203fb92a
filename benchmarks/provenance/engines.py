"""What a result says of the engines that answered, and what they ran on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from benchmarks.provenance.reading import known
from edge_runtime.engines.passport import Passport
from edge_runtime.engines.verify import VerifiedEngine

_RUNS_ON: dict[str, Literal["cpu", "gpu"]] = {"onnxruntime": "cpu", "tensorrt": "gpu", "tensorrt_rtx": "gpu"}


def described(engine: VerifiedEngine) -> dict[str, Any]:
    """Hash, precision, backend, and of the passport what tells engines apart; what it leaves open is missing."""
    identity = engine.identity
    return {
        "sha256": identity.sha256,
        "precision": identity.precision,
        "backend": identity.backend,
        "passport": {**content(engine.passport), "signed": engine.signed},
    }


def content(passport: Passport) -> dict[str, Any]:
    """Of a passport, for a result; it names no file, for paths are the machine's."""
    target, precision, builder = passport.target, passport.precision, passport.builder
    found: dict[str, Any] = {
        "schema_version": passport.schema_version,
        "name": passport.name,
        "version": passport.version,
        "card_sha256": passport.card_sha256,
        "checkpoint_sha256": passport.checkpoint_sha256,
        "onnx_sha256": passport.onnx.sha256,
        "flavour": target.flavour,
        "flavour_version": target.flavour_version,
        "compute_capabilities": list(target.compute_capabilities),
        "device_name": target.device_name,
        "instruction_set": target.instruction_set,
        "cuda_runtime": target.cuda_runtime,
        "minimum_driver": target.minimum_driver,
        "jetpack": target.jetpack,
        "calibration_sha256": precision.calibration_sha256,
        "calibration_method": precision.calibration_method,
        "layers_kept_in_fp32": list(precision.raised),
        "holdout_sha256": passport.gate.holdout_sha256 if passport.gate else None,
        "builder": f"{builder.name} {builder.version}",
        "builder_packages": list(builder.packages),
    }
    return known(found)


def accelerator_of(engines: Mapping[str, Mapping[str, Any]]) -> str:
    """On what engines ran: "gpu" where one did, else "cpu"; "unknown" where a backend is none that is known.

    `engines` as a result has them: where one names its `device`, that is it; one without a backend was not run.
    """
    places = {
        engine.get("device") or _RUNS_ON.get(engine["backend"].split(" ")[0], "unknown")
        for engine in engines.values()
        if "backend" in engine
    }
    return next((place for place in ("gpu", "unknown") if place in places), "cpu")
