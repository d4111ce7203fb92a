"""A canary: a role whose detector takes 2 ms longer. `python -m support.slow_infer` in place of the role's module."""

from __future__ import annotations

import sys
import time
from typing import Any
from unittest.mock import patch

from edge_runtime.roles.main import main
from edge_runtime.stages.stage import run_stage

SLOW_STAGE, SLOW_SECONDS = "find", 0.002


def slow(stage: Any, *arguments: Any, **keywords: Any) -> Any:
    """Run the stage, and sleep where it is the slow one."""
    if stage.name == SLOW_STAGE:
        time.sleep(SLOW_SECONDS)
    return run_stage(stage, *arguments, **keywords)


if __name__ == "__main__":
    with patch("edge_runtime.stages.pipeline.run_stage", slow):
        sys.exit(main(sys.argv[1:]))
