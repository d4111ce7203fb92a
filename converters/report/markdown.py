"""The report as Markdown, for a person: the verdict first."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from converters.report.model import Attempt, BuildReport, Figure, LayerRow, MetricRow, NamedLatency
from converters.report.text import code, escape, milliseconds, number
from converters.text_table import size

WORST_LAYERS = 15
_NO_PLOTS = (
    "There are no plots, for matplotlib is not installed: `pip install 'edge-runtime[convert]'`; "
    "`edge-convert report DIR` then draws them."
)
_NOT_RUN = "Not measured: the plan has not run on a GPU."


def markdown(report: BuildReport, plots: Collection[str] | None = ()) -> str:
    """The text. `plots`: the names of those that lie beside it; None: they could not be drawn."""
    drawn = frozenset(plots or ())
    title = f"# {escape(report.name)} {escape(report.version)}: {_precision(report)} for {escape(report.target)}"
    sections = [
        [title, "", _verdict(report)],
        _metrics(report, drawn),
        _layers(report, drawn),
        _sizes(report, drawn),
        _parity(report),
        _latency(report, drawn),
        _calibration(report, drawn),
        _how_built(report),
        _section("Warnings", [f"- {escape(text)}" for text in report.warnings]),
        [] if plots is not None else [_NO_PLOTS],
    ]
    return "\n\n".join("\n".join(section) for section in sections if section) + "\n"


def _precision(report: BuildReport) -> str:
    return escape(report.precision.upper())


def _verdict(report: BuildReport) -> str:
    precision = _precision(report)
    parts = []
    if not report.metrics:
        parts.append("**Not measured on labelled samples.** "
                     + ("FP32 is compared with its checkpoint alone; its figures stand beside those of lower precision."
                        if report.precision == "fp32" else
                        f"Nothing here says how well {precision} answers compared with FP32."))  # fmt: skip
    elif not report.gated:
        parts.append("**No gate.** Task metrics were measured, and the card names no tolerance for them.")
    elif report.passed:
        allowed = "" if report.precision == "fp32" else " of FP32's"
        parts.append(f"**Passed.** Every figure on {_holdout_size(report)} is within the card's tolerance{allowed}.")
    else:
        failed = ", ".join(escape(row.metric) for row in report.metrics if not row.passed)
        parts.append(f"**Not passed:** {failed} on {_holdout_size(report)}.")
    if report.raised:
        of = f" of {report.low_precision_layers + len(report.raised)}" if report.low_precision_layers else ""
        parts.append(f"For that, {len(report.raised)}{of} layers stayed in FP32.")
    if not report.runs_here:
        parts.append("The plan itself has not run: no GPU was used, and its figures are those of the network in it.")
    if report.warnings:
        parts.append(f"There {'is 1 warning' if len(report.warnings) == 1 else f'are {len(report.warnings)} warnings'}"
                     " at the end.")  # fmt: skip
    return " ".join(parts)


def _holdout_size(report: BuildReport) -> str:
    return "the hold-out set" if report.holdout is None else f"{report.holdout.samples} labelled samples"


def _metrics(report: BuildReport, drawn: Collection[str]) -> list[str]:
    if not report.metrics:
        return []
    alone = report.precision == "fp32"
    header = ["metric", "FP32", *([] if alone else [_precision(report), "lower by"]),
              "worst sample", "lowest allowed", "verdict"]  # fmt: skip
    rows = [_metric(row, alone) for row in report.metrics]
    lines = _table(header, rows)
    if report.holdout is not None:
        lines += ["", f"{report.holdout.samples} samples of {code(report.holdout.source)} "
                      f"(SHA-256 `{report.holdout.sha256[:16]}`), measured with {code(report.holdout.measured)} on the "
                      "processor. In brackets: 95 % confidence interval."]  # fmt: skip
    return _section("Task metrics", lines, _image(drawn, "report-metrics.svg", "Task metrics with intervals"))


def _metric(row: MetricRow, alone: bool) -> list[str]:
    verdict = "-" if row.lowest_allowed is None else "passed" if row.passed else "**not passed**"
    lowest = "-" if row.lowest_allowed is None else number(row.lowest_allowed)
    others = [] if alone else [_figure(row.found), number(row.fp32.value - row.found.value)]
    return [escape(row.metric), _figure(row.fp32), *others, number(row.found.worst), lowest, verdict]


def _figure(figure: Figure) -> str:
    return f"{number(figure.value)} ({number(figure.low)} to {number(figure.high)})"


def _layers(report: BuildReport, drawn: Collection[str]) -> list[str]:
    lines: list[str] = []
    if report.raised:
        lines += [
            f"These layers stayed in FP32, for alone in {_precision(report)} they changed the output most:", "",
            *_table(["layer", "operator", "SQNR of the output"],
                    [[code(r.name), escape(r.operator), _decibels(r.sqnr_db)] for r in report.raised]), "",
        ]  # fmt: skip
    if len(report.attempts) > 1:
        names = [escape(row.metric) for row in report.metrics]
        rows = [[str(a.raised), *_figures(a, len(names)), str(a.unanswered), "passed" if a.passed else "-"]
                for a in report.attempts]  # fmt: skip
        lines += [*_table(["layers in FP32", *names, "no answer", "gate"], rows), ""]
    if report.layers:
        worst = sorted(report.layers, key=lambda row: row.order)[:WORST_LAYERS]
        rows = [[code(row.name), escape(row.operator), *_errors(row), "FP32" if row.raised else _precision(report)]
                for row in worst]  # fmt: skip
        all_of = f"The {len(worst)} worst of {len(report.layers)} tensors, compared with FP32 on the same inputs"
        lines += [f"{all_of} (all are in `report.json`; errors of earlier layers add up):", "",
                  *_table(["tensor", "operator", "SQNR", "largest error", "precision"], rows)]  # fmt: skip
    return _section("Layers", lines, _image(drawn, "report-layers.svg", "Error of each layer"))


def _figures(attempt: Attempt, count: int) -> list[str]:
    if len(attempt.figures) != count:
        raise ValueError(f"an attempt of the gate has {len(attempt.figures)} figures for {count} metrics")
    return [number(figure) for figure in attempt.figures]


def _errors(row: LayerRow) -> list[str]:
    if row.maximum_absolute_error is None:
        return ["not finite", "not finite"]
    return ["equal" if row.sqnr_db is None else _decibels(row.sqnr_db), number(row.maximum_absolute_error)]


def _decibels(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} dB"


def _sizes(report: BuildReport, drawn: Collection[str]) -> list[str]:
    lines = _table(["file", "size"], [[escape(one.what), size(one.size_bytes)] for one in report.sizes])
    return _section("Size", lines, _image(drawn, "report-size.svg", "Sizes"))


def _parity(report: BuildReport) -> list[str]:
    parity = report.parity
    if parity is None:
        return []
    allowed = (
        "; the gate above decides whether that is good enough"
        if parity.tolerance is None
        else f", {number(parity.tolerance)} is allowed"
    )
    return _section("Parity", [
        f"On the golden input, the output of {code(parity.measured)} differs from that of {escape(parity.reference)} "
        f"by at most {number(parity.maximum_absolute_error)}{allowed}."
    ])  # fmt: skip


def _latency(report: BuildReport, drawn: Collection[str]) -> list[str]:
    if not report.runs_here:
        return _section("Latency", [_NOT_RUN])
    if not report.latency:
        return []
    rows = [_latency_row(one) for one in report.latency]
    lines = _table(["", "p50", "p90", "p99", "longest", "runs"], rows)
    first = report.latency[0].latency
    lines += ["", f"Milliseconds on the CPU: {escape(first.processor)}, {first.threads} threads. One run after the "
                  "other, compute alone. These figures say nothing of a GPU."]  # fmt: skip
    return _section("Latency", lines, _image(drawn, "report-latency.svg", "Latency on the CPU"))


def _latency_row(one: NamedLatency) -> list[str]:
    found = one.latency
    figures = [found.p50_seconds, found.p90_seconds, found.p99_seconds, found.longest_seconds]
    return [escape(one.name), *map(milliseconds, figures), str(found.runs)]


def _calibration(report: BuildReport, drawn: Collection[str]) -> list[str]:
    used = report.calibration
    if used is None:
        return []
    method = escape(used.method) + ("" if used.percentile is None else f" {used.percentile:g} %")
    lines = [
        f"Ranges by {method}, from {used.inputs} inputs of {used.samples} samples of {code(used.source)} "
        f"(SHA-256 `{used.sha256[:16]}`), prepared as the daemon prepares them."
    ]
    return _section("Calibration", lines, _image(drawn, "report-calibration.svg", "Histograms with the ranges chosen"))


def _how_built(report: BuildReport) -> list[str]:
    facts = [
        ("command", code(" ".join(report.command)) if report.command else ""),
        ("engine", f"{code(report.engine_file)} (SHA-256 `{report.engine_sha256[:16]}`)"),
        ("card", f"SHA-256 `{report.card_sha256[:16]}`"),
        ("checkpoint", f"{escape(report.checkpoint_format)} (SHA-256 `{report.checkpoint_sha256[:16]}`)"),
        *((name, escape(", ".join(values))) for name, values in (
            ("runs on", report.details), ("options", report.options), ("packages", report.packages),
            ("graph rewritten", report.rewrites))),
        ("time", ", ".join(f"{escape(step.what)} {step.seconds:.1f} s" for step in report.steps)),
    ]  # fmt: skip
    return _section("How it was built", [f"- {name}: {value}" for name, value in facts if value])


def _section(heading: str, lines: Sequence[str], image: Sequence[str] = ()) -> list[str]:
    body = [*lines, *image]
    while body and not body[-1]:
        body.pop()
    return [f"## {heading}", "", *body] if body else []


def _image(drawn: Collection[str], name: str, what: str) -> list[str]:
    return ["", f"![{what}]({name})"] if name in drawn else []


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    cells = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(row)} |" for row in cells]
