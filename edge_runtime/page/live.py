"""The page of a running daemon: gathers its facts in the thread of the request, and remembers them for a second."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from edge_runtime.config import Config
from edge_runtime.errors import SpoolError
from edge_runtime.page.engines import EngineFacts, engine_facts
from edge_runtime.page.journal import JournalFacts, read_journal
from edge_runtime.page.results import PICTURED, Results, picture_of, read_picture
from edge_runtime.page.sources import FrameRates, InTimeShares, video_facts
from edge_runtime.page.status import DestinationFacts, Document, Facts, status_document
from edge_runtime.spool.layout import Layout
from edge_runtime.telemetry.exposition import Exposition
from edge_runtime.telemetry.health import RoleState, Views

REMEMBERED_SECONDS = 1.0
_REST_FACTOR = 10.0  # reading takes at most a tenth of the time, however long the journal is
_LONGEST_REST_SECONDS = 10.0
_PATIENCE_SECONDS = 5.0


class LivePage:
    """What `/api/status` and the thumbnails show. Safe for many threads: one gathers, the others get what it found."""

    def __init__(self, config: Callable[[], Config], views: Views, exposition: Callable[[], Exposition]) -> None:
        self._config = config
        self._views = views
        self._exposition = exposition
        self._layout = Layout(Path(config().spool.path))
        self._results = Results(self._layout.jobs)
        self._gathering = threading.Lock()
        self._document: Document = {}
        self._gathered_at = 0.0  # monotonic, as is the next
        self._good_until = 0.0
        self._journal: JournalFacts | None = None
        self._rates = FrameRates()
        self._shares = InTimeShares()
        self._engines: tuple[object, tuple[EngineFacts, ...]] = (None, ())

    def status(self) -> bytes:
        """The status document as JSON.

        Raises:
            TimeoutError: another request has been gathering it for too long.
        """
        if not self._gathering.acquire(timeout=_PATIENCE_SECONDS):
            raise TimeoutError("the status is still being gathered")
        try:
            began = time.monotonic()
            if began >= self._good_until:
                self._document = status_document(self._config(), self._gather())
                took = time.monotonic() - began
                rest = min(max(REMEMBERED_SECONDS, _REST_FACTOR * took), _LONGEST_REST_SECONDS)
                self._gathered_at, self._good_until = began, began + rest
            old = round(time.monotonic() - self._gathered_at, 1)
            return json.dumps({"age_seconds": old, **self._document}, separators=(",", ":")).encode()
        finally:
            self._gathering.release()

    def thumbnail(self, name: str) -> bytes | None:
        """The PNG of that file name, or None where there is none to show."""
        return read_picture(self._layout.jobs, name, self._config().http.thumbnails)

    def _gather(self) -> Facts:
        config, error = self._config(), ""
        try:
            self._journal = read_journal(self._layout.journal)
        except SpoolError as problem:
            error = str(problem)
        roles = self._views.roles()
        jobs = self._journal.jobs if self._journal else ()
        policy = config.http.thumbnails
        loaded = any(role.name == "infer" and role.ready for role in roles)
        return Facts(
            now=time.time(),
            roles=roles,
            reasons=self._views.reasons(),
            turned_seconds_ago=self._views.turned_seconds_ago(),
            restarts=self._restarts(),
            free_bytes=self._free_bytes(),
            journal=self._journal,
            journal_error=error,
            results={job["id"]: self._results.get(job["id"], job["state"]) for job in jobs},
            pictures={j["id"]: picture_of(self._layout.jobs, j["id"], policy) for j in jobs if j["state"] in PICTURED},
            destinations=self._destinations(config),
            engines=self._engines_of(config, roles),
            engines_loaded=loaded,
            video=video_facts(
                self._exposition(), [video.name for video in config.video], self._rates, self._shares, time.time()
            ),
        )

    def _free_bytes(self) -> int | None:
        try:
            usage = os.statvfs(self._layout.root)
        except OSError:
            return None
        return usage.f_bavail * usage.f_frsize

    def _restarts(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for (role, _), count in self._exposition().values("edge_role_restarts_total").items():
            found[role] = found.get(role, 0) + int(count)
        return found

    def _destinations(self, config: Config) -> dict[str, DestinationFacts]:
        exposition = self._exposition()
        up = exposition.values("edge_destination_up")
        attempts = [
            (name, outcome == "done", at, reason)
            for (name, outcome, reason), at in exposition.raised_at("edge_deliveries_total").items()
        ]
        attempts += [
            (name, outcome == "sent", at, outcome)
            for (name, outcome), at in exposition.raised_at("edge_live_results_total").items()
        ]
        found = {}
        for name in (destination.name for destination in config.destinations):
            good = [at for where, done, at, _ in attempts if where == name and done]
            bad = [(at, reason) for where, done, at, reason in attempts if where == name and not done]
            failure_at, failure = max(bad, default=(None, ""))
            answered = up.get((name,))
            found[name] = DestinationFacts(
                None if answered is None else answered > 0, max(good, default=None), failure_at, failure
            )
        return found

    def _engines_of(self, config: Config, roles: list[RoleState]) -> tuple[EngineFacts, ...]:
        """Read once for each process that has loaded them: what lies on the disk later is not what runs."""
        process = next((role.process for role in roles if role.name == "infer" and role.ready), 0)
        key = (process, config.engines, config.pipelines)
        if not process or self._engines[0] != key:
            self._engines = (key if process else None, engine_facts(config))
        return self._engines[1]
