"""The thread that reads the GPUs: what is absent has no series, and what hangs vanishes and holds up nobody."""

import logging
import threading
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.host_nvml import L4
from support.spools import make_config
from support.trees import plant

from edge_runtime.metrics import METRICS, label_values
from edge_runtime.telemetry.exposition import Exposition
from edge_runtime.telemetry.gpu.reading import GPUS, Gpu, Reading
from edge_runtime.telemetry.gpu.sampler import INTERVAL_SECONDS, LOOK_AGAIN_SECONDS, STALE_INTERVALS, GpuSampler
from edge_runtime.telemetry.gpu.sources import Sample, Sources, find_gpus
from edge_runtime.telemetry.metrics import RoleMetrics

STALE_SECONDS = STALE_INTERVALS * INTERVAL_SECONDS


class FakeSources(Sources):
    """One card that tells what the test sets."""

    def __init__(self, *gpus, trouble=""):
        super().__init__(None, None, trouble)
        self.gpus = gpus
        self.sample = Sample({gpu.label: Reading(utilization_ratio=0.5) for gpu in gpus})

    def read(self):
        return self.sample


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


CARD = Gpu("0", "a card", "580", "00000000:01:00.0")
OTHER = Gpu("1", "another", "580", "00000000:41:00.0")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def exposition(tmp_path):
    return Exposition(METRICS, label_values(make_config(tmp_path)))


def shown(sampler, exposition):
    """The series of GPUs on /metrics."""
    metrics = RoleMetrics(METRICS, {"gpu": GPUS})
    sampler.report(metrics)
    exposition.replace("gpus", metrics.snapshot())
    return {
        (sample.name, *(sample.labels[label] for label in METRICS[sample.name].labels)): sample.value
        for family in text_string_to_metric_families(exposition.render().decode())
        for sample in family.samples
        if sample.name.startswith(("edge_gpu", "edge_power"))
    }


def test_a_computer_without_gpu_has_no_series_at_all(clock, exposition):
    sampler = GpuSampler(FakeSources, clock=clock)
    sampler.turn()
    clock.now += STALE_SECONDS + 1
    assert shown(sampler, exposition) == {}
    assert sampler.lost() is None


def test_a_jetson_has_the_series_of_what_it_tells_and_no_other(tmp_path, clock, exposition):
    plant("orin-agx-jetpack6", tmp_path)
    sampler = GpuSampler(lambda: find_gpus(tmp_path), clock=clock)
    sampler.turn()
    assert shown(sampler, exposition) == pytest.approx({
        ("edge_gpu_telemetry_up",): 1.0,
        ("edge_gpu_utilization_ratio", "0"): 0.437,
        ("edge_gpu_temperature_celsius", "0"): 44.312,
        ("edge_gpu_clock_hertz", "0", "graphics"): 918e6,
        ("edge_gpu_clock_limit_hertz", "0", "graphics"): 1300.5e6,
        ("edge_gpu_throttled", "0", "power"): 0.0,
        ("edge_gpu_throttled", "0", "thermal"): 0.0,
        ("edge_power_rail_watts", "VDD_GPU_SOC"): 4.792,
        ("edge_power_rail_watts", "VDD_CPU_CV"): 0.76672,
        ("edge_power_rail_watts", "VIN_SYS_5V0"): 4.327936,
        ("edge_power_rail_watts", "VDDQ_VDD2_1V8AO"): 0.768512,
    })  # fmt: skip


def test_what_a_gpu_no_longer_tells_vanishes_at_the_next_reading(clock, exposition):
    sources = FakeSources(CARD)
    sampler = GpuSampler(lambda: sources, clock=clock)
    sampler.turn()
    assert shown(sampler, exposition)["edge_gpu_utilization_ratio", "0"] == 0.5
    sources.sample = Sample({"0": Reading(temperature_celsius=50.0)})
    sampler.turn()
    series = shown(sampler, exposition)
    assert ("edge_gpu_utilization_ratio", "0") not in series
    assert series["edge_gpu_temperature_celsius", "0"] == 50.0


def test_readings_older_than_three_intervals_vanish_and_telemetry_is_down(clock, exposition):
    sources = FakeSources(CARD)
    sources.sample = Sample({"0": Reading(utilization_ratio=0.5, xid_errors=2)}, {"VIN": 20.0})
    sampler = GpuSampler(lambda: sources, clock=clock)
    sampler.turn()
    clock.now += STALE_SECONDS
    assert shown(sampler, exposition)["edge_gpu_telemetry_up",] == 1.0
    clock.now += 0.1
    assert shown(sampler, exposition) == {("edge_gpu_telemetry_up",): 0.0, ("edge_gpu_xid_errors_total", "0"): 2.0}


