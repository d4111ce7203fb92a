"""The report's files."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
from pathlib import Path

from converters.report.markdown import markdown
from converters.report.model import BuildReport
from converters.workspace import write
from edge_runtime.engines.passport import PASSPORT_FILE
from edge_runtime.engines.verify import read_document
from edge_runtime.errors import ConfigurationError
from edge_runtime.strict_json import NotOfSchema, build

JSON_FILE, MARKDOWN_FILE = "report.json", "report.md"


def render(report: BuildReport) -> dict[str, bytes]:
    """The files by name; the same report gives the same bytes.

    Without matplotlib there are no plots, and the Markdown says so.
    """
    plots: dict[str, bytes] | None = None
    if importlib.util.find_spec("matplotlib") is not None:
        from converters.report.plots import draw

        plots = draw(report)
    document = json.dumps(dataclasses.asdict(report), indent=1, sort_keys=True, allow_nan=False)
    text = markdown(report, None if plots is None else frozenset(plots))
    return {JSON_FILE: document.encode("ascii") + b"\n", MARKDOWN_FILE: text.encode(), **(plots or {})}


def write_report(report: BuildReport, folder: Path) -> tuple[str, ...]:
    """Write the files into a folder; returns their names."""
    files = render(report)
    for name, data in files.items():
        write(folder / name, data)
    return tuple(files)


def read_report(folder: Path) -> BuildReport:
    """Read the report of an engine's folder; beside a passport, the one that the passport names.

    Raises:
        ConfigurationError: there is none, or it is not what this version writes.
        EngineRejected: it is not the one of the passport.
    """
    file = folder / JSON_FILE
    try:
        sealed = file.is_file() and (folder / PASSPORT_FILE).is_file()
        data = read_document(Path(os.path.abspath(folder)), JSON_FILE) if sealed else file.read_bytes()
        return build(BuildReport, json.loads(data), "report")
    except FileNotFoundError:
        raise ConfigurationError(f"{folder} has no {JSON_FILE}; name the folder of an engine") from None
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror or error}") from error
    except NotOfSchema as error:
        raise ConfigurationError(f"{file} is no report of this version: {error}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{file} is no JSON: {error}") from error
