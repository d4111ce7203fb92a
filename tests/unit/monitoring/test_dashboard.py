"""The dashboard: whole, with units, and every query parses and reads what exists."""

import itertools
import json
import re
import subprocess

import pytest
import yaml
from support.promql import DASHBOARD, RULES, groupings, problems

from edge_runtime.metrics import METRICS

BOARD = json.loads(DASHBOARD.read_text())
PANELS = BOARD["panels"]
RECORDED = {rule["record"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
            if "record" in rule}  # fmt: skip
VARIABLES = {variable["name"]: variable for variable in BOARD["templating"]["list"]}
QUERIES = [(panel["title"], target) for panel in PANELS for target in panel.get("targets", ())]
NOTES = [note for note in BOARD["annotations"]["list"] if "expr" in note]
EXPRESSIONS = [target["expr"] for _, target in QUERIES] + [note["expr"] for note in NOTES]
ROWS = ["Are we well?", "Studies", "Stages", "Findings", "Receiving", "Delivery", "Spool", "Roles", "Live video",
        "Scheduler", "GPU"]  # fmt: skip


def test_the_rows_are_there_in_their_order_and_none_is_empty():
    kinds = [panel["type"] for panel in PANELS]
    assert [panel["title"] for panel in PANELS if panel["type"] == "row"] == ROWS
    assert kinds[0] == "row" and kinds[-1] != "row"
    assert ("row", "row") not in itertools.pairwise(kinds)
    assert BOARD["schemaVersion"] >= 39


def test_panels_have_ids_of_their_own_and_do_not_overlap():
    assert len({panel["id"] for panel in PANELS}) == len(PANELS) > 40
    cells = [(x, y) for panel in PANELS for p in [panel["gridPos"]]
             for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])]  # fmt: skip
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_every_panel_has_a_unit_and_the_data_source_of_the_variable():
    for panel in PANELS:
        if panel["type"] == "row":
            continue
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults.get("unit") or panel["options"]["yAxis"]["unit"], panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]
        assert panel["targets"], panel["title"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]), panel["title"]
        for target in panel["targets"]:
            assert target["datasource"] == panel["datasource"]


def test_queries_read_only_what_the_catalogue_and_the_recording_rules_have():
    assert len(EXPRESSIONS) > 60
    assert {expression: found for expression in EXPRESSIONS if (found := problems(expression, RECORDED))} == {}


def test_legends_name_labels_that_are_left():
    for title, target in QUERIES:
        named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        left = groupings(target["expr"])
        assert named <= (left or {"instance", "pipeline", "stage", "version"}), (title, target["legendFormat"])


def test_variables_are_used_and_filled_from_what_exists():
    assert {"datasource", "instance", "pipeline", "stage", "destination", "source"} == set(VARIABLES)
    used = set(re.findall(r"\$(\w+)", " ".join(EXPRESSIONS)))
    assert used - {"__rate_interval"} == set(VARIABLES) - {"datasource"}
    for name, variable in VARIABLES.items():
        if variable["type"] == "query":
            expression, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["definition"]).groups()
            assert label == name
            assert problems(f"sum by ({label}) ({expression})", RECORDED) == []
            assert variable["query"]["query"] == variable["definition"]


def test_every_metric_of_live_video_is_drawn():
    live = {name for name in METRICS if re.match("edge_(video|frame|schedule|live|key_frames|examination)_", name)}
    assert len(live) > 20
    drawn = " ".join(EXPRESSIONS)
    assert {name for name in live if not re.search(rf"\b{name}(_bucket)?\b", drawn)} == set()


def test_every_metric_of_gpus_is_drawn():
    of_gpus = {name for name in METRICS if name.startswith(("edge_gpu_", "edge_power_"))}
    assert len(of_gpus) > 10
    assert {name for name in of_gpus if not re.search(rf"\b{name}\b", " ".join(EXPRESSIONS))} == set()


def test_every_query_is_filtered_by_computer():
    assert [expression for expression in EXPRESSIONS if 'instance=~"$instance"' not in expression] == []


def parses(expressions, folder):
    """Whether promtool takes every expression as a recording rule."""
    rules = [{"record": f"q{n}", "expr": expression.replace("$__rate_interval", "5m")}
             for n, expression in enumerate(expressions)]  # fmt: skip
    path = folder / "queries.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", "--lint=none", path], capture_output=True, check=False)
    return done.returncode == 0, (done.stdout + done.stderr).decode()


@pytest.mark.peer
def test_every_query_parses(tmp_path):
    whole, said = parses(EXPRESSIONS, tmp_path)
    assert whole, said
    broken, _ = parses([*EXPRESSIONS, "sum by (le (edge_jobs)"], tmp_path)
    assert not broken
