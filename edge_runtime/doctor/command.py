"""The checks in the order in which an installation fails."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from edge_runtime.config import Config
from edge_runtime.doctor.accelerator import LOOK_SECONDS, examine_gpu
from edge_runtime.doctor.check import Check, Probe, Site, examine, ok
from edge_runtime.doctor.clock import examine_clock
from edge_runtime.doctor.destinations import examine_destination, probe_seconds
from edge_runtime.doctor.disk import examine_disk
from edge_runtime.doctor.engines import LOAD_SECONDS, examine_engines
from edge_runtime.doctor.gpu import examine_gpus
from edge_runtime.doctor.machine import examine_machine
from edge_runtime.doctor.ports import examine_ports
from edge_runtime.doctor.rights import examine_rights
from edge_runtime.doctor.sending import examine_by_sending
from edge_runtime.doctor.video import examine_video, video_seconds


def probes_for(config: Config) -> list[Probe]:
    """All probes of a configuration."""
    engines = {stage.asked for pipeline in config.pipelines for stage in pipeline.variants}
    probes = [
        Probe("machine", 30.0, examine_machine),
        Probe("GPU", 10.0, examine_gpus),
        Probe("clock", 10.0, examine_clock),
        Probe("permissions", 10.0, examine_rights),
        Probe("disk", 120.0, examine_disk),
        Probe("ports", 60.0, examine_ports),
        Probe("accelerator", 30.0 + LOOK_SECONDS, examine_gpu),
        Probe("engines", 30.0 + LOAD_SECONDS * len(engines), examine_engines),
    ]
    if config.video:
        probes.append(Probe("video", video_seconds(config), examine_video))
    for one in config.delivery_destinations:
        probes.append(Probe(one.name, probe_seconds(one), partial(examine_destination, one)))
        sending = partial(examine_by_sending, one)
        probes.append(Probe(f"{one.name}: test object", 60.0 + 20 * one.timeout_seconds, sending))
    return probes


def run_doctor(config: Config, file: Path, send: bool) -> Iterator[Check]:
    """Every check, each as soon as it is known. The configuration has been read, which is the first of them."""
    yield ok("configuration", f"{file}: {len(config.pipelines)} pipelines, {len(config.destinations)} destinations")
    yield from examine(Site(config, file, send), probes_for(config))
