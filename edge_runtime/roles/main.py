"""The entry of a role's process: `python -m edge_runtime.roles.main ROLE[-SOURCE] FD CONFIG [KEY.PATH=VALUE ...]`."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast

from edge_runtime.config import Config
from edge_runtime.errors import EXIT_DEVICE_LOST, EXIT_DONE, EXIT_FAILURE, DeviceError, EdgeRuntimeError
from edge_runtime.frames.channels import inherited_channels
from edge_runtime.metrics import METRICS, label_values
from edge_runtime.roles.device_end import cause_of
from edge_runtime.roles.link import Link
from edge_runtime.spool.layout import Layout, hold
from edge_runtime.telemetry.logs import describe, start_logging
from edge_runtime.telemetry.metrics import RoleMetrics
from edge_runtime.yaml_schema import read_schema

log = logging.getLogger("edge_runtime.role")

ROLE_MODULES = {
    "receive": "edge_runtime.roles.receive",
    "infer": "edge_runtime.roles.infer",
    "report": "edge_runtime.roles.report",
    "deliver": "edge_runtime.roles.deliver",
    "studies": "edge_runtime.roles.studies",
    "capture": "edge_runtime.roles.capture",
    "live": "edge_runtime.roles.live",
}
"""Imported when chosen, so that a role loads only what it needs."""


class RoleModule(Protocol):
    """What the module of a role offers."""

    def run(self, config: Config, link: Link, metrics: RoleMetrics) -> None:
        """Work until `link.stopped`."""


def main(arguments: Sequence[str]) -> int:
    """Run one role; its exit code."""
    name, descriptor, config_path, *overrides = arguments
    kind, _, source = name.partition("-")
    start_logging(name)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor decides
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    link: Link | None = None
    metrics: RoleMetrics | None = None
    try:
        config = read_schema(Config, Path(config_path), overrides)
        metrics = RoleMetrics(METRICS, label_values(config))
        link = Link(socket.socket(fileno=int(descriptor)), metrics.snapshot, source, inherited_channels())
        link.configured(config_path)
        link.start()
        with hold(Layout(Path(config.spool.path)).run / f"{name}.lock", wait_seconds=5.0):
            module = cast("RoleModule", importlib.import_module(ROLE_MODULES[kind]))
            module.run(config, link, metrics)
            link.flush()
    except EdgeRuntimeError as error:
        log.critical("cannot go on", extra={"event": {"error": describe(error)}})
        if metrics is not None and isinstance(error, DeviceError):
            metrics.count("edge_device_lost_total", role=kind, cause=cause_of(error))
        if link is not None:
            link.last_words(describe(error))
        return exit_code(error)
    except Exception:  # the supervisor starts the role again
        log.exception("unexpected end")
        return EXIT_FAILURE
    return EXIT_DONE


def exit_code(error: EdgeRuntimeError) -> int:
    """What the supervisor is told: after a failure of the device a new process may well be able to use it."""
    return EXIT_DEVICE_LOST if isinstance(error, DeviceError) else error.exit_code


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)  # a computation that does not end must not hold the process
