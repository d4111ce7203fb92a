"""Starts the roles, watches them, replaces the one that died or hangs, and says how the daemon is."""

from __future__ import annotations

import json
import logging
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_runtime import __version__
from edge_runtime.config import Config
from edge_runtime.engines.required import studies_apart, verify_all
from edge_runtime.errors import (
    EXIT_DONE,
    EXIT_FAILURE,
    EXIT_UNAVAILABLE,
    BackendUnavailable,
    DeviceError,
    EngineError,
    SpoolLocked,
)
from edge_runtime.frames.channels import VARIABLE, create_channels
from edge_runtime.metrics import METRICS, label_values
from edge_runtime.page.serve import HttpPorts
from edge_runtime.reload import Plan, drain_seconds
from edge_runtime.reloading import Reloader, Setting
from edge_runtime.restart_policy import DEVICE_KINDS, LONGEST_WAIT_SECONDS, SPENT_WAIT_SECONDS, ends_daemon
from edge_runtime.role import BEAT_SECONDS, CANNOT_BE_ENDED, ROLES, Role, roles_of
from edge_runtime.roles.link import send, socket_pair
from edge_runtime.spool.layout import Layout, hold
from edge_runtime.spool.spool import prepare_spool
from edge_runtime.telemetry.exposition import Exposition
from edge_runtime.telemetry.gpu.reading import GPUS
from edge_runtime.telemetry.gpu.sampler import GpuSampler
from edge_runtime.telemetry.health import Reason, RoleState, Views, notify_systemd
from edge_runtime.telemetry.metrics import RoleMetrics

log = logging.getLogger("edge_runtime.supervisor")

STALLED_SECONDS = 5.0
"""A supervisor that was held up for longer judges nobody for as long: it has only old messages."""

_HINTED_FOR = {"studies": "infer"}
"""Where studies have a process of their own, it is that one which looks at new images."""

_TURN_SECONDS = 0.2
_LONG_START = "STATUS=preparing the spool\nEXTEND_TIMEOUT_USEC=3600000000"
_STILL_STARTING = "WATCHDOG=1\nEXTEND_TIMEOUT_USEC=60000000"
_DRAIN_SECONDS = 8.0
_LAST_WAIT_SECONDS = 2.0
_LEAVE_SECONDS = 5.0
_LOOK_AGAIN_SECONDS = 2.0


def verify_or_go_on(config: Config) -> None:
    """Verify the engines. Where they have worked on this spool, a device that is gone is no reason to receive nothing.

    Raises:
        ConfigurationError: a card is missing or wrong, or a stage asks of another what its card has not.
        EngineRejected: an engine is not the one that its passport describes.
        BackendUnavailable: the device cannot be used, and never was.
    """
    try:
        verify_all(config)
    except (BackendUnavailable, DeviceError) as error:
        if not _worked_before(config, "infer").exists():
            raise
        log.critical("engines cannot be used: receiving and storing only", extra={"event": {"reason": str(error)}})


def _worked_before(config: Config, role: str) -> Path:
    """Is there once the role has been ready on this spool."""
    return Layout(Path(config.spool.path)).run / f"{role}.worked"


def _studies_apart(config: Config) -> bool:
    """Whether studies have a process of their own; as it was, where the engines cannot say."""
    try:
        return studies_apart(config)
    except EngineError:
        if not _worked_before(config, "infer").exists():
            raise
        return _worked_before(config, "studies").exists()


