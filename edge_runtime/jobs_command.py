"""`edge-runtime jobs`: what the journal says, for the person at the console. Works beside a running daemon."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edge_runtime.config import Config
from edge_runtime.errors import EXIT_DONE, EXIT_FAILURE
from edge_runtime.spool.jobs import Job
from edge_runtime.spool.spool import open_spool

if TYPE_CHECKING:
    from edge_runtime.jobs_find import Wanted


class JobsCommand:
    """The actions. Each returns an exit code; an unknown job raises SpoolError."""

    def __init__(self, config: Config, as_json: bool) -> None:
        self._spool = open_spool(config)
        self._as_json = as_json

    def close(self) -> None:
        """Close the journal."""
        self._spool.close()

    def list(self, state: str | None) -> int:
        """One line a job, the newest first."""
        jobs = [job for job in self._spool.jobs.all() if state is None or job.state == state]
        if self._as_json:
            print(json.dumps([self._record(job) for job in jobs], indent=1))
            return EXIT_DONE
        for job in jobs:
            received = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(job.last_received_at))
            print(f"{job.id}  {job.pipeline}  r{job.revision}  {job.state:<10}  {received}  {job.reason}".rstrip())
        print(f"{len(jobs)} jobs")
        return EXIT_DONE

    def show(self, job_id: str) -> int:
        """Everything about one job, its files and its deliveries."""
        print(json.dumps(self._record(self._spool.jobs.get(job_id)), indent=1))
        return EXIT_DONE

    def retry(self, job_id: str) -> int:
        """Let a parked or refused job run again, and its parked deliveries be tried again."""
        job = self._spool.jobs.get(job_id)
        if job.state in ("parked", "refused"):
            concluded = (self._spool.layout.job(job_id) / "result.json").exists()
            job = self._spool.jobs.step(job_id, "retry_report" if concluded else "retry_inference")
            print(f"{job_id} is {job.state} again")
            return EXIT_DONE
        queued = self._spool.deliveries.retry(job_id)
        if queued:
            print(f"{queued} deliveries of {job_id} are due now")
            return EXIT_DONE
        print(f"{job_id} is {job.state}: nothing to retry")
        return EXIT_FAILURE

    def cancel(self, job_id: str) -> int:
        """Give a job up: nothing more is computed or delivered of it. Its images stay for the retention time."""
        job = self._spool.deliveries.cancel(job_id, "cancelled at the console")
        print(f"{job_id} is {job.state}")
        return EXIT_DONE

    def find(self, wanted: Wanted) -> int:
        """Where is the study that has these numbers: its series, their jobs, their deliveries."""
        from edge_runtime.jobs_find import find_series, print_found  # reads DICOM headers

        return print_found(find_series(self._spool, wanted), self._as_json)

    def _record(self, job: Job) -> dict[str, Any]:
        shown = ("destination", "file_name", "state", "attempts", "reason")
        deliveries = [{key: row[key] for key in shown} for row in self._spool.deliveries.of_job(job.id)]
        files = [{key: row[key] for key in ("kind", "file_name", "sha256")} for row in self._results(job)]
        record = asdict(job)
        del record["series_key"]
        return {
            **record,
            "images": len(self._spool.instances.of_job(job.id)),
            "folder": str(self._spool.layout.job(job.id)),
            "files": files,
            "deliveries": deliveries,
        }

    def _results(self, job: Job) -> Any:
        return self._spool.deliveries.results_of(job.id)
