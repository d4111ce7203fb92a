"""Starts the roles, watches them, replaces the one that died or hangs, and says how the daemon is."""

from __future__ import annotations

import json
import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_runtime.config import Config
from edge_runtime.errors import EXIT_DONE, EXIT_FAILURE, EXIT_UNAVAILABLE
from edge_runtime.metrics import METRICS, label_values
from edge_runtime.restart_policy import LONGEST_WAIT_SECONDS, SPENT_WAIT_SECONDS, RestartBudget
from edge_runtime.roles.link import send, socket_pair
from edge_runtime.spool.layout import Layout, hold
from edge_runtime.spool.spool import prepare_spool
from edge_runtime.telemetry.exposition import Exposition
from edge_runtime.telemetry.health import HealthServer, Reason, Views, notify_systemd
from edge_runtime.telemetry.metrics import RoleMetrics

log = logging.getLogger("edge_runtime.supervisor")

ROLES = ("deliver", "report", "infer", "receive")
"""In the order of starting; they stop in the reverse order."""

BEAT_SECONDS = 20.0
"""A role whose main loop has not turned for this long, with nothing declared, has hung."""

START_SECONDS = 120.0
"""The same before a role is ready: a slow disk takes its time to load libraries."""

STALLED_SECONDS = 5.0
"""A supervisor that was held up for longer judges nobody for as long: it has only old messages."""

_TURN_SECONDS = 0.2
_DRAIN_SECONDS = 8.0
_LAST_WAIT_SECONDS = 2.0


@dataclass
class Role:
    """One role and its process, when it has one."""

    name: str
    budget: RestartBudget = field(default_factory=RestartBudget)
    process: subprocess.Popen[bytes] | None = None
    end: socket.socket | None = None
    ready: bool = False
    was_ready: bool = False
    reasons: dict[str, str] = field(default_factory=dict)
    activities: dict[str, tuple[str, float]] = field(default_factory=dict)
    beat_at: float = 0.0
    start_at: float = 0.0  # when to start it, while it has no process
    down_reason: str = "starting"
    blamed: tuple[str, str] | None = None  # activity and item that made it hang
    killed: bool = False


