"""`edge-bench site CONFIG --minutes N --out DIR [--traffic TRAFFIC.yaml]`.

Exit codes: 0 pass, 1 fail or not judged, 2 usage, 69 an engine or a device is missing, 78 an unusable configuration.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from benchmarks.acceptance.budgets import overall
from benchmarks.acceptance.judge import judge
from benchmarks.acceptance.replaced import without_secrets
from benchmarks.acceptance.run import SiteRun
from benchmarks.acceptance.seen import Site
from benchmarks.acceptance.traffic import Traffic, read_traffic
from benchmarks.daemon import DaemonFailed
from benchmarks.provenance import Watch, file_system, sha256_of
from benchmarks.record import Accelerator, BenchFailed, Record, State
from benchmarks.site import RESERVE_BYTES, read_site
from edge_runtime.config import Config
from edge_runtime.engines.required import placement, verify_all
from edge_runtime.errors import (
    EXIT_DONE,
    EXIT_FAILURE,
    EXIT_UNAVAILABLE,
    EXIT_USAGE,
    ConfigurationError,
    EdgeRuntimeError,
    SpoolLocked,
)
from edge_runtime.spool.layout import hold
from edge_runtime.yaml_schema import read_schema

log = logging.getLogger(__name__)

JSON, HTML, CONFIGURATION = "acceptance.json", "acceptance.html", "configuration.yaml"
_FAILURES = (BenchFailed, DaemonFailed, EdgeRuntimeError, OSError, TimeoutError, subprocess.SubprocessError)


def run_site(options: argparse.Namespace) -> int:
    """Run the subcommand; its exit code."""
    there = [options.out / name for name in (JSON, HTML, CONFIGURATION) if (options.out / name).exists()]
    if there:
        return _refuse(f"{there[0]} is there already: give another --out, nothing is overwritten", EXIT_USAGE)
    if find_spec("matplotlib") is None:
        return _refuse("the acceptance page needs matplotlib; run: pip install 'edge-runtime[bench]'", EXIT_UNAVAILABLE)
    try:
        config = read_schema(Config, options.config)
        verify_all(config)
        placement(config)
    except EdgeRuntimeError as error:
        return _refuse(str(error), error.exit_code)
    try:
        traffic = None if options.traffic is None else read_traffic(options.traffic, config)
        options.out.mkdir(parents=True, exist_ok=True)
    except (ConfigurationError, OSError) as error:
        return _refuse(str(error), EXIT_USAGE)
    if not os.access(options.out, os.W_OK):
        return _refuse(f"--out {options.out}: no file can be written there", EXIT_USAGE)
    with _alone(options.out) as alone:
        if not alone:
            return _refuse(f"--out {options.out}: another acceptance is writing into it", EXIT_USAGE)
        return _accept(options, config, traffic)


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[bool]:
    """Hold the acceptance folder, until this process ends at the latest; gives whether nobody else does."""
    folder = os.open(out, os.O_RDONLY)
    try:
        yield _locked(folder)
    finally:
        os.close(folder)


def _locked(folder: int) -> bool:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _refuse(text: str, code: int) -> int:
    print(f"edge-bench: {text}", file=sys.stderr)
    return code


def _accept(options: argparse.Namespace, config: Config, traffic: Traffic | None) -> int:
    scenario = {"name": "site", "kind": "site", "config": str(options.config), "minutes": options.minutes}
    record = Record({**scenario, "rounds": 1, "traffic": []}, False)
    record.inputs["configuration_sha256"] = sha256_of(options.config)
    if traffic is not None:
        record.inputs["traffic_sha256"] = sha256_of(options.traffic)
    watch = Watch()
    with _signals(signal.SIG_IGN), _work_folder(config, options.out, record) as (work, reserve):
        _tell_of_another(config, record)
        site = Site(options.config, config, traffic, 60 * options.minutes, work, reserve)
        ended = _run(site, record)
        provenance = watch.document(work, record.inputs.get("engines"))
    record.problems.extend(watch.unrest(provenance))
    document = record.document(ended.state, provenance)
    verdict, why = overall(record.budgets, ended.stopped)
    document["acceptance"] = {"verdict": verdict, "why": why}
    _print(document)
    _write(options.out, document, ended.tested)
    print(f"{verdict}: {options.out / JSON} ({provenance['device']})")
    return EXIT_DONE if verdict == "pass" else EXIT_FAILURE


@dataclass(frozen=True)
class _Ended:
    state: State
    stopped: str
    tested: Config


def _run(site: Site, record: Record) -> _Ended:
    """Run and judge; what was seen until it ended is in the record."""
    state: State = "complete"
    stopped = ""
    with SiteRun(site, record) as run:
        try:
            read_site(str(site.file), record)  # notes the engines
            with _signals(_stop):
                run.measure()
        except KeyboardInterrupt:
            state, stopped = "interrupted", "interrupted"
            record.problem("interrupted: what came later is missing")
        except _FAILURES as error:
            state, stopped = "failed", str(error) or type(error).__name__
            record.problem(stopped)
        except Exception as error:  # what was measured until then is kept
            log.exception("edge-bench site failed")
            state, stopped = "failed", f"an error of the suite itself: {type(error).__name__}: {error}"
            record.problem(stopped)
        if state == "failed" and run.measured.log is not None and run.measured.log.exists():
            record.details["the daemon's log, last lines"] = run.measured.log.read_text(errors="replace").splitlines()[
                -50:
            ]
        run.collect()
        raw = yaml.safe_load(site.file.read_text())
        judge(run.measured, raw, record, _device(record), state == "complete")
    return _Ended(state, stopped.splitlines()[0] if stopped else "", run.measured.config)


def _device(record: Record) -> Accelerator:
    backends = [engine["backend"] for engine in record.inputs.get("engines", {}).values()]
    return Accelerator.GPU if any(one.startswith("tensorrt") for one in backends) else Accelerator.CPU


@contextlib.contextmanager
def _signals(handler: Any) -> Iterator[None]:
    """What SIGTERM and Ctrl-C do meanwhile. They end what runs, and are not heard while it is judged and cleaned up."""
    before = {one: signal.signal(one, handler) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for one, kept in before.items():
            signal.signal(one, kept)


def _stop(*_: object) -> None:
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextlib.contextmanager
def _work_folder(config: Config, out: Path, record: Record) -> Iterator[tuple[Path, int | None]]:
    """A new folder on the file system of the site's spool where that is possible, and what to reserve elsewhere."""
    spool = Path(config.spool.path).absolute()
    parent, reserve = (spool.parent if _has_room_beside(spool) else out), None
    if parent.stat().st_dev != _nearest(spool).stat().st_dev:
        reserve = RESERVE_BYTES
        record.problem(
            f"the test's spool was on {file_system(out).type} ({file_system(out).device}), not on the file system of "
            "spool.path, where no folder can be made beside it: storing may take another time there"
        )
    if file_system(parent).in_memory:
        record.problem("the test's spool was in memory, where durability costs nothing")
    work = Path(tempfile.mkdtemp(prefix="edge-bench-site-", dir=parent))
    try:
        yield work, reserve
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _has_room_beside(spool: Path) -> bool:
    """Whether a folder can be made beside the spool, on its file system; never in the root folder."""
    parent = spool.parent
    if parent == Path(parent.anchor) or not parent.is_dir() or not os.access(parent, os.W_OK):
        return False
    return not spool.exists() or spool.stat().st_dev == parent.stat().st_dev


