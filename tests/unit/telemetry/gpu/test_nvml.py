"""Cards by NVML: the real nvidia-ml-py on an emulated driver."""

import importlib
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.host_nvml import L4, THOR
from support.trees import plant

from edge_runtime.telemetry.gpu.nvml import NvmlUnusable, open_nvml
from edge_runtime.telemetry.gpu.reading import (
    EVENT_REASONS,
    THROTTLE_REASONS,
    Reading,
    filled,
    pci_address,
    throttled_by,
)
from edge_runtime.telemetry.gpu.sources import find_gpus

NOT_SUPPORTED = 3


def without(gpu, *names):
    return {key: value for key, value in gpu.items() if key not in names}


def test_a_card_tells_all_its_readings_in_base_units(nvml):
    nvml(L4)
    cards = open_nvml()
    (gpu,), (reading,) = cards.gpus, cards.read()
    assert (gpu.label, gpu.name, gpu.driver, gpu.pci_bus_id) == ("0", "NVIDIA L4", "580.95.05", "00000000:01:00.0")
    assert reading == Reading(
        utilization_ratio=0.37,
        memory_used_bytes=6_038_224_896,
        memory_total_bytes=24_152_899_584,
        power_watts=54.32,
        power_limit_watts=72.0,
        temperature_celsius=61.0,
        clocks_hertz={"graphics": 1995e6, "memory": 6250e6},
        clock_limits_hertz={"graphics": 2040e6, "memory": 6251e6},
        throttled={"power": True, "power_brake": False, "thermal": False, "sync_boost": False,
                   "hardware_slowdown": False},
        ecc_errors={"corrected": 3, "uncorrected": 0},
        xid_errors=0,
    )  # fmt: skip


OPTIONAL = ("utilization", "memory_total", "power", "power_limit", "celsius", "fan", "clock_memory", "most_graphics",
            "reasons", "ecc_corrected", "xids")  # fmt: skip


@pytest.mark.parametrize("name", OPTIONAL)
@pytest.mark.parametrize("code", [NOT_SUPPORTED, 4, 13, 999], ids=["not supported", "no permission", "old", "unknown"])
def test_a_reading_that_is_refused_is_absent_and_the_others_stay(nvml, name, code):
    whole = {**L4, "fan": 40}
    nvml(whole)
    before = open_nvml().read()[0]
    nvml({**whole, name: f"error:{code}"})
    after = open_nvml().read()[0]
    assert after != before and after.tells and after.lost is None
    assert filled(after, before) == before


def test_a_driver_before_535_tells_its_reasons_by_the_old_name(nvml):
    nvml({**without(L4, "reasons"), "old_reasons": "0x40"})
    assert open_nvml().read()[0].throttled["thermal"]


def test_memory_of_size_0_is_none(nvml):
    nvml({**L4, "memory_total": 0, "memory_used": 0})
    assert open_nvml().read()[0].memory_total_bytes is None


def test_a_card_that_falls_off_the_bus_is_lost_and_the_other_goes_on(nvml):
    second = {**L4, "bus": "00000000:41:00.0"}
    nvml(L4, second)
    cards = open_nvml()
    nvml(L4, {**second, "lost": 1})
    first, lost = cards.read()
    assert first.utilization_ratio == 0.37 and first.lost is None
    assert lost == Reading(lost="it fell off the bus", xid_errors=0)


def test_a_card_that_was_lost_before_the_start_is_counted_and_read_once_it_answers(nvml):
    nvml({**L4, "lost": 1})
    cards = open_nvml()
    assert cards.read()[0].lost and cards.gpus[0].name == "unknown"
    nvml(L4)
    assert cards.read()[0].utilization_ratio == 0.37


def test_xid_errors_are_counted_and_their_number_is_logged(nvml, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("edge_runtime"), "propagate", True)
    nvml(L4)
    cards = open_nvml()
    nvml({**L4, "xids": 3})
    assert cards.read()[0].xid_errors == 3
    assert cards.read()[0].xid_errors == 3
    assert [record.event["xid"] for record in caplog.records] == [79, 79, 79]