class Supervisor:
    """`run()` until SIGTERM. The spool is locked for as long."""

    def __init__(self, config: Config, arguments: Sequence[str]) -> None:
        self._config = config
        self._arguments = tuple(arguments)  # how a role reads the same configuration
        self._layout = Layout(Path(config.spool.path))
        self._roles = [Role(name) for name in ROLES]
        self._selector = selectors.DefaultSelector()
        self._metrics = RoleMetrics(METRICS, label_values(config))
        self._exposition = Exposition(METRICS, label_values(config))
        self._turned_at = time.monotonic()
        self._judge_from = 0.0
        self._stopping = False
        self._was_ready = False
        self._exit_code = EXIT_DONE

    def run(self) -> int:
        """Supervise until told to stop; the exit code."""
        self._layout.create()
        with hold(self._layout.run / "supervisor.lock", wait_seconds=3.0):
            for name in ROLES:  # of a daemon that was killed a moment ago
                hold(self._layout.run / f"{name}.lock", wait_seconds=5.0).close()
            prepare_spool(self._config)
            self._freeze_configuration()
            server = HealthServer(self._config.http, Views(self._alive, self._reasons, self._render, self._states))
            log.info("started", extra={"event": {"http_port": server.port, "pid": os.getpid()}})
            signal.signal(signal.SIGTERM, self._on_stop)
            signal.signal(signal.SIGINT, self._on_stop)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            try:
                while not self._stopping:
                    self._turn()
            finally:
                self._stop_roles()
                server.close()
        log.info("stopped", extra={"event": {"exit_code": self._exit_code}})
        return self._exit_code

    def _freeze_configuration(self) -> None:
        """A role that starts again reads what the others read, whatever was edited meanwhile."""
        config, *overrides = self._arguments
        frozen = self._layout.run / "config.yaml"
        frozen.write_bytes(Path(config).read_bytes())
        self._arguments = (str(frozen), *overrides)

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
        self._turned()
        if not self._was_ready and not self._reasons():
            self._was_ready = True
            notify_systemd("READY=1\nSTATUS=ready")
            log.info("ready")

    def _turned(self) -> None:
        self._turned_at = time.monotonic()
        notify_systemd("WATCHDOG=1")

    def _start(self, role: Role) -> None:
        ours, theirs = socket_pair()
        command = [sys.executable, "-m", "edge_runtime.roles.main", role.name, str(theirs.fileno()), *self._arguments]
        with theirs:
            try:
                role.process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
            except OSError as error:  # no memory or no process left now; perhaps there is later
                ours.close()
                role.start_at = time.monotonic() + LONGEST_WAIT_SECONDS
                role.down_reason = f"cannot be started: {error.strerror}"
                log.error("role not started", extra={"event": {"role": role.name, "cause": error.strerror}})
                return
        role.end, role.ready, role.beat_at = ours, False, time.monotonic()
        role.reasons, role.activities, role.blamed, role.killed = {}, {}, None, False
        role.down_reason = "starting"
        self._selector.register(ours, selectors.EVENT_READ, role)

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
                if other.name == message["hint"] and other.end is not None:
                    send(other.end, {"hint": True})
        if "state" in message:
            state = message["state"]
            role.ready, role.reasons, role.beat_at = state["ready"], state["reasons"], state["beat_at"]
            role.activities = {name: (item, until) for name, (item, until) in state["activities"].items()}
            role.was_ready = role.was_ready or role.ready

    def _kill_if_hung(self, role: Role, now: float) -> None:
        late = [(name, item) for name, (item, until) in role.activities.items() if now > until]
        bound = BEAT_SECONDS if role.ready else START_SECONDS
        silent = not role.activities and now - role.beat_at > bound
        if (late or silent) and role.process is not None and not role.killed:
            role.blamed, role.killed = late[0] if late else None, True
            event = {"role": role.name, "activity": late[0][0] if late else "main loop"}
            log.error("role hangs and is killed", extra={"event": event})
            role.process.kill()

    def _bury(self, role: Role, now: float) -> None:
        """A role's process has ended: what it said last counts, then it is started again or the daemon gives up."""
        self._hear(role)
        assert role.process is not None
        code = role.process.returncode
        role.process, role.ready = None, False
        self._close(role)
        self._exposition.ended(role.name)
        items = [item for item, _ in role.activities.values() if item]
        blamed = (role.blamed is not None and bool(role.blamed[1])) or (bool(items) and code < 0)
        event = {"role": role.name, "code": code, "item": items[0] if items else ""}
        log.error("role ended", extra={"event": event})
        self._metrics.count("edge_role_restarts_total", role=role.name, blame="item" if blamed else "role")
        self._exposition.update("supervisor", self._metrics.snapshot())
        if code > 0 and not role.was_ready:
            self._give_up(role, code)
            return
        verdict = role.budget.died(now, blamed)
        spent = verdict.spent or code == EXIT_UNAVAILABLE
        role.start_at = now + (SPENT_WAIT_SECONDS if spent else verdict.wait_seconds)
        role.down_reason = f"down after exit code {code}, starts again in at most {role.start_at - now:.0f} s"
        if spent:
            if role.name == "receive":
                self._give_up(role, EXIT_FAILURE)
            log.error("restart budget spent: receive and store only", extra={"event": {"role": role.name}})

    def _give_up(self, role: Role, code: int) -> None:
        log.error("stopping, because a role cannot start", extra={"event": {"role": role.name, "exit_code": code}})
        self._exit_code, self._stopping = code, True

    def _stop_roles(self) -> None:
        """Receiving stops first, delivery last; what does not end in time is in the spool."""
        notify_systemd("STOPPING=1")
        for name in reversed(ROLES):
            role = next(r for r in self._roles if r.name == name)
            if role.process is not None:
                self._stop(role, role.process)
                self._close(role)
        self._selector.close()

    def _stop(self, role: Role, process: subprocess.Popen[bytes]) -> None:
        asked = False
        kill_at = time.monotonic() + _DRAIN_SECONDS + _LAST_WAIT_SECONDS
        while process.poll() is None:
            if not asked and role.end is not None:
                asked = send(role.end, {"stop": _DRAIN_SECONDS})
            for key, _ in self._selector.select(_TURN_SECONDS):
                self._hear(key.data)
            if time.monotonic() >= kill_at and not role.killed:
                log.warning("role did not stop in time and is killed", extra={"event": {"role": role.name}})
                process.kill()
                role.killed = True
            self._turned()

    def _on_stop(self, _number: int, _frame: object) -> None:
        self._stopping = True

    def _alive(self) -> bool:
        return time.monotonic() - self._turned_at < BEAT_SECONDS

    def _reasons(self) -> list[Reason]:
        if self._stopping:
            return [Reason("supervisor", "stopping")]
        found = [Reason(role.name, role.down_reason) for role in self._roles if not role.ready]
        found += [Reason(role.name, text) for role in self._roles for text in role.reasons.values()]
        return found

    def _states(self) -> list[tuple[str, str]]:
        return [(role.name, "ready" if role.ready else role.down_reason) for role in self._roles]

    def _render(self) -> bytes:
        return self._exposition.render()
