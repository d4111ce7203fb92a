"""The GPUs: each line with what makes it warn or fail."""

import pytest
from support import host_nvml
from support.trees import plant

from edge_runtime.doctor import gpu
from edge_runtime.doctor.check import Outcome
from edge_runtime.doctor.gpu import examine_gpus, gpu_check, power_mode
from edge_runtime.telemetry.gpu.reading import Gpu, Reading

CARD = Gpu("0", "NVIDIA L4", "580.95.05", "00000000:01:00.0")


@pytest.fixture
def nvml(tmp_path, monkeypatch):
    host_nvml.load()
    monkeypatch.setenv("EDGE_NVML_STATE", str(tmp_path / "state"))
    return lambda *gpus, **values: host_nvml.write(tmp_path / "state", *gpus, **values)


def test_a_card_is_told_with_driver_temperature_and_memory(nvml, monkeypatch, tmp_path):
    nvml({**host_nvml.L4, "reasons": 0})
    monkeypatch.setattr(gpu, "_ROOT", tmp_path)
    (check,) = examine_gpus(None)
    assert str(check).split("  ", 2)[2].strip().startswith("GPU 0")
    assert check.found == "NVIDIA L4, driver 580.95.05, 61 degrees C, 6.0 of 24.2 GB in use, not throttled"


def test_a_computer_without_gpu_has_no_line(nvml, monkeypatch, tmp_path):
    nvml()
    monkeypatch.setattr(gpu, "_ROOT", plant("desktop", tmp_path / "root"))
    assert list(examine_gpus(None)) == []


def test_a_jetson_is_told_with_its_power_mode(nvml, monkeypatch, tmp_path):
    nvml()
    monkeypatch.setattr(gpu, "_ROOT", plant("orin-agx-jetpack6", tmp_path / "root"))
    board, mode = examine_gpus(None)
    assert board.found == "NVIDIA Jetson AGX Orin Developer Kit, 44 degrees C, not throttled"
    assert mode.found == "nvpmodel 2: MODE_30W, the GPU's clock varies with its load"


def test_a_driver_that_does_not_start_is_warned_of(nvml, monkeypatch, tmp_path):
    nvml(init=18)
    monkeypatch.setattr(gpu, "_ROOT", tmp_path)
    (check,) = examine_gpus(None)
    assert check.outcome is Outcome.WARN and "does not start" in check.found


def test_a_gpu_that_is_slowed_down_warns_and_one_that_is_lost_fails():
    slowed = gpu_check(CARD, Reading(throttled={"thermal": True, "power": False}))
    assert slowed.outcome is Outcome.WARN and slowed.found.endswith("throttled: thermal")
    assert gpu_check(CARD, Reading(lost="it fell off the bus")).outcome is Outcome.FAIL
    assert gpu_check(CARD, Reading()).found == "NVIDIA L4, driver 580.95.05"


def test_fixed_clocks_are_told_and_nothing_is_said_of_what_is_unknown():
    assert power_mode("0: MAXN", clocks_are_fixed=True).found == "nvpmodel 0: MAXN, the GPU's clock is fixed"
    assert power_mode(None, None).found == "nvpmodel does not tell its mode"