def _nearest(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    return next(one for one in (path, *path.parents) if one.exists())


def _tell_of_another(config: Config, record: Record) -> None:
    """State it where a daemon runs on the site's own spool: it takes part of the device that is judged."""
    lock = Path(config.spool.path) / "run" / "supervisor.lock"
    try:
        if lock.exists():
            hold(lock).close()
    except SpoolLocked:
        record.problem("the site's own daemon was running and took part of the device; stop it for an acceptance")
    except OSError as error:
        record.problem(f"whether the site's own daemon was running is not known: {lock}: {error.strerror}")


def _write(out: Path, document: dict[str, Any], tested: Config) -> None:
    text = yaml.safe_dump(without_secrets(tested), sort_keys=False)
    head = "# The configuration as it was tested, every default written out, without secrets. Differences from the\n"
    (out / CONFIGURATION).write_text(f"{head}# site's file are named in {JSON}.\n{text}")
    try:
        (out / HTML).write_text(page_of(document))
    except (BenchFailed, OSError) as error:
        document["problems"].append(f"{HTML} was not written: {error}")
        print(f"problem: {document['problems'][-1]}")
    (out / JSON).write_text(json.dumps(document, indent=1) + "\n")


def page_of(document: dict[str, Any]) -> str:
    """The page of the result; what draws it is loaded only now. Raises BenchFailed where that is not installed."""
    from benchmarks.html import page

    return page(document, JSON)


def _print(document: dict[str, Any]) -> None:
    for budget in document["budgets"]:
        print(f"{budget['verdict']:<15}  {budget['name']}: {budget['why']}")
    for problem in document["problems"]:
        print(f"problem: {problem}")
    for sentence in document["acceptance"]["why"]:
        print(f"verdict: {sentence}")
