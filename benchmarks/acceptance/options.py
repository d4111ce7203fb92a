"""The options of `edge-bench site`; importing them loads nothing that the command needs."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any


def add_site_parser(commands: Any) -> None:
    """Add the subcommand to `argparse`'s."""
    text = "Run a site's configuration under its traffic, and judge it by the budgets of that configuration."
    site = commands.add_parser("site", help="accept a site", description=text)
    site.add_argument("config", metavar="CONFIG", type=Path, help="the site's YAML file")
    site.add_argument("--minutes", type=_minutes, required=True, help="how long")
    site.add_argument("--out", metavar="DIR", type=Path, required=True, help="the acceptance folder")
    site.add_argument("--traffic", metavar="TRAFFIC.yaml", type=Path, help="what the site is sent: docs/acceptance.md")


def _minutes(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError("must be positive")
    return value
