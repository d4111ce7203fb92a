"""A new configuration on its way in, step by step: read, tried out, taken over, and given back when a role refuses it.

Nothing of the old one is let go before the new one was tried in a process of its own.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edge_runtime.config import Config
from edge_runtime.engines.required import engine_marks
from edge_runtime.errors import ConfigurationError, EdgeRuntimeError
from edge_runtime.reload import Plan, plan
from edge_runtime.telemetry.health import notify_systemd
from edge_runtime.telemetry.metrics import Metrics
from edge_runtime.yaml_schema import read_schema

log = logging.getLogger("edge_runtime.supervisor")

TRIAL_SECONDS = 900.0
_MESSAGE_CHARACTERS = 2000
_READINGS = 5


@dataclass(frozen=True)
class Setting:
    """A configuration and how a role reads the same: the frozen file and the overrides."""

    config: Config
    arguments: tuple[str, ...]


class Crew(Protocol):
    """What the supervisor does for a reload."""

    def engines_loaded(self) -> Mapping[str, str] | None:
        """The marks of the engines that infer works with; None when it does not work."""

    def take_over(self, setting: Setting, changes: Plan) -> None:
        """From now on roles start with `setting`; replace and configure those that the plan names."""

    def settled(self, changes: Plan) -> bool:
        """Whether every role of the plan works with what it was given, or has ended and waits for its next start."""

    def reloaded(self, status: str) -> None:
        """The reload is over, one way or the other."""


class Trial:
    """A process of its own that verifies the engines of a configuration, and with `load` runs their golden inputs."""

    def __init__(self, arguments: Sequence[str], load: bool) -> None:
        command = [sys.executable, "-m", "edge_runtime.roles.trial", "load" if load else "verify", *arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._end_at = time.monotonic() + TRIAL_SECONDS

    def verdict(self) -> str | None:
        """None while it runs; "" when the engines are good; else what is wrong with them."""
        code = self._process.poll()
        if code is None:
            if time.monotonic() < self._end_at:
                return None
            self.end()
            return f"the new engines did not answer within {TRIAL_SECONDS:g} s"
        assert self._process.stdout is not None
        said = " ".join(self._process.stdout.read().decode(errors="replace").split())
        self.end()
        if code == 0:
            return ""
        if said:
            return said[:_MESSAGE_CHARACTERS]
        return f"the trial of the new engines ended with code {code}; there must be memory for the old ones and the new"

    def end(self) -> None:
        """End the process if it still runs."""
        self._process.kill()
        self._process.wait()
        for end in (self._process.stdin, self._process.stdout):
            if end is not None:
                end.close()


class Reloader:
    """Takes one new configuration after the other. `turn` never waits; requests that come meanwhile become one."""

    def __init__(
        self, config: Config, arguments: Sequence[str], run_folder: Path, crew: Crew, metrics: Metrics
    ) -> None:
        self._source, *self._overrides = arguments
        self._run = run_folder
        self._crew = crew
        self._metrics = metrics
        self._number = 0
        self.setting = Setting(config, (str(self._freeze()), *self._overrides))
        self._tidy(self.setting)
        self._asked = False
        self._trial: Trial | None = None
        self._wanted: tuple[Setting, Plan] | None = None
        self._previous: Setting | None = None
        self._needs_restart: tuple[str, ...] = ()
        metrics.set("edge_configuration_restart_needed", 0.0)

    def ask(self) -> None:
        """Read the configuration anew at the next turn, or when the present reload is over."""
        self._asked = True

    def end(self) -> None:
        """The daemon stops: let go of the trial."""
        if self._trial is not None:
            self._trial.end()

    def turn(self) -> None:
        """Go on as far as it goes without waiting."""
        if self._trial is not None:
            self._judge(self._trial)
        elif self._wanted is not None:
            changes = self._wanted[1]
            if self._crew.settled(changes):
                self._done("applied" if self._previous is not None else "rolled_back", changes.needs_restart)
        elif self._asked:
            self._asked = False
            self._begin()

    def refused_by(self, role: str, why: str) -> bool:
        """A role could not start. Was it to take a new configuration, then all go back to the one before: True."""
        if self._previous is None or self._wanted is None or role not in self._wanted[1].replaced:
            return False
        setting, changes = self._previous, self._wanted[1]
        event = {"role": role, "reason": why}
        log.error("role does not start with the new configuration: going back", extra={"event": event})
        self._previous, self._wanted, self.setting = None, (setting, changes), setting
        self._crew.take_over(setting, changes)
        return True

    def _begin(self) -> None:
        notify_systemd(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}\nSTATUS=reading the configuration")
        try:
            setting, changes, load = self._read()
            self._trial = Trial(setting.arguments, load)
        except (EdgeRuntimeError, OSError) as error:
            self._refuse(str(error))
            return
        self._wanted = (setting, changes)

    def _read(self) -> tuple[Setting, Plan, bool]:
        config, frozen = self._read_at_rest()
        marks = engine_marks(config)
        loaded = self._crew.engines_loaded()
        changes = plan(self.setting.config, config, other_engines=marks != loaded)
        arguments = (str(frozen), *self._overrides, *changes.kept)
        setting = Setting(read_schema(Config, frozen, arguments[1:]), arguments)
        return setting, changes, "infer" in changes.replaced

    def _read_at_rest(self) -> tuple[Config, Path]:
        """The configuration and its frozen copy; read again where the file was changed meanwhile."""
        for _ in range(_READINGS):
            config = read_schema(Config, Path(self._source), self._overrides)
            frozen = self._freeze()
            if read_schema(Config, frozen, self._overrides) == config:
                return config, frozen
        raise ConfigurationError(f"{self._source} is changed again and again while it is read; reload once more")

    def _judge(self, trial: Trial) -> None:
        wrong = trial.verdict()
        if wrong is None:
            return
        self._trial = None
        assert self._wanted is not None
        setting, changes = self._wanted
        if wrong:
            self._refuse(wrong)
            return
        event = {"changed": ", ".join(changes.changed) or "nothing", "replaced": ", ".join(changes.replaced) or "none"}
        log.info("configuration taken over", extra={"event": event})
        if changes.needs_restart:
            event = {"keys": ", ".join(changes.needs_restart)}
            log.warning("changed keys take effect when the daemon is restarted", extra={"event": event})
        self._previous, self.setting = self.setting, setting
        self._crew.take_over(setting, changes)

    def _refuse(self, why: str) -> None:
        log.error("configuration refused, the old one stays", extra={"event": {"reason": why}})
        self._done("refused")

    def _done(self, outcome: str, needs_restart: Sequence[str] = ()) -> None:
        self._tidy(self.setting, self._previous or self.setting)
        self._trial = self._wanted = self._previous = None
        self._metrics.count("edge_configuration_reloads_total", outcome=outcome)
        if outcome == "applied":
            self._needs_restart = tuple(needs_restart)
            self._metrics.set("edge_configuration_restart_needed", float(bool(needs_restart)))
        log.info("reload ended", extra={"event": {"outcome": outcome}})
        told = {"refused": "; the last reload was refused", "rolled_back": "; the last reload was undone"}
        restart = f"; restart the daemon for {', '.join(self._needs_restart)}" if self._needs_restart else ""
        self._crew.reloaded(f"ready{told.get(outcome, '')}{restart}")

    def _freeze(self) -> Path:
        """A copy of the file for roles that start later, whatever is edited meanwhile."""
        self._number += 1
        frozen = self._run / f"config-{self._number}.yaml"
        try:
            shutil.copyfile(self._source, frozen)
        except OSError as error:
            raise ConfigurationError(f"{self._source} cannot be read: {error.strerror}") from error
        return frozen

    def _tidy(self, *in_use: Setting) -> None:
        """Delete the copies that no role can be about to read."""
        kept = {setting.arguments[0] for setting in in_use}
        for file in self._run.glob("config-*.yaml"):
            if str(file) not in kept:
                file.unlink()
