"""Convert the networks of the zoo; as a program, all of them for every target in every precision, into a table.

PYTHONPATH=tests python -m support.zoo_table OUT.json [NETWORK ...]
"""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.zoo import LOSS_ALLOWED, NETWORKS, write_network

from converters.cli import main as edge_convert
from converters.report import read_report
from edge_runtime.engines.verify import verify

TARGETS, PRECISIONS = ("onnxruntime", "tensorrt-rtx"), ("fp32", "fp16", "int8")


@dataclass(frozen=True)
class Row:
    """An engine. error: of the golden output, the largest difference from PyTorch. p50: on the processor, if it ran."""

    network: str
    target: str
    precision: str
    size_bytes: int
    error: float
    metric: str | None
    fp32: float | None
    found: float | None
    raised: int
    p50_seconds: float | None


def product(names: list[str]) -> list[tuple[str, str, str]]:
    """Every network for every target in every precision."""
    return [(n, t, p) for n in names for t in TARGETS for p in PRECISIONS]


def pairwise(names: list[str]) -> list[tuple[str, str, str]]:
    """Of the product as few as hold every pair of two of the three."""
    return [(name, TARGETS[(i + k) % 2], precision) for i, name in enumerate(names)
            for k, precision in enumerate(PRECISIONS)]  # fmt: skip


def convert(folder: Path, target: str, precision: str) -> Row:
    """Build an engine of a network that `write_network` wrote, and verify it."""
    output = folder / f"{target}-{precision}"
    code = edge_convert(["build", str(folder), "--target", target, "--precision", precision, "--output", str(output)])
    assert code == 0, f"edge-convert build {folder.name} {target} {precision} ended with {code}"
    passport = verify(output, (), allow_unsigned=True, any_machine=True).passport
    if target == "tensorrt-rtx":
        assert passport.target.compute_capabilities == ("8.6", "8.9", "12.0")
    report = read_report(output)
    metric = passport.task_metrics[0] if passport.task_metrics else None
    return Row(
        network=folder.name,
        target=target,
        precision=precision,
        size_bytes=passport.engine.size_bytes,
        error=passport.parity.maximum_absolute_error,
        metric=None if metric is None else metric.name,
        fp32=None if metric is None else metric.fp32,
        found=None if metric is None else metric.value,
        raised=len(passport.precision.raised),
        p50_seconds=report.latency[0].latency.p50_seconds if report.latency else None,
    )


def cases(axes: int) -> list[Any]:
    """The tests' choice for networks of so many axes of space; what it leaves out of the product is marked `full`."""
    names = [name for name, network in NETWORKS.items() if len(network.spatial) == axes]
    some = pairwise(names)
    rest = [case for case in product(names) if case not in some]
    return [*some, *(pytest.param(*case, marks=pytest.mark.full) for case in rest)]


def check(name: str, target: str, precision: str, engines: Path) -> None:
    """An engine is as PyTorch computes it in FP32, and in lower precision has task metrics that its card allows.

    The network is written below `engines` the first time.
    """
    folder = engines / name
    row = convert(folder if folder.exists() else write_network(name, engines), target, precision)
    if precision == "fp32":
        assert row.error <= NETWORKS[name].tolerance
    else:
        assert row.found is not None and row.fp32 is not None and row.found >= row.fp32 - LOSS_ALLOWED
    assert (row.p50_seconds is None) == (target == "tensorrt-rtx")


def markdown(rows: list[Row]) -> str:
    """The rows as a table."""
    lines = [
        "| network | target | precision | MB | largest error | metric: FP32, this | raised | CPU p50 ms |",
        "|---" * 8 + "|",
    ]
    for row in rows:
        metric = "-" if row.metric is None else f"{row.metric}: {row.fp32:.3f}, {row.found:.3f}"
        p50 = "not run" if row.p50_seconds is None else f"{1000 * row.p50_seconds:.1f}"
        size = f"{row.size_bytes / 1e6:.1f}"
        cells = (row.network, row.target, row.precision, size, f"{row.error:.2g}", metric, str(row.raised), p50)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(out: Path, names: list[str]) -> None:
    """Write the rows after each engine, so that what was built is known whatever comes."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in names or list(NETWORKS):
            folder = write_network(name, Path(scratch))
            for _, target, precision in product([name]):
                rows.append(convert(folder, target, precision))
                out.write_text(json.dumps([dataclasses.asdict(row) for row in rows], indent=1) + "\n")
    print(markdown(rows))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
