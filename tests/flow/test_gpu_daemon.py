"""The daemon with TensorRT on a card (an emulated driver): what fails there costs time, and no image and no answer."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
from support import fake_engines
from support.pacs import wait_until
from support.site import ball_series, send_series, write_config

from benchmarks.daemon import Daemon

pytestmark = [pytest.mark.peer, pytest.mark.slow]
LONG = 60.0
HANG_SECONDS = 1


@pytest.fixture(scope="module")
def plans(engines, tmp_path_factory):
    """An engine for ONNX Runtime and for the fake TensorRT."""
    folder = shutil.copytree(engines, tmp_path_factory.mktemp("plans") / "engines")
    fake_engines.as_tensorrt(folder / "bright" / "onnxruntime-fp32")
    return folder


class Site:
    """A daemon with TensorRT on an emulated card, and what befalls the card."""

    def __init__(self, folder, plans, monkeypatch):
        self.folder, self.out = folder, folder / "out"
        self.engines = shutil.copytree(plans, folder / "engines")
        self.fault, self.taken, self.calls = (folder / name for name in ("fault", "taken", "calls"))
        self._monkeypatch = monkeypatch
        self._path = os.environ.get("PYTHONPATH", "")
        self.card()
        destination = {"name": "disk", "type": "folder", "path": str(self.out)}
        settings = ["engines.backend=tensorrt", f"engines.cuda.hang_seconds={HANG_SECONDS}"]
        config = write_config(folder / "site.yaml", self.engines, [destination])
        self.daemon = Daemon(config, folder / "spool", settings)

    def card(self, **facts):
        """This card is in the computer from the next start on."""
        self._monkeypatch.setenv("PYTHONPATH", self._path)
        files = {"fault_file": self.fault, "memory_taken": self.taken, "log": self.calls}
        for name, value in fake_engines.environment("tensorrt", **files, **facts).items():
            self._monkeypatch.setenv(name, value)

    def library(self, version):
        """This version of TensorRT is installed from the next start on."""
        self._monkeypatch.setenv("EDGE_FAKE_TENSORRT", version)

    def fails(self, how):
        """What the next launch meets."""
        self._write(self.fault, how)

    def takes(self, count):
        """Another process has so many bytes of the card's memory."""
        self._write(self.taken, str(count))

    def _write(self, path, text):
        new = path.with_suffix(".new")
        new.write_text(text)
        new.replace(path)

    def start(self):
        self.daemon.start()
        self.daemon.wait_ready()

    def has_worked(self):
        """Once, with the card that it was installed for."""
        self.start()
        assert self.daemon.stop() == 0

    def command(self, *words):
        """What a command of edge-runtime ends with and says."""
        sets = [part for override in self.daemon.overrides for part in ("--set", override)]
        line = [sys.executable, "-m", "edge_runtime.cli", *words, str(self.daemon.config), *sets]
        return subprocess.run(line, capture_output=True, text=True, timeout=LONG, check=False)

    def send(self, name):
        send_series(ball_series(name), self.folder / name, self.daemon)

    @property
    def answers(self):
        return [json.loads(path.read_text()) for path in self.out.glob("*.json")]

    def answered(self, count):
        wait_until(lambda: len(self.answers) == count, LONG)
        assert {answer["complete"] for answer in self.answers} == {True}
        findings = [
            [{key: value for key, value in found.items() if "uid" not in key} for found in answer["findings"]]
            for answer in self.answers
        ]
        assert findings[0] and all(found == findings[0] for found in findings), "as if nothing had failed"

    def says(self, text, role="infer"):
        status, body = self.daemon.get("/readyz")
        return status == 503 and any(text in one["reason"] for one in json.loads(body) if one["role"] == role)

    def lost(self, cause):
        return self.daemon.metric("edge_device_lost_total", role="infer", cause=cause)

    def receives(self):
        return self.daemon.metric("edge_role_ready", role="receive") == 1 and self.daemon.get("/livez")[0] == 200


@pytest.fixture
def site(tmp_path, plans, monkeypatch):
    made = Site(tmp_path, plans, monkeypatch)
    yield made
    if made.daemon.process is not None and made.daemon.process.poll() is None:
        made.daemon.stop()


def test_a_series_is_analysed_on_the_card_and_the_commands_name_it(site):
    site.start()
    site.send("one")
    site.answered(1)
    print(site.daemon.get("/metrics")[1].decode())
    print(site.answers)
    (stage,) = site.answers[0]["stages"]
    assert stage["engine"]["backend"] == "tensorrt 10.13.3.9"
    assert site.daemon.metric("edge_stage_runs_total", way="device") >= 1
    check = site.command("check", "--json")
    print(check.stdout, check.stderr)
    assert check.returncode == 0
    print(json.loads(check.stdout))
    assert 0
