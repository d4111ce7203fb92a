"""Alert rules: they parse, read what exists, fire when they must and not otherwise, and each is explained."""

import re
import shutil
import subprocess

import pytest
import yaml
from support.promql import MONITORING, RULE_TESTS, RULES, problems

GROUPS = yaml.safe_load(RULES.read_text())["groups"]
EVERY = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in EVERY if "alert" in rule}
RECORDED = {rule["record"] for rule in EVERY if "record" in rule}
OPERATION = (MONITORING.parent / "docs/operation.md").read_text()
CASES = [case for path in RULE_TESTS for case in yaml.safe_load(path.read_text())["tests"]]


def promtool(*arguments, cwd=MONITORING):
    done = subprocess.run(["promtool", *arguments], cwd=cwd, capture_output=True, check=False)
    return done.returncode, (done.stdout + done.stderr).decode()


def test_rules_read_only_what_the_catalogue_has():
    assert len(ALERTS) > 20 and len(RECORDED) > 10
    assert {name: found for rule in EVERY for name in [rule.get("alert") or rule["record"]]
            if (found := problems(rule["expr"], RECORDED))} == {}  # fmt: skip


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("egde_jobs > 0", "no series egde_jobs"),
        ("rate(edge_study_second_bucket[1h])", "no series edge_study_second_bucket"),
        ("edge_study_seconds > 1", "no series edge_study_seconds"),
        ("increase(edge_role_restarts[1h])", "no series edge_role_restarts"),
        ('edge_jobs{sate="parked"}', "edge_jobs has no label sate"),
        ('edge_jobs{state="praked"}', "edge_jobs: state is never praked"),
        ('edge_jobs{state=~"parked|praked"}', "edge_jobs: state is never praked"),
        ("sum by (destination) (edge_jobs)", "nothing has the label destination"),
        ("sum by (le) (edge_jobs)", "nothing has the label le"),
        ("pipeline:edge_study:p99 > 1", "no series pipeline:edge_study:p99"),
        ("up and on (instance) edge_job", "no series edge_job"),
    ],
)
def test_what_does_not_exist_is_found(expression, problem):
    assert problems(expression, RECORDED) == [problem]


def test_every_alert_says_how_bad_it_is_what_to_do_and_where_it_is_explained():
    for name, rule in ALERTS.items():
        assert re.fullmatch(r"Edge[A-Za-z]+", name)
        assert rule["labels"]["severity"] in ("critical", "warning", "info"), name
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}, name
        assert rule["annotations"]["runbook_url"] == f"docs/operation.md#{name.lower()}"
        assert "{{ $labels." in rule["annotations"]["summary"] or "absent(" in rule["expr"], name


def test_every_alert_is_explained_with_its_severity_and_no_other_is():
    explained = dict(re.findall(r"^### (Edge\w+)\n(\w+)\. ", OPERATION, re.MULTILINE))
    assert explained == {name: rule["labels"]["severity"].capitalize() for name, rule in ALERTS.items()}


def test_links_between_alerts_lead_somewhere():
    anchors = set(re.findall(r"\(#(edge\w+)\)", OPERATION))
    assert anchors and anchors <= {name.lower() for name in ALERTS}


@pytest.mark.parametrize("name", sorted(ALERTS))
def test_every_alert_has_a_case_that_fires_and_one_that_does_not(name):
    mentions = [check for case in CASES for check in case.get("promql_expr_test", ())
                if f'alertname="{name}",alertstate="firing"' in check["expr"]]  # fmt: skip
    assert {bool(check["exp_samples"]) for check in mentions} == {True, False}


@pytest.mark.peer
def test_promtool_has_nothing_against_the_rules(tmp_path):
    assert promtool("check", "rules", "--lint=all", "--lint-fatal", RULES.name)[0] == 0
    broken = tmp_path / "broken.yaml"
    broken.write_text(RULES.read_text().replace("absent(up", "absent((up"))
    code, said = promtool("check", "rules", str(broken))
    assert code != 0 and "EdgeRuntimeAbsent" in said


@pytest.mark.peer
@pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.name)
def test_alerts_fire_when_they_must_and_not_just_below(path):
    code, said = promtool("test", "rules", path.name)
    assert code == 0, said


@pytest.mark.peer
@pytest.mark.parametrize("always", ["vector(0) > 1", "vector(1)"], ids=["never fires", "always fires"])
def test_an_alert_that_does_not_look_fails_its_cases(tmp_path, always):
    alerts = [{"alert": name, "expr": always, "labels": rule["labels"]} for name, rule in ALERTS.items()]
    (tmp_path / RULES.name).write_text(yaml.safe_dump({"groups": [{"name": "canary", "rules": alerts}]}))
    failed = set()
    for path in RULE_TESTS:
        shutil.copy(path, tmp_path)
        code, said = promtool("test", "rules", path.name, cwd=tmp_path)
        assert code != 0
        failed |= set(re.findall(r'alertname=\\"(\w+)\\"', said))
    assert failed == set(ALERTS)
