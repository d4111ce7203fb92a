"""Where figures come from: machine, its state before and after, load, versions, engines."""

from benchmarks.provenance.disk import MEMORY_FILE_SYSTEMS, FileSystem, file_system, sha256_of
from benchmarks.provenance.engines import accelerator_of, described
from benchmarks.provenance.machine import cpu_model
from benchmarks.provenance.versions import PACKAGES
from benchmarks.provenance.watch import QUIET_LOAD, QUIET_SHARE, Watch

__all__ = [
    "MEMORY_FILE_SYSTEMS", "PACKAGES", "QUIET_LOAD", "QUIET_SHARE", "FileSystem", "Watch", "accelerator_of",
    "cpu_model", "described", "file_system", "sha256_of",
]  # fmt: skip
