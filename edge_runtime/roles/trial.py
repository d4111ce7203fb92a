"""No role: tries the engines of a configuration out beside the ones at work, and says on stdout what is wrong.

`python -m edge_runtime.roles.trial verify|load CONFIG [KEY.PATH=VALUE ...]`. It ends when its stdin does.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from edge_runtime.compose import compose_pipelines
from edge_runtime.config import Config
from edge_runtime.engines.required import verify_all
from edge_runtime.errors import EXIT_DONE, EXIT_FAILURE, EdgeRuntimeError
from edge_runtime.telemetry.logs import describe, start_logging
from edge_runtime.telemetry.metrics import NullMetrics
from edge_runtime.video_packages import require_video_packages
from edge_runtime.yaml_schema import read_schema

log = logging.getLogger("edge_runtime.trial")

NICENESS = 10


def main(arguments: Sequence[str]) -> int:
    """Verify the engines; with `load` also run their golden inputs. The exit code."""
    what, config_path, *overrides = arguments
    start_logging("trial")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the supervisor decides
    threading.Thread(target=_end_with_the_supervisor, daemon=True).start()
    _step_back()
    try:
        config = read_schema(Config, Path(config_path), overrides)
        if what == "verify":
            require_video_packages(config)
            verify_all(config)
            return EXIT_DONE
        for pipeline in compose_pipelines(config, NullMetrics()).values():
            pipeline.warm()
    except EdgeRuntimeError as error:
        sys.stdout.write(f"{error}\n")
        return error.exit_code
    except Exception as error:  # told to the supervisor, whose engines go on
        log.exception("unexpected end")
        sys.stdout.write(f"{describe(error)}\n")
        return EXIT_FAILURE
    return EXIT_DONE


def _step_back() -> None:
    """Studies go first; and where memory does not suffice for two, it is this process that the kernel ends."""
    os.nice(NICENESS)
    with contextlib.suppress(OSError):  # a sandbox may not let us
        Path("/proc/self/oom_score_adj").write_text("1000")


def _end_with_the_supervisor() -> None:
    sys.stdin.buffer.read()
    os._exit(EXIT_FAILURE)


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
