"""The daemon with TensorRT on a card (an emulated driver): what fails there costs time, and no image and no answer."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
from support import fake_engines, host_nvml
from support.endoscopes import STEPS, build_live_engines, lines_of, write_clip, write_site
from support.pacs import wait_until
from support.site import ball_series, send_series, write_config

from benchmarks.daemon import Daemon

pytestmark = [pytest.mark.peer, pytest.mark.slow]
LONG = 60.0
HANG_SECONDS = 2
MEMORY_BYTES = 8 << 30
CAPABILITY = "built for compute capability 8.9, this device (Emulated GPU) has 8.6"
VERSION = "built by tensorrt 10.13.3.9, this machine has 11.4.0"


@pytest.fixture(scope="module")
def plans(engines, tmp_path_factory):
    """An engine for ONNX Runtime and for the fake TensorRT."""
    folder = shutil.copytree(engines, tmp_path_factory.mktemp("plans") / "engines")
    fake_engines.as_tensorrt(folder / "bright" / "onnxruntime-fp32")
    return folder


@pytest.fixture(scope="module")
def live_plans(tmp_path_factory):
    """Engines for frames and for series; frames are resized first, as the kernels can."""
    folder = build_live_engines(tmp_path_factory.mktemp("live-plans"), (STEPS[1], STEPS[0], *STEPS[2:]))
    for built in list(folder.glob("*/onnxruntime-fp32")):
        fake_engines.as_tensorrt(built)
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clips") / "disc.mp4", 8)


def write_series_site(path, engines, out):
    """A configuration for CT series."""
    return write_config(path, engines, [{"name": "disk", "type": "folder", "path": str(out)}],
                        complete_after_seconds=0.2)  # fmt: skip


class Site:
    """A daemon with TensorRT on an emulated card, and what befalls the card."""

    def __init__(self, folder, plans, monkeypatch, write=write_series_site):
        self.folder, self.out = folder, folder / "out"
        self.engines = shutil.copytree(plans, folder / "engines")
        self.fault, self.taken, self.calls = (folder / name for name in ("fault", "taken", "calls"))
        self._monkeypatch = monkeypatch
        self._before = {name: os.environ.get(name, "") for name in ("PYTHONPATH", "LD_LIBRARY_PATH")}
        self.card()
        settings = ["engines.backend=tensorrt", f"engines.cuda.hang_seconds={HANG_SECONDS}"]
        config = write(folder / "site.yaml", self.engines, self.out)
        self.daemon = Daemon(config, folder / "spool", settings)

    def card(self, **facts):
        """This card is in the computer from the next start on."""
        for name, value in self._before.items():
            self._monkeypatch.setenv(name, value)
        files = {"fault_file": self.fault, "memory_taken": self.taken, "log": self.calls}
        for name, value in fake_engines.environment("tensorrt", **files, **facts).items():
            self._monkeypatch.setenv(name, value)

    def no_driver(self):
        """None is installed from the next start on."""
        self._monkeypatch.setenv("LD_LIBRARY_PATH", "")

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

    @property
    def sets(self):
        return [part for override in self.daemon.overrides for part in ("--set", override)]

    def command(self, *words):
        """What a command of edge-runtime ends with and says."""
        line = [sys.executable, "-m", "edge_runtime.cli", *words]
        return subprocess.run(line, capture_output=True, text=True, timeout=LONG, check=False)

    def exchange_plans(self, **target):
        """Engines that were built for something else are put into their folders."""
        built = self.engines / "bright"
        shutil.rmtree(built / "tensorrt-fp32")
        fake_engines.as_tensorrt(built / "onnxruntime-fp32", **target)

    def reload(self):
        self.daemon.process.send_signal(signal.SIGHUP)

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

    def ways(self):
        """How many stages were prepared by the device, and by the host."""
        return tuple(self.daemon.metric("edge_stage_runs_total", way=way) for way in ("device", "host"))

    def receives(self):
        return self.daemon.metric("edge_role_ready", role="receive") == 1 and self.daemon.get("/livez")[0] == 200


@pytest.fixture
def site(tmp_path, plans, monkeypatch):
    made = Site(tmp_path, plans, monkeypatch)
    yield made
    if made.daemon.process is not None and made.daemon.process.poll() is None:
        made.daemon.stop()


def test_a_series_is_analysed_on_the_card_and_the_commands_name_it(site):
    """Without memory for the kernels the host prepares an image, which changes no answer and is counted."""
    site.start()
    site.send("one")
    site.answered(1)
    (stage,) = site.answers[0]["stages"]
    assert stage["engine"]["backend"] == "tensorrt 10.13.3.9"
    wait_until(lambda: site.ways() == (1, 0))
    launched = site.calls.read_text()
    assert "name=volume_gather" in launched and "cuLaunchHostFunc" in launched, "kernels and engine ran on the driver"
    check = site.command("check", str(site.daemon.config), "--json", *site.sets)
    found = json.loads(check.stdout)
    assert (check.returncode, found["exit_code"]) == (0, 0)
    accelerator = found["accelerator"]
    assert (accelerator["device"], accelerator["compute_capability"]) == ("Emulated GPU", "8.9")
    assert (accelerator["backend"], accelerator["version"]) == ("tensorrt", "10.13.3.9")
    site.fails("cuLaunchKernel@2=2")
    site.send("two")
    site.answered(2)
    wait_until(lambda: site.ways() == (1, 1))
    assert "no device memory to prepare this image: the host does it" in site.daemon.log.read_text()
    assert site.daemon.metric("edge_role_restarts_total") == 0
    verified = site.command("engines", "verify", str(site.engines))
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "tensorrt" in verified.stdout


def test_what_fails_in_flight_ends_the_process_and_the_study_is_answered_whole_by_the_next(site):
    """A sticky error of a kernel, a launch that never returns, no memory for the network."""
    site.start()
    failures = [("719", "lost"), ("hang", "hang"), ("cuLaunchHostFunc@*=2", "memory")]
    for number, (how, cause) in enumerate(failures, start=1):
        pid = site.daemon.role_pids()["infer"]
        site.fails(how)
        site.send(cause)
        wait_until(lambda: not site.fault.exists(), LONG)
        site.send(f"{cause} meanwhile")
        site.answered(2 * number)
        assert site.daemon.role_pids()["infer"] != pid
        assert [site.lost(each) for _, each in failures] == [1] * number + [0] * (len(failures) - number)
    assert {job["attempts"] for job in site.daemon.jobs()} == {1}, "what the card did is no fault of a study"
    assert site.daemon.metric("edge_role_restarts_total", role="receive") == 0
    log = site.daemon.log.read_text()
    for words in ("CUDA_ERROR_LAUNCH_FAILED", "the device hangs", "CUDA_ERROR_OUT_OF_MEMORY"):
        assert words in log
    assert log.count("role=infer code=75") == len(failures)


def test_where_it_has_worked_another_card_library_or_driver_stops_answers_and_not_receiving(site):
    """Readiness says what is expected, what was found and what to do; exchanged engines are taken up by a reload."""
    site.start()
    assert site.daemon.stop() == 0
    site.no_driver()
    site.daemon.start()
    wait_until(lambda: site.says("libcuda.so.1 cannot be loaded"), LONG)
    wait_until(site.receives, LONG)
    site.send("kept without a driver")
    assert site.daemon.stop() == 0
    changes = [
        (lambda: site.card(sm="8.6"), CAPABILITY, {"sm": "8.6"}),
        (lambda: site.library("11.4.0"), VERSION, {"sm": "8.6", "version": "11.4.0"}),
    ]
    for number, (change, said, target) in enumerate(changes):
        change()
        site.daemon.start()
        wait_until(lambda said=said: site.says(said), LONG)
        assert site.says("run: edge-convert build")
        wait_until(site.receives, LONG)
        site.send(f"kept {number}")
        site.exchange_plans(**target)
        site.reload()
        site.answered(2 + number)
        site.daemon.wait_ready()
        assert site.daemon.stop() == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda site: site.card(sm="8.6"), CAPABILITY),
        (lambda site: site.no_driver(), "libcuda.so.1 cannot be loaded"),
        (lambda site: site.card(driver_version=12020), "the NVIDIA driver runs CUDA up to 12.2"),
        (lambda site: site.card(devices=0), "the driver sees no NVIDIA GPU"),
    ],
    ids=["SM", "no driver", "old driver", "no device"],
)
def test_where_it_has_never_worked_check_and_run_end_with_69_and_say_why(site, change, words):
    change(site)
    check = site.command("check", str(site.daemon.config), *site.sets)
    assert check.returncode == 69 and words in check.stdout + check.stderr
    run = site.command(*site.daemon.command()[3:])
    assert run.returncode == 69 and words in run.stderr and "Traceback" not in run.stderr


def test_memory_that_another_process_holds_is_waited_for(site):
    site.takes(MEMORY_BYTES - 1000)
    site.daemon.start()
    wait_until(lambda: site.says("CUDA_ERROR_OUT_OF_MEMORY"), LONG)
    assert site.says("bytes were asked") and site.says(f"of {MEMORY_BYTES:,} bytes are free")
    wait_until(site.receives, LONG)
    site.send("kept")
    site.takes(0)
    site.daemon.wait_ready()
    site.answered(1)
    assert site.lost("memory") >= 1


def test_a_card_that_falls_off_the_bus_is_taken_up_when_it_is_back(site):
    """It failed at the very first start too, which is no reason to end."""
    site.fails("719")
    site.start()
    assert not site.fault.exists() and site.lost("lost") == 1
    site.fails("keep off_the_bus")
    site.send("first")
    wait_until(lambda: site.says("CUDA_ERROR_UNKNOWN") and site.daemon.get("/livez")[0] == 200, LONG)
    wait_until(lambda: site.daemon.metric("edge_role_budget_spent_total", role="infer") == 1, LONG)
    assert site.says("CUDA_ERROR_UNKNOWN")
    wait_until(site.receives, LONG)
    site.send("second")
    site.fault.unlink()
    site.reload()
    site.answered(2)
    site.daemon.wait_ready()


def test_a_card_that_is_lost_while_nothing_is_to_be_done_is_told_at_once(site, monkeypatch):
    state = site.folder / "nvml"
    host_nvml.write(state, host_nvml.L4)
    folders = [os.environ["LD_LIBRARY_PATH"], host_nvml.environment(state)["LD_LIBRARY_PATH"]]
    monkeypatch.setenv("LD_LIBRARY_PATH", os.pathsep.join(folders))
    monkeypatch.setenv("EDGE_NVML_STATE", str(state))
    site.start()
    host_nvml.write(state, {**host_nvml.L4, "lost": 1})
    wait_until(lambda: site.says("GPU 0 (NVIDIA L4, 00000000:01:00.0): it fell off the bus"), LONG)
    assert site.daemon.metric("edge_role_ready", role="infer") == 0 and site.receives()
    host_nvml.write(state, host_nvml.L4)
    site.daemon.wait_ready()


@pytest.fixture
def tower(tmp_path, live_plans, clip, monkeypatch):
    """A site with live frames beside its series."""
    made = Site(tmp_path, live_plans, monkeypatch, lambda path, engines, out: write_site(path, engines, out, clip))
    yield made
    if made.daemon.process is not None and made.daemon.process.poll() is None:
        made.daemon.stop()


def test_live_frames_go_on_after_each_failure_and_none_is_answered_late_or_by_half(tower):
    """A sticky error of a graph, one that is refused, one that never returns."""
    in_time = {"source": "tower", "outcome": "in_time"}
    tower.start()
    wait_until(lambda: tower.daemon.metric("edge_video_frames_total", **in_time) > 10, LONG)
    wait_until(lambda: "cuGraphLaunch" in tower.calls.read_text())
    for how, cause in (("719", "lost"), ("cuGraphLaunch@1=701", "call"), ("hang", "hang")):
        tower.fails(how)
        wait_until(lambda cause=cause: tower.lost(cause) == 1, LONG)
        before = tower.daemon.metric("edge_video_frames_total", **in_time)
        wait_until(lambda n=before: tower.daemon.metric("edge_video_frames_total", **in_time) > n + 10, LONG)
    assert tower.daemon.stop() == 0
    lines = lines_of(tower.out)
    numbers = [line["sequence"] for line in lines]
    assert len(numbers) > 30 and numbers == sorted(set(numbers))
    assert all(line["complete"] and line["age_seconds"] <= 0.5 for line in lines)
    stages = {tuple((f["stage"], f["label"], f["answer"]) for f in line["findings"]) for line in lines}
    assert len(stages) == 1, "a failure makes no answer smaller"