def test_a_driver_that_answers_and_tells_nothing_is_down_too(clock, exposition):
    sources = FakeSources(CARD)
    sampler = GpuSampler(lambda: sources, clock=clock)
    sampler.turn()
    sources.sample = Sample({"0": Reading()})
    clock.now += STALE_SECONDS + 1
    sampler.turn()
    assert shown(sampler, exposition) == {("edge_gpu_telemetry_up",): 0.0}


def test_a_driver_that_cannot_be_asked_is_down_from_the_start(clock, exposition):
    sampler = GpuSampler(lambda: FakeSources(trouble="NVML does not start"), clock=clock)
    sampler.turn()
    assert shown(sampler, exposition) == {("edge_gpu_telemetry_up",): 0.0}


def test_gpus_are_looked_for_again_until_there_are_some(clock, exposition):
    found = [FakeSources(), FakeSources(CARD)]
    sampler = GpuSampler(lambda: found.pop(0), clock=clock)
    sampler.turn()
    clock.now += LOOK_AGAIN_SECONDS - 1
    sampler.turn()
    assert len(found) == 1
    clock.now += 1
    sampler.turn()
    assert ("edge_gpu_utilization_ratio", "0") in shown(sampler, exposition)


def test_a_lost_gpu_has_nothing_but_the_series_that_says_so(clock, exposition):
    sources = FakeSources(CARD, OTHER)
    sampler = GpuSampler(lambda: sources, clock=clock)
    sampler.turn()
    assert shown(sampler, exposition)["edge_gpu_lost", "1"] == 0.0
    sources.sample = Sample({"0": Reading(utilization_ratio=0.5), "1": Reading(lost="it fell off the bus")})
    sampler.turn()
    of_lost = {key: value for key, value in shown(sampler, exposition).items() if key[1:2] == ("1",)}
    assert of_lost == {("edge_gpu_lost", "1"): 1.0}


def test_the_reason_for_readiness_names_the_gpu_and_concerns_the_one_that_is_asked_for(clock):
    sources = FakeSources(CARD, OTHER)
    sources.sample = Sample({"0": Reading(utilization_ratio=0.5), "1": Reading(lost="it fell off the bus")})
    sampler = GpuSampler(lambda: sources, clock=clock)
    assert sampler.lost() is None
    sampler.turn()
    assert sampler.lost("0000:01:00.0") is None
    reason = sampler.lost("0000:41:00.0")
    assert reason is not None and reason.startswith("GPU 1 (another, 00000000:41:00.0): it fell off the bus")
    assert sampler.lost() == sampler.lost("0009:09:00.0") == reason


def test_a_lost_gpu_is_logged_once(clock, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("edge_runtime"), "propagate", True)
    sources = FakeSources(CARD)
    sampler = GpuSampler(lambda: sources, clock=clock)
    sampler.turn()
    sources.sample = Sample({"0": Reading(lost="it fell off the bus")})
    sampler.turn()
    sampler.turn()
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == ["a GPU is lost"]


def wait_until(true, seconds=20.0):
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_driver_that_hangs_holds_up_neither_the_report_nor_the_end(nvml, exposition):
    nvml(L4)
    sampler = GpuSampler(find_gpus, interval_seconds=0.05)
    sampler.start()
    try:
        wait_until(lambda: ("edge_gpu_utilization_ratio", "0") in shown(sampler, exposition))
        nvml({**L4, "hang": 1})
        wait_until(lambda: shown(sampler, exposition).get(("edge_gpu_telemetry_up",)) == 0.0)
        assert ("edge_gpu_utilization_ratio", "0") not in shown(sampler, exposition)
        nvml({**L4, "utilization": 90})
        wait_until(lambda: shown(sampler, exposition).get(("edge_gpu_utilization_ratio", "0")) == 0.9)
        nvml({**L4, "hang": 1})
    finally:
        sampler.close()
    nvml(L4)
    wait_until(lambda: not any(thread.name == "gpu-telemetry" for thread in threading.enumerate()))


def test_a_search_that_hangs_is_told_as_down(exposition, clock):
    sampler = GpuSampler(FakeSources, clock=clock)
    assert shown(sampler, exposition) == {}
    clock.now += STALE_SECONDS + 1
    assert shown(sampler, exposition) == {("edge_gpu_telemetry_up",): 0.0}


def test_a_source_that_breaks_is_logged_and_tried_again(clock, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("edge_runtime"), "propagate", True)
    tried = threading.Semaphore(0)

    def broken():
        tried.release()
        raise ValueError("no such thing")

    sampler = GpuSampler(broken, interval_seconds=0.01)
    sampler.start()
    try:
        assert tried.acquire(timeout=20)
        wait_until(lambda: any("failed" in record.message for record in caplog.records))
    finally:
        sampler.close()
