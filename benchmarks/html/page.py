"""The whole page."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from benchmarks.html import acceptance, plots, sections
from benchmarks.html.elements import element
from benchmarks.html.headline import headline, title
from benchmarks.html.latency import latencies
from benchmarks.html.model import parse
from benchmarks.html.scaling import scaling
from benchmarks.html.style import CSS
from benchmarks.html.timing import timing
from benchmarks.record import BenchFailed

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def page(document: Mapping[str, Any], name: str) -> str:
    """A result as an HTML page that loads nothing and runs no script; the same result gives the same page.

    `name` is that of the result's file, where the raw samples are.

    Raises:
        NotAResult: the document is not what `edge-bench run` writes.
        BenchFailed: matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise BenchFailed("the page's plots need matplotlib: install the extra `bench`")
    result = parse(document)
    budgets = acceptance.rows(result)
    verdict = acceptance.overall(result.state, result.reduced, budgets)
    said = headline(result, verdict, budgets)
    body = element(
        "body",
        sections.head(result, said, name),
        element(
            "main",
            *sections.acceptance(budgets, verdict),
            *sections.figures(result),
            *latencies(result),
            *timing(result),
            *scaling(result),
            sections.sources(result, name),
        ),
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", **{"http-equiv": "Content-Security-Policy", "content": _POLICY}),
        element("link", rel="icon", href="data:,"),
        element("title", f"{title(result)}: {said.short}"),
        element("style", CSS),
    )
    root = element("html", head, body, lang="en")
    plots.tell_apart(root)
    return "<!DOCTYPE html>\n" + ElementTree.tostring(root, encoding="unicode", method="html") + "\n"


def write_page(document: Mapping[str, Any], result: Path, target: Path) -> None:
    """Write the page of the result that was read from the file `result`.

    Raises:
        NotAResult, BenchFailed: see `page`.
        OSError: the page cannot be written.
    """
    target.write_text(page(document, result.name), encoding="utf-8")
