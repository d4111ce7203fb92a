"""The command `edge-runtime`. Exit codes: 0 done, 1 runtime failure, 2 usage, 69 engine or device, 78 configuration."""

from __future__ import annotations

import argparse
import contextlib
import getpass
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime import __version__
from edge_runtime.config import Config
from edge_runtime.errors import (
    EXIT_DONE,
    EXIT_FAILURE,
    EXIT_UNAVAILABLE,
    ConfigurationError,
    EdgeRuntimeError,
    EngineError,
    SpoolError,
)
from edge_runtime.telemetry.logs import start_logging
from edge_runtime.yaml_schema import ConfigurationInvalid, read_schema

if TYPE_CHECKING:
    from edge_runtime.doctor.accelerator import Accelerator
    from edge_runtime.jobs_find import Wanted

DEFAULT_ENGINES = Path("/var/lib/edge-runtime/engines")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except EdgeRuntimeError as error:
        print(f"edge-runtime: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        sys.stderr.close()
        return EXIT_FAILURE
    except KeyboardInterrupt:
        return EXIT_FAILURE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="edge-runtime", description="DICOM inference beside the scanner.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, text: str, run: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(command=run)
        return command

    def add_config(command: argparse.ArgumentParser) -> None:
        command.add_argument("config", metavar="CONFIG", type=Path, help="the YAML file")
        command.add_argument(
            "--set", metavar="KEY.PATH=VALUE", action="append", default=[], dest="overrides",
            help="override one key; destinations and pipelines are reached by name",
        )  # fmt: skip

    run = add("run", "Run the daemon until SIGTERM.", _run)
    add_config(run)
    check = add("check", "Check a configuration and its engines without running it.", _check)
    add_config(check)
    check.add_argument("--json", action="store_true", help="print problems as JSON")
    doctor = add("doctor", "Test on the spot what an installation gets wrong: disk, clock, ports, peers.", _doctor)
    add_config(doctor)
    doctor.add_argument("--json", action="store_true", help="print as JSON")
    doctor.add_argument("--send", action="store_true", help="also store a test object of each kind at each destination")
    analyse = add("analyse", "Run the pipelines on a folder of DICOM files, offline.", _analyse)
    add_config(analyse)
    analyse.add_argument("folder", metavar="FOLDER", type=Path)
    analyse.add_argument("--out", metavar="DIR", type=Path, required=True, help="where results go")
    analyse.add_argument("--dump-tensors", action="store_true", help="also write every stage's tensors as .npy")
    jobs = add("jobs", "Look at jobs, retry parked ones, cancel; find a study.", _jobs)
    jobs.add_argument("action", choices=("list", "show", "retry", "cancel", "find"))
    add_config(jobs)
    jobs.add_argument("job", metavar="JOB", nargs="?", help="the job's id, as `jobs list` shows it")
    jobs.add_argument("--state", help="list only jobs in this state")
    jobs.add_argument("--json", action="store_true", help="print as JSON")
    jobs.add_argument("--accession", help="find: the Accession Number of the study")
    jobs.add_argument("--study-uid", help="find: its Study Instance UID")
    jobs.add_argument("--patient-id", help="find: its Patient ID; reads one header of each series")
    video = add("video", "Begin and end the examination of a live source; list them.", _video)
    video.add_argument("action", choices=("list", "begin", "end"))
    add_config(video)
    _add_video_options(video)
    password = add("password", "Write the password file of the page's login.", _password)
    password.add_argument("file", metavar="FILE", type=Path, help="what http.login.password_file names")
    engines = add("engines", "List built engines, or verify them against their passports.", _engines)
    engines.add_argument("action", choices=("list", "verify"))
    engines.add_argument("path", metavar="PATH", nargs="?", type=Path, default=DEFAULT_ENGINES,
                         help=f"a folder of engines, or an engine, or a build (default {DEFAULT_ENGINES})")  # fmt: skip
    engines.add_argument("--trusted-key", action="append", default=[], help="Ed25519 public key; absent: any or none")
    engines.add_argument("--allow-ungated", action="store_true",
                         help="verify: accept fp16 and int8 whose task metrics were not measured")  # fmt: skip
    return parser


def _add_video_options(video: argparse.ArgumentParser) -> None:
    video.add_argument("source", metavar="SOURCE", nargs="?", help="the name of a source in `video`")
    video.add_argument("--like", metavar="FILE", type=Path, help="begin: patient and study as in this DICOM file")
    for option, keyword, text in (
        ("--patient-id", "PatientID", "Patient ID"),
        ("--patient-name", "PatientName", "Patient's Name, as Family^Given"),
        ("--birth-date", "PatientBirthDate", "Patient's Birth Date, YYYYMMDD"),
        ("--sex", "PatientSex", "Patient's Sex: M, F or O"),
        ("--accession", "AccessionNumber", "Accession Number"),
        ("--study-uid", "StudyInstanceUID", "Study Instance UID; absent: a new study"),
        ("--study-description", "StudyDescription", "Study Description"),
    ):
        video.add_argument(option, dest=keyword, help=f"begin: {text}")
    video.add_argument("--hours", type=float, default=4.0, help="begin: it ends by itself after so long (default 4)")
    video.add_argument("--json", action="store_true", help="print as JSON")


def _run(options: argparse.Namespace) -> int:
    from edge_runtime.page.access import load_access
    from edge_runtime.supervisor import Supervisor, verify_or_go_on
    from edge_runtime.video_packages import require_video_packages

    config = _read(options)
    load_access(config.http)
    require_video_packages(config)
    start_logging("supervisor")
    verify_or_go_on(config)
    return Supervisor(config, [str(options.config), *options.overrides]).run()


def _read(options: argparse.Namespace) -> Config:
    return read_schema(Config, options.config, options.overrides)


def _check(options: argparse.Namespace) -> int:
    from edge_runtime.doctor.accelerator import look, require_usable
    from edge_runtime.engines.required import placement, verify_all
    from edge_runtime.page.access import load_access
    from edge_runtime.video_packages import require_video_packages
    from edge_runtime.video_warnings import warnings_here

    problems: list[dict[str, str | None]] = []
    placed: tuple[str, ...] = ()
    warnings: list[str] = []
    device: Accelerator | None = None
    code, key = EXIT_DONE, "http"
    try:
        config = _read(options)
        load_access(config.http)
        key = "video"
        require_video_packages(config)
        key = "engines"
        device = look(config)
        verify_all(config)
        require_usable(device)
        key = "schedule"
        placed = placement(config).lines
        warnings = warnings_here(config)
    except ConfigurationInvalid as error:
        code = error.exit_code
        problems = [asdict(problem) for problem in error.problems]
    except EdgeRuntimeError as error:
        code = error.exit_code
        problems = [{"place": str(options.config), "key": key, "message": str(error), "suggestion": None}]
    if options.json:
        said = {"ok": not problems, "exit_code": code, "problems": problems, "warnings": warnings, "placement": placed,
                "accelerator": None if device is None else asdict(device)}  # fmt: skip
        print(json.dumps(said, indent=1))
    else:
        for problem in problems:
            hint = f" (did you mean {problem['suggestion']!r}?)" if problem["suggestion"] else ""
            print(": ".join(p for p in (problem["place"], problem["key"], problem["message"]) if p) + hint)
        if device is not None and not device.problem:
            print(device)
        for line in (*placed, *(f"warning: {warning}" for warning in warnings)):
            print(line)
        print("not usable" if problems else "ok")
    return code


def _doctor(options: argparse.Namespace) -> int:
    from edge_runtime.doctor.check import Outcome
    from edge_runtime.doctor.command import run_doctor

    config = _read(options)
    start_logging("doctor", "CRITICAL")
    found = []
    for check in run_doctor(config, options.config, options.send):
        found.append(check)
        if not options.json:
            print(check, flush=True)
    code = EXIT_FAILURE if any(check.outcome is Outcome.FAIL for check in found) else EXIT_DONE
    if options.json:
        checks = [{**asdict(check), "outcome": check.outcome.value} for check in found]
        print(json.dumps({"ok": code == EXIT_DONE, "exit_code": code, "checks": checks}, indent=1))
    return code


def _analyse(options: argparse.Namespace) -> int:
    from edge_runtime.analyse import analyse_folder

    start_logging("analyse", "WARNING")
    outcomes = analyse_folder(_read(options), options.folder, options.out, options.dump_tensors)
    for outcome in outcomes:
        print(f"{outcome.pipeline}: {outcome.state}: {outcome.text}")
    if not outcomes:
        print(f"no series in {options.folder} matches a pipeline of {options.config}")
    return EXIT_DONE if outcomes and all(o.state == "concluded" for o in outcomes) else EXIT_FAILURE


def _jobs(options: argparse.Namespace) -> int:
    from edge_runtime.jobs_command import JobsCommand

    config = _read(options)
    if options.action not in ("list", "find") and options.job is None:
        _parser().error(f"jobs {options.action} needs the id of a job")
    if not (Path(config.spool.path) / "journal.sqlite").exists():
        raise SpoolError(f"spool {config.spool.path} has no journal; is spool.path right, and has the daemon run?")
    with contextlib.closing(JobsCommand(config, options.json)) as command:
        if options.action == "list":
            return command.list(options.state)
        if options.action == "find":
            return command.find(_wanted(options))
        actions = {"show": command.show, "retry": command.retry, "cancel": command.cancel}
        return actions[options.action](options.job)


def _video(options: argparse.Namespace) -> int:
    from edge_runtime.video_command import run_video

    config = _read(options)
    start_logging("video", "CRITICAL")
    try:
        return run_video(config, options)
    except ValueError as error:
        _parser().error(f"video {options.action}: {error}")


def _wanted(options: argparse.Namespace) -> Wanted:
    from edge_runtime.jobs_find import Wanted

    try:
        return Wanted(options.accession, options.study_uid, options.patient_id)
    except ValueError as error:
        _parser().error(f"jobs find: {error}")


def _password(options: argparse.Namespace) -> int:
    from edge_runtime.page.login import write_password_file

    if sys.stdin.isatty():
        password = getpass.getpass("Password: ")
        if getpass.getpass("Once more: ") != password:
            raise ConfigurationError("the two are not the same; nothing was written")
    else:
        password = sys.stdin.readline().rstrip("\n")
    write_password_file(options.file, password)
    print(f"{options.file} written; the daemon reads it when it starts")
    return EXIT_DONE


def _engines(options: argparse.Namespace) -> int:
    from edge_runtime.engines.listing import engine_status, list_engines

    if not options.path.is_dir():
        raise EngineError(f"{options.path} is no folder of engines")
    path = options.path.resolve()
    keys, ungated = options.trusted_key, options.action == "list" or options.allow_ungated
    folder, only = (path.parent, path.name) if (path / "model.yaml").exists() else (path, None)
    if (path / "passport.json").exists():
        found = [engine_status(path, keys, not keys, ungated)]
    else:
        found = [*list_engines(folder, keys, not keys, ungated, only)]
    for engine in found:
        state = "ok" if engine.problem is None else "not usable" if options.action == "verify" else "see verify"
        by = "unsigned" if engine.signer is None else f"signed by {engine.signer[:8]}, not checked"
        signed = ("signed" if engine.signed else by) + (" ungated" if engine.ungated else "")
        build = engine.folder.name if engine.folder else "not built"
        print(f"{engine.name}  {engine.version}  {engine.task}  {build}  {signed}  {state}")
        if engine.problem is not None and options.action == "verify":
            print(f"  {engine.problem}")
    print(f"{len(found)} engines in {folder}")
    broken = any(engine.problem is not None for engine in found) or not found
    return EXIT_UNAVAILABLE if options.action == "verify" and broken else EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
