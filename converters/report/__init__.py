"""The report that lies beside an engine: `report.json`, `report.md` and plots as SVG."""

from converters.report.files import read_report, render, write_report
from converters.report.markdown import markdown
from converters.report.model import BuildReport

__all__ = ["BuildReport", "markdown", "read_report", "render", "write_report"]