def test_a_driver_that_does_not_start_says_why(nvml):
    nvml(L4, init=18)
    with pytest.raises(NvmlUnusable, match="does not start"):
        open_nvml()


def test_a_driver_that_is_not_loaded_is_no_gpu(nvml):
    nvml(L4, init=9)
    assert open_nvml() is None


def test_a_missing_package_is_told_where_there_is_a_driver(nvml, monkeypatch):
    nvml(L4)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert find_gpus(Path("/nonexistent")).trouble == "the package nvidia-ml-py is not installed"


def test_without_a_driver_the_package_is_not_even_imported():
    code = (
        "import sys; from edge_runtime.telemetry.gpu.sources import find_gpus; found = find_gpus();"
        "assert found.gpus == () and found.trouble == '' and 'pynvml' not in sys.modules"
    )
    if not _has_driver():
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def _has_driver():
    code = "import ctypes; ctypes.CDLL('libnvidia-ml.so.1')"
    return subprocess.run([sys.executable, "-c", code], check=False, stderr=subprocess.DEVNULL).returncode == 0


def test_of_thor_each_source_tells_its_part_and_the_gpu_is_one(nvml, tmp_path):
    nvml({**THOR, "memory_total": 131_000_000_000, "memory_used": 40_000_000_000, "celsius": 50})
    found = find_gpus(plant("thor-jetpack7", tmp_path / "root"))
    sample = found.read()
    assert [gpu.name for gpu in found.gpus] == ["NVIDIA Thor"]
    assert sample.readings["0"].utilization_ratio == 0.12
    assert sample.readings["0"].temperature_celsius == 50.0
    assert sample.readings["0"].clocks_hertz["graphics"] == 1575e6
    assert sample.readings["0"].memory_total_bytes is None
    assert sample.rails["VDD_GPU"] == sample.readings["0"].power_watts == 15.0


def test_of_two_sources_that_tell_throttling_one_is_enough():
    driver = Reading(throttled={"thermal": False, "sync_boost": False}, clocks_hertz={"graphics": 1.0})
    files = Reading(throttled={"thermal": True, "power": False}, clocks_hertz={"graphics": 2.0, "memory": 3.0})
    both = filled(driver, files)
    assert both.throttled == {"thermal": True, "sync_boost": False, "power": False}
    assert both.clocks_hertz == {"graphics": 1.0, "memory": 3.0}


def test_orin_beside_a_card_has_a_number_of_its_own(nvml, tmp_path):
    nvml(L4)
    found = find_gpus(plant("orin-agx-jetpack6", tmp_path / "root"))
    sample = found.read()
    assert [(gpu.label, gpu.driver is None) for gpu in found.gpus] == [("0", False), ("1", True)]
    assert sample.readings["0"].memory_total_bytes and sample.readings["1"].memory_total_bytes is None
    assert sample.readings["1"].utilization_ratio == 0.437


def test_addresses_are_the_same_whatever_the_width_of_the_domain():
    assert pci_address("00000000:01:00.0") == pci_address("0000:01:00.0") == (0, 1, 0, 0)
    assert pci_address("0000:AF:00.0") == pci_address("0000:af:00.0") != pci_address("0001:AF:00.0")
    assert pci_address(None) is pci_address("") is pci_address("GPU-1") is None


@given(st.integers(0, 2**64 - 1))
def test_every_mask_of_reasons_gives_the_closed_set(mask):
    told = throttled_by(mask)
    assert tuple(told) == THROTTLE_REASONS
    assert told["thermal"] == bool(mask & 0x60)
    assert any(told.values()) == bool(mask & 0xFC)


def test_the_bits_are_those_of_nvml():
    names = vars(importlib.import_module("pynvml"))
    bits = {name.lower(): bit for name, bit in names.items() if name.startswith("nvmlClocksEventReason")}
    for place, name in enumerate(EVENT_REASONS):
        assert bits["nvmlclockseventreason" + name.replace("_", "")] == 1 << place
