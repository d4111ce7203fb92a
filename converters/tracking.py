"""MLflow: a checkpoint from the model registry, and what was built of it back to the tracking server.

Server and registry are those of MLflow's own environment variables (MLFLOW_TRACKING_URI, MLFLOW_REGISTRY_URI,
MLFLOW_EXPERIMENT_NAME).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.checkpoints.base import first_line, quiet, require
from converters.fetch import FetchFailed
from edge_runtime.engines.passport import PASSPORT_FILE, Passport, read_passport
from edge_runtime.errors import ConfigurationError, EdgeRuntimeError

SCHEME = "models:/"
EXPERIMENT = "edge-runtime"
SUFFIXES = (".onnx", ".pt", ".pth", ".ckpt", ".safetensors", ".pt2", ".ts", ".zip")
_PLACE = re.compile(r"models:/(?P<name>[^/@]+)(?:/(?P<version>\d+)|@(?P<alias>[^/]+))")


class TrackingFailed(EdgeRuntimeError):
    """MLflow did not take what was built."""


@dataclass(frozen=True)
class ModelVersion:
    """A version in the registry: its address with the version's number, and the run that made it, if one is known."""

    address: str
    run_id: str


def fetch_model(address: str, sha256: str, into: Path) -> Path:
    """Download a registered model's files; returns the checkpoint among them.

    That is the file with the card's SHA-256, or the only one with a checkpoint's suffix (which `read_checkpoint`
    then refuses by its hash).

    Args:
        address: `models:/name/version` or `models:/name@alias`.
        sha256: of the checkpoint, in hex.
        into: an existing folder.

    Raises:
        BackendUnavailable: mlflow is missing.
        ConfigurationError: it is no such address, or which file is the checkpoint cannot be told.
        FetchFailed: the registry has no such version, or cannot be reached.
    """
    artifacts = require("mlflow.artifacts", "mlflow")
    version = _version(address)
    try:
        with quiet():
            place = tempfile.mkdtemp(prefix="model-", dir=into)
            folder = Path(artifacts.download_artifacts(artifact_uri=version.address, dst_path=place))
    except Exception as error:
        raise FetchFailed(f"MLflow could not get {address}: {first_line(error)}") from error
    files = [folder] if folder.is_file() else sorted(f for f in folder.rglob("*") if f.is_file())
    same = [f for f in files if hashlib.sha256(f.read_bytes()).hexdigest() == sha256]
    likely = same or [f for f in files if f.suffix in SUFFIXES]
    if len(likely) == 1 or same:
        return likely[0]
    has = ", ".join(str(f.relative_to(folder)) for f in files[:8]) or "nothing"
    raise ConfigurationError(
        f"{address} holds {has}: no file has the card's SHA-256 {sha256}, and {len(likely)} could be a checkpoint "
        f"({', '.join(SUFFIXES)}); correct checkpoint.sha256 in the card"
    )


def log_engine(output: Path, run_name: str, registered: str | None) -> str:
    """Log a built engine's folder, with figures and settings of its passport; returns the run's id.

    Args:
        output: the folder of the engine.
        run_name: what the run is called.
        registered: the address of the model that the checkpoint came from; the run's tags link to it.

    Raises:
        BackendUnavailable: mlflow is missing.
        TrackingFailed: MLflow did not take it; the engine stays where it is.
    """
    passport = read_passport((output / PASSPORT_FILE).read_bytes())[0]
    tags = {"edge_runtime.engine": passport.engine.sha256, "edge_runtime.model": f"{passport.name} {passport.version}"}
    if registered is not None:
        version = _version(registered)
        tags |= {"edge_runtime.source_model": version.address, "edge_runtime.source_run": version.run_id}
    return log_build(output, run_name, _metrics(passport), _parameters(passport), tags)


def log_build(
    output: Path,
    run_name: str,
    metrics: Mapping[str, float],
    parameters: Mapping[str, str],
    tags: Mapping[str, str],
) -> str:
    """Log a folder's files under `engine`, with metrics, parameters and tags, as a run; returns its id.

    Raises:
        BackendUnavailable: mlflow is missing.
        TrackingFailed: MLflow did not take it; the folder stays where it is.
    """
    mlflow = require("mlflow", "mlflow")
    try:
        with quiet():
            client = mlflow.MlflowClient()
            run = client.create_run(_experiment(client), run_name=run_name, tags=dict(tags))
            run_id = str(run.info.run_id)
            with _ended(client, run_id):
                for name, text in parameters.items():
                    client.log_param(run_id, name, text)
                for name, value in metrics.items():
                    client.log_metric(run_id, name, value)
                client.log_artifacts(run_id, str(output), "engine")
    except Exception as error:
        raise TrackingFailed(f"MLflow did not take {output}, which stays as it is: {first_line(error)}") from error
    return run_id


@contextlib.contextmanager
def _ended(client: Any, run_id: str) -> Iterator[None]:
    status = "FAILED"
    try:
        yield
        status = "FINISHED"
    finally:
        client.set_terminated(run_id, status)


def _experiment(client: Any) -> str:
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
    known = client.get_experiment_by_name(name)
    return str(client.create_experiment(name) if known is None else known.experiment_id)


def _version(address: str) -> ModelVersion:
    place = _PLACE.fullmatch(address)
    if place is None:
        raise ConfigurationError(f"{address} is no model's address; write {SCHEME}NAME/VERSION or {SCHEME}NAME@ALIAS")
    mlflow = require("mlflow", "mlflow")
    name, alias = place["name"], place["alias"]
    try:
        with quiet():
            client = mlflow.MlflowClient()
            if alias is None:
                found = client.get_model_version(name, place["version"])
            else:
                found = client.get_model_version_by_alias(name, alias)
    except Exception as error:
        raise FetchFailed(f"MLflow could not find {address}: {first_line(error)}") from error
    return ModelVersion(f"{SCHEME}{name}/{found.version}", str(found.run_id or ""))


def _metrics(passport: Passport) -> dict[str, float]:
    figures: dict[str, float | None] = {
        "engine_bytes": passport.engine.size_bytes,
        "parity_maximum_absolute_error": passport.parity.maximum_absolute_error,
        "longest_run_seconds": passport.longest_run_seconds,
    }
    for metric in passport.task_metrics:
        figures |= {metric.name: metric.value, f"{metric.name}_fp32": metric.fp32}
    return {name: float(value) for name, value in figures.items() if value is not None}


def _parameters(passport: Passport) -> dict[str, str]:
    target, precision = passport.target, passport.precision
    return {
        "target": f"{target.flavour} {target.flavour_version}",
        "compute_capabilities": " ".join(target.compute_capabilities),
        "instruction_set": target.instruction_set or "",
        "precision": precision.recipe,
        "calibration_method": precision.calibration_method or "",
        "layers_raised": str(len(precision.raised)),
        "checkpoint_sha256": passport.checkpoint_sha256 or "",
        "builder": f"{passport.builder.name} {passport.builder.version}",
        "packages": ", ".join(passport.builder.packages),
    }
