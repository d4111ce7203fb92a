"""Prometheus watches a real daemon with the shipped rules, and the dashboard's queries find what it says."""

import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager

import pytest
import yaml
from support.pacs import wait_until
from support.promql import DASHBOARD, RULES
from support.site import ball_series, send_series

from benchmarks.daemon import free_port

pytestmark = pytest.mark.peer

SECONDS = 60.0


class Prometheus:
    """The HTTP interface of a running server."""

    def __init__(self, port):
        self._root = f"http://127.0.0.1:{port}"

    def get(self, path, **parameters):
        """The data of an answer; None while nobody answers or the server is starting. What else fails raises."""
        try:
            query = urllib.parse.urlencode(parameters)
            with urllib.request.urlopen(f"{self._root}{path}?{query}", timeout=10) as answer:
                return json.loads(answer.read())["data"]
        except urllib.error.HTTPError as error:
            if error.code == 503:
                return None
            raise AssertionError(error.read().decode()) from error
        except OSError:
            return None

    def query(self, expression):
        return self.get("/api/v1/query", query=expression)["result"]

    def rules(self):
        answer = self.get("/api/v1/rules")
        return [rule for group in (answer or {"groups": []})["groups"] for rule in group["rules"]]


@contextmanager
def prometheus(folder, target):
    """A server that scrapes `target` each second and evaluates the shipped rules as often."""
    folder.mkdir()
    rules = yaml.safe_load(RULES.read_text())
    for group in rules["groups"]:
        group["interval"] = "1s"  # the 15 minutes of drift are too long for a test
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules, sort_keys=False))
    scrape = {"job_name": "edge-runtime", "static_configs": [{"targets": [target]}]}
    times = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    document = {"global": times, "rule_files": ["rules.yaml"], "scrape_configs": [scrape]}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(document))
    port = free_port()
    options = [f"--web.listen-address=127.0.0.1:{port}", "--config.file=prometheus.yml", "--storage.tsdb.path=data"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["prometheus", *options], cwd=folder, stdout=log, stderr=log)
        try:
            yield Prometheus(port)
        finally:
            process.terminate()
            process.wait(30)


def value(server, expression):
    """The only value of an expression, or None."""
    found = server.query(expression)
    return float(found[0]["value"][1]) if len(found) == 1 else None


def test_prometheus_evaluates_every_rule_and_query_and_an_alert_fires(daemon, tmp_path):
    series = ball_series("gap", slices=9)
    with prometheus(tmp_path / "prometheus", f"127.0.0.1:{daemon.http_port}") as server:
        wait_until(lambda: server.get("/api/v1/query", query="up") is not None, SECONDS)
        wait_until(lambda: value(server, "sum(edge_jobs_refused_total)") == 0, SECONDS)
        assert value(server, 'count(ALERTS{alertname="EdgeStudiesRefused"})') is None

        send_series(series[:4] + series[5:], tmp_path / "most", daemon)
        firing = 'count(ALERTS{alertname="EdgeStudiesRefused",alertstate="firing",pipeline="find-ball"})'
        wait_until(lambda: value(server, firing) == 1, SECONDS)

        send_series(series[4:5], tmp_path / "rest", daemon)
        wait_until(lambda: value(server, 'sum(edge_stage_answers_total{answer="positive"})') == 1, SECONDS)
        wait_until(lambda: value(server, 'sum(edge_jobs{state="delivered"})') == 1, SECONDS)
        assert value(server, "sum(edge_study_answers_total)") == 1
        assert value(server, "sum(edge_amendments_total)") == 0  # the revision before gave no answer
        assert value(server, "min(edge_role_ready)") == 1
        assert value(server, "edge_deadline_seconds") == 60
        assert value(server, "edge_spool_reserve_bytes") == 0
        assert value(server, "time() - edge_receive_last_instance_timestamp_seconds < bool 60") == 1
        wait_until(lambda: value(server, "edge_delivery_oldest_waiting_seconds") == 0, SECONDS)
        wait_until(lambda: (value(server, "pipeline:edge_study_seconds:p99_1h") or 0) > 0, SECONDS)

        wait_until(lambda: {rule["health"] for rule in server.rules()} == {"ok"}, SECONDS)
        assert len(server.rules()) > 40
        everything_of_the_dashboard_is_answered(server)


def everything_of_the_dashboard_is_answered(server):
    texts = {"$__rate_interval": "1m"}
    texts |= dict.fromkeys(("$instance", "$pipeline", "$stage", "$destination", "$source"), ".*")
    answered = 0
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"]
            for variable, text in texts.items():
                expression = expression.replace(variable, text)
            answered += bool(server.query(expression))
    assert answered > 40


def test_gauges_are_right_after_a_restart(daemon, tmp_path):
    send_series(ball_series("one"), tmp_path / "in", daemon)
    wait_until(lambda: daemon.metric("edge_jobs", state="delivered") == 1, SECONDS)
    wait_until(lambda: daemon.metric("edge_deliveries", state="queued") == 0, SECONDS)
    wait_until(lambda: daemon.metric("edge_deliveries", state="sending") == 0, SECONDS)
    wait_until(lambda: daemon.metric("edge_deliveries", state="done") >= 4, SECONDS)
    done = daemon.metric("edge_deliveries", state="done")
    received_at = daemon.metric("edge_receive_last_instance_timestamp_seconds")
    assert 0 < time.time() - received_at < SECONDS
    started_at = daemon.metric("edge_start_timestamp_seconds")
    daemon.stop()
    daemon.start()
    daemon.wait_ready()
    wait_until(lambda: daemon.metric("edge_deliveries", state="done") == done, SECONDS)
    wait_until(lambda: daemon.metric("edge_receive_last_instance_timestamp_seconds") == received_at, SECONDS)
    assert daemon.metric("edge_start_timestamp_seconds") > started_at
    wait_until(lambda: daemon.metric("edge_jobs", state="delivered") == 1, SECONDS)
    assert daemon.metric("edge_build_info") == 1
    wait_until(lambda: daemon.metric("edge_spool_free_bytes") > 0, SECONDS)
