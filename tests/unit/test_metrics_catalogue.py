"""The closed sets of labels are those that the parts use."""

import ast
from pathlib import Path

from edge_runtime import metrics
from edge_runtime.assemble import volume, worker_process
from edge_runtime.deliver.base import Outcome, Reason
from edge_runtime.domain import Answer, StageOutcome
from edge_runtime.receive import negotiation, statuses, wire
from edge_runtime.role import ROLES

SOURCE = Path(metrics.__file__).parent
METHODS = {"count": "counter", "observe": "histogram", "set": "gauge"}


def calls():
    """Every call of count, observe or set on metrics with a literal name: (file, method, name, labels)."""
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in METHODS and node.args:
                first = node.args[0]
                if isinstance(first, ast.Constant) and str(first.value).startswith("edge_"):
                    yield path.name, node.func.attr, first.value, {k.arg for k in node.keywords}


def test_every_reported_metric_is_in_the_catalogue_with_its_kind_and_labels():
    found = list(calls())
    assert len(found) > 30
    for file, method, name, labels in found:
        metric = metrics.METRICS[name]
        assert metric.kind == METHODS[method], (file, name)
        if None not in labels:  # else some come as **labels
            assert labels - {"amount"} == set(metric.labels), (file, name)


def test_every_metric_of_the_catalogue_is_reported_somewhere():
    text = "".join(path.read_text() for path in SOURCE.rglob("*.py") if path.name != "metrics.py")
    assert [name for name in metrics.METRICS if f'"{name}"' not in text] == []


def test_the_sets_of_reasons_are_those_of_the_parts():
    assert set(metrics.STORE_RESULTS) == set(statuses.STORE_RESULTS)
    assert set(metrics.REJECTIONS) == {rejection.reason for rejection in negotiation.REJECTIONS}
    assert set(wire.END_REASONS) <= set(metrics.CONNECTION_ENDS)
    assert set(metrics.DECODE_REASONS) == set(worker_process.REASONS)
    assert set(metrics.ASSEMBLY_REASONS) == set(volume.REASONS)
    assert set(metrics.DELIVERY_REASONS) == {reason.value for reason in Reason}
    assert set(metrics.DELIVERY_OUTCOMES) == {outcome.value for outcome in Outcome}
    assert set(metrics.ROLES) == set(ROLES)
    assert set(metrics.STAGE_OUTCOMES) == {outcome.value for outcome in StageOutcome}
    assert set(metrics.ANSWERS) == {answer.value for answer in Answer}


def test_every_protocol_error_has_a_label():
    reasons = set()
    for path in (SOURCE / "receive").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "ProtocolError":
                assert isinstance(node.args[0], ast.Constant), path
                reasons.add(node.args[0].value)
    assert len(reasons) > 5
    assert reasons <= set(metrics.CONNECTION_ENDS)