class Supervisor:
    """`run()` until SIGTERM. The spool is locked for as long."""

    def __init__(self, config: Config, arguments: Sequence[str]) -> None:
        self._config = config
        self._arguments = tuple(arguments)  # how a role reads the same configuration
        self._layout = Layout(Path(config.spool.path))
        self._roles = [Role(name) for name in roles_of([v.name for v in config.video], _studies_apart(config))]
        self._channels = create_channels(config) if config.video else None
        self._selector = selectors.DefaultSelector()
        self._metrics = RoleMetrics(METRICS, label_values(config))
        self._exposition = Exposition(METRICS, label_values(config))
        self._metrics.set("edge_build_info", 1.0, version=__version__)
        self._metrics.set("edge_start_timestamp_seconds", time.time())
        self._gpus = GpuSampler()
        self._turned_at = time.monotonic()
        self._judge_from = 0.0
        self._stopping = self._reload_asked = False
        self._was_ready = False
        self._status = ""
        self._exit_code = EXIT_DONE

    def run(self) -> int:
        """Supervise until told to stop; the exit code."""
        signal.signal(signal.SIGTERM, self._on_stop)
        signal.signal(signal.SIGINT, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_reload)
        self._layout.create()
        with hold(self._layout.run / "supervisor.lock", wait_seconds=3.0):
            for role in self._roles:  # of a daemon that was killed a moment ago
                self._await_former(role)
            notify_systemd(_LONG_START)
            prepare_spool(self._config)
            self._reloader = Reloader(self._config, self._arguments, self._layout.run, self, self._metrics)
            self._arguments = self._reloader.setting.arguments
            self._gpus.start()
            server = HttpPorts(
                lambda: self._config, self._views(), lambda: self._exposition, self._login_failed, self._channels
            )
            log.info("started", extra={"event": {"http_port": server.port, "pid": os.getpid()}})
            try:
                while not self._stopping:
                    self._turn()
            finally:
                self._reloader.end()
                self._stop_roles()
                self._gpus.close()
                server.close()
        log.info("stopped", extra={"event": {"exit_code": self._exit_code}})
        return self._exit_code

    def _await_former(self, role: Role) -> None:
        """Wait for the process of an earlier daemon; one that hangs on a device is no reason to receive nothing."""
        try:
            hold(self._layout.run / f"{role.name}.lock", wait_seconds=5.0).close()
        except SpoolLocked:
            if role.kind not in DEVICE_KINDS:
                raise
            log.critical("role of an earlier daemon does not end", extra={"event": {"role": role.name}})

    def _turn(self) -> None:
        for key, _ in self._selector.select(_TURN_SECONDS):
            self._hear(key.data)
        now = time.monotonic()
        if now - self._turned_at > STALLED_SECONDS:
            self._judge_from = now + STALLED_SECONDS
        for role in self._roles:
            if role.process is None:
                if now >= role.start_at:
                    self._start(role)
            elif role.process.poll() is not None:
                self._bury(role, now)
            elif now >= self._judge_from:
                self._kill_if_hung(role, now)
            role.tell()
        if self._reload_asked:
            self._reload_asked = False
            self._reloader.ask()
        self._reloader.turn()
        self._turned()
        self._tell_whether_ready(now)

    def _tell_whether_ready(self, now: float) -> None:
        """Tell systemd when all is well; also when all but the accelerator is, for that may stay so for long."""
        unready = [role for role in self._roles if not role.ready or role.troubles]
        if self._stopping or any(role.kind not in DEVICE_KINDS or not role.is_down(now) for role in unready):
            return
        said = "; ".join(f"{role.name} is down: {role.last_words}" for role in unready)
        status = f"receiving and storing only: {' '.join(said.split())}" if said else "ready"
        if status != self._status:
            notify_systemd(f"STATUS={status}" if self._was_ready else f"READY=1\nSTATUS={status}")
            log.info(status)
            self._was_ready, self._status = True, status

    def _turned(self) -> None:
        self._turned_at = time.monotonic()
        notify_systemd("WATCHDOG=1" if self._was_ready else _STILL_STARTING)
        for role in self._roles:
            role.gpu_lost = None if role.gpu is None else self._gpus.lost(role.gpu)
        for kind in {role.kind for role in self._roles}:
            ready = all(role.ready and not role.troubles for role in self._roles if role.kind == kind)
            self._metrics.set("edge_role_ready", float(ready), role=kind)
        self._exposition.update("supervisor", self._metrics.snapshot())
        gpus = RoleMetrics(METRICS, {"gpu": GPUS})
        self._gpus.report(gpus)
        self._exposition.replace("gpus", gpus.snapshot())

    def _start(self, role: Role) -> None:
        if role.kind in DEVICE_KINDS and not self._is_free(role):
            role.start_at, role.down_reason = time.monotonic() + _LOOK_AGAIN_SECONDS, CANNOT_BE_ENDED
            return
        ours, theirs = socket_pair()
        command = [sys.executable, "-m", "edge_runtime.roles.main", role.name, str(theirs.fileno()), *self._arguments]
        shared, environment = self._shared()
        with theirs:
            try:
                process = subprocess.Popen(
                    command, pass_fds=[theirs.fileno(), *shared], stdin=subprocess.DEVNULL, env=environment
                )
            except OSError as error:  # no memory or no process left now; perhaps there is later
                ours.close()
                role.start_at = time.monotonic() + LONGEST_WAIT_SECONDS
                role.down_reason = f"cannot be started: {error.strerror}"
                log.error("role not started", extra={"event": {"role": role.name, "cause": error.strerror}})
                return
        role.begin(process, ours, time.monotonic())
        self._selector.register(ours, selectors.EVENT_READ, role)

    def _is_free(self, role: Role) -> bool:
        try:
            hold(self._layout.run / f"{role.name}.lock").close()
        except SpoolLocked:
            return False
        except OSError as error:  # of the disk: the role says the same, and better
            log.warning("lock not looked at", extra={"event": {"role": role.name, "cause": error.strerror}})
        return True

    def _shared(self) -> tuple[tuple[int, ...], dict[str, str]]:
        """What every role inherits where there is video."""
        if self._channels is None:
            return (), dict(os.environ)
        return self._channels.descriptors(), {**os.environ, VARIABLE: self._channels.to_text()}

    def _hear(self, role: Role) -> None:
        """Read what a role has sent, without waiting."""
        while role.end is not None:
            try:
                data = role.end.recv(4_000_000)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._close(role)
                return
            self._take(role, data)

    def _close(self, role: Role) -> None:
        if role.end is not None:
            self._selector.unregister(role.end)
            role.end.close()
            role.end = None

    def _take(self, role: Role, data: bytes) -> None:
        message: dict[str, Any] = json.loads(data)
        if "metrics" in message:
            self._exposition.update(role.name, message["metrics"])
        if "hint" in message:
            for other in self._roles:
                if other.end is not None and message["hint"] in (other.name, _HINTED_FOR.get(other.name)):
                    send(other.end, {"hint": True})
        if "state" in message:
            was_ready = role.was_ready
            role.hear(message["state"])
            if role.was_ready and not was_ready and role.kind in DEVICE_KINDS:
                self._note_worked(role)

    def _note_worked(self, role: Role) -> None:
        try:
            _worked_before(self._config, role.name).touch()
        except OSError as error:
            log.warning("not noted that the role works", extra={"event": {"role": role.name, "cause": error.strerror}})

    def _kill_if_hung(self, role: Role, now: float) -> None:
        if role.killed_at is not None:
            if role.outlives_its_end(now) and role.down_reason != CANNOT_BE_ENDED:
                role.down_reason = CANNOT_BE_ENDED
                log.critical("role cannot be ended", extra={"event": {"role": role.name, "reason": CANNOT_BE_ENDED}})
            return
        hangs_at = role.hangs_at(now)
        if hangs_at is not None:
            role.blamed = hangs_at
            log.error("role hangs and is killed", extra={"event": {"role": role.name, "activity": hangs_at[0]}})
            role.kill(now)

    def _bury(self, role: Role, now: float) -> None:
        """A role's process has ended: what it said last counts, then it is started again or the daemon gives up."""
        self._hear(role)
        assert role.process is not None
        code, was_ready = role.process.returncode, role.ready
        role.process, role.ready = None, False
        self._close(role)
        self._exposition.ended(role.name)
        if code == 0 and role.drain_seconds is not None:
            role.start_at = now
            return
        items = [item for item, _ in role.activities.values() if item]
        blamed = (role.blamed is not None and bool(role.blamed[1])) or (bool(items) and code < 0)
        event = {"role": role.name, "code": code, "item": items[0] if items else ""}
        log.error("role ended", extra={"event": event})
        self._metrics.count("edge_role_restarts_total", role=role.kind, blame="item" if blamed else "role")
        hung = None if role.blamed is None else f"hung in its {role.blamed[0]}"
        role.last_words = role.reasons.get("end", hung or f"exit code {code}")
        if code > 0 and not was_ready and self._reloader.refused_by(role.kind, role.last_words):
            return
        if ends_daemon(role.kind, code, role.was_ready, _worked_before(self._config, role.name).exists()):
            self._give_up(role, code)
            return
        verdict = role.budget.died(now, blamed)
        if role.kind == "capture":  # a camera is tried for ever, whatever it sends
            role.start_at = now + verdict.wait_seconds if not verdict.spent else now + LONGEST_WAIT_SECONDS
            role.down_reason = f"down after exit code {code}, starts again in {role.start_at - now:.0f} s"
            return
        spent = verdict.spent or code == EXIT_UNAVAILABLE
        role.start_at = now + (SPENT_WAIT_SECONDS if spent else verdict.wait_seconds)
        role.down_reason = f"down after exit code {code}, starts again in at most {role.start_at - now:.0f} s"
        if spent:
            self._metrics.count("edge_role_budget_spent_total", role=role.kind)
            if role.name == "receive":
                self._give_up(role, EXIT_FAILURE)
            log.error("restart budget spent: receive and store only", extra={"event": {"role": role.name}})

    def _give_up(self, role: Role, code: int) -> None:
        log.error("stopping, because a role cannot start", extra={"event": {"role": role.name, "exit_code": code}})
        self._exit_code, self._stopping = code, True

    def _stop_roles(self) -> None:
        """Receiving stops first, delivery last; what does not end in time is in the spool."""
        notify_systemd("STOPPING=1")
        for kind in reversed(ROLES):
            self._stop([role for role in self._roles if role.kind == kind and role.process is not None])
        self._selector.close()

    def _stop(self, roles: Sequence[Role]) -> None:
        """Ask all of them to end, and wait until they have."""
        asked: set[str] = set()
        kill_at = time.monotonic() + _DRAIN_SECONDS + _LAST_WAIT_SECONDS
        while open_roles := [role for role in roles if role.process is not None and role.process.poll() is None]:
            if time.monotonic() >= kill_at + _LEAVE_SECONDS:
                log.critical("left behind", extra={"event": {"roles": [role.name for role in open_roles]}})
                break  # its process waits in the kernel
            for role in open_roles:
                if role.name not in asked and role.end is not None and send(role.end, {"stop": _DRAIN_SECONDS}):
                    asked.add(role.name)
                if time.monotonic() >= kill_at and role.killed_at is None:
                    log.warning("role did not stop in time and is killed", extra={"event": {"role": role.name}})
                    role.kill(time.monotonic())
            for key, _ in self._selector.select(_TURN_SECONDS):
                self._hear(key.data)
            self._turned()
        for role in roles:
            self._close(role)

    def _on_stop(self, _number: int, _frame: object) -> None:
        self._stopping = True

    def _on_reload(self, _number: int, _frame: object) -> None:
        self._reload_asked = True

    def engines_loaded(self) -> Mapping[str, str] | None:
        """The marks of the engines that infer works with; None while it has none."""
        infer = next(role for role in self._roles if role.name == "infer")
        return infer.engines if infer.process is not None else None

    def take_over(self, setting: Setting, changes: Plan) -> None:
        """From now on roles start with `setting`; replace and configure those that the plan names."""
        before, self._config, self._arguments = self._config, setting.config, setting.arguments
        self._exposition.extend(label_values(setting.config))
        for role in self._roles:
            if role.kind in changes.replaced:
                role.leave(drain_seconds(role.kind, before))
            elif role.kind in changes.configured and role.process is not None:
                role.untold = list(setting.arguments)
            if role.process is None:  # waits for its next start: this may be what it waits for
                role.start_at = 0.0

    def settled(self, changes: Plan) -> bool:
        """Whether every role of the plan works with what it was given, or has ended and waits for its next start."""
        given = self._arguments[0]
        concerned = [role for role in self._roles if role.kind in (*changes.replaced, *changes.configured)]
        now = time.monotonic()
        return all((role.ready and role.configuration == given) or role.waits(now) for role in concerned)

    def reloaded(self, status: str) -> None:
        """The reload is over; a daemon that was not ready before says so when it is."""
        notify_systemd(f"READY=1\nSTATUS={status}" if self._was_ready else f"STATUS={status}")

    def _views(self) -> Views:
        return Views(self._turned_seconds_ago, self._alive, self._reasons, self._render, self._states)

    def _login_failed(self) -> None:
        self._metrics.count("edge_http_login_failures_total")

    def _turned_seconds_ago(self) -> float:
        return time.monotonic() - self._turned_at

    def _alive(self) -> bool:
        return self._turned_seconds_ago() < BEAT_SECONDS

    def _reasons(self) -> list[Reason]:
        if self._stopping:
            return [Reason("supervisor", "stopping")]
        found = [Reason(role.name, role.down_reason) for role in self._roles if not role.ready]
        found += [Reason(role.name, text) for role in self._roles for text in role.troubles]
        return found

    def _states(self) -> list[RoleState]:
        processes = {role.name: role.process for role in self._roles}
        pids = {name: process.pid if process is not None else 0 for name, process in processes.items()}
        return [RoleState(r.name, r.ready, "" if r.ready else r.down_reason, pids[r.name]) for r in self._roles]

    def _render(self) -> bytes:
        return self._exposition.render()
