"""The integrated GPU of a Jetson by the files of /sys: what is there is read, and what is not is absent."""

import math
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.trees import TREES, plant

from edge_runtime.telemetry.gpu.files import celsius_of, number_of, nvpmodel, text_of
from edge_runtime.telemetry.gpu.reading import RAILS, THROTTLE_REASONS
from edge_runtime.telemetry.gpu.sysfs import find_board


def read(name, root):
    board = find_board(plant(name, root))
    assert board is not None
    return board, *board.read()


def test_agx_orin_tells_load_temperature_clock_and_rails(tmp_path):
    board, reading, rails = read("orin-agx-jetpack6", tmp_path)
    assert board.name == "NVIDIA Jetson AGX Orin Developer Kit" and board.pci_bus_id is None
    assert reading.utilization_ratio == 0.437
    assert reading.temperature_celsius == pytest.approx(44.312)
    assert reading.clocks_hertz == {"graphics": 918e6}
    assert reading.clock_limits_hertz == {"graphics": 1300.5e6}
    assert rails == pytest.approx(
        {"VDD_GPU_SOC": 4.792, "VDD_CPU_CV": 0.76672, "VIN_SYS_5V0": 4.327936, "VDDQ_VDD2_1V8AO": 0.768512}
    )


def test_no_rail_of_orin_feeds_the_gpu_alone_so_its_power_is_absent(tmp_path):
    _, reading, _ = read("orin-agx-jetpack6", tmp_path)
    assert reading.power_watts is None and reading.memory_total_bytes is None


def test_orin_nano_tells_its_own_rails_and_no_temperature_of_minus_256(tmp_path):
    board, reading, rails = read("orin-nano-jetpack6", tmp_path)
    assert rails == pytest.approx({"VDD_IN": 5.08, "VDD_CPU_GPU_CV": 0.527488})
    assert reading.temperature_celsius is None
    assert reading.utilization_ratio == 0.0
    assert reading.throttled == {"thermal": True}
    assert board.clocks_are_fixed()


def test_thor_tells_the_graphics_clock_not_that_of_the_video_engine_and_no_load(tmp_path):
    board, reading, rails = read("thor-jetpack7", tmp_path)
    assert board.pci_bus_id == "0000:01:00.0"
    assert reading.clocks_hertz == {"graphics": 1575e6, "memory": 4266e6}
    assert reading.utilization_ratio is None and reading.temperature_celsius is None
    assert reading.power_watts == 15.0
    assert rails == pytest.approx({"VDD_GPU": 15.0, "VDD_CPU_SOC_MSS": 6.504, "VIN_SYS_5V0": 0.0, "VIN": 23.4})
    assert board.clocks_are_fixed() is False


def test_the_video_engine_of_thor_alone_is_no_gpu(tmp_path):
    plant("thor-jetpack7", tmp_path)
    (tmp_path / "sys/class/devfreq/gpu-gpc-0").unlink()
    assert find_board(tmp_path) is None


@pytest.mark.parametrize("name", ["desktop", "card", "arm-board-mali"])
def test_a_computer_without_an_integrated_nvidia_gpu_has_none(name, tmp_path):
    assert find_board(plant(name, tmp_path)) is None


def test_a_container_that_hides_the_device_tree_still_has_its_gpu(tmp_path):
    plant("thor-jetpack7", tmp_path)
    for name in ("model", "compatible"):
        (tmp_path / "sys/firmware/devicetree/base" / name).unlink()
    board = find_board(tmp_path)
    assert board is not None and board.name == "integrated, gpu-gpc-0"


def test_over_current_since_the_last_look_is_throttling_and_earlier_events_are_not(tmp_path):
    board, first, _ = read("orin-agx-jetpack6", tmp_path)
    assert first.throttled == {"thermal": False, "power": False}
    (tmp_path / "sys/class/hwmon/hwmon5/oc2_event_cnt").write_text("5\n")
    assert board.read()[0].throttled["power"] is True
    assert board.read()[0].throttled["power"] is False


def test_the_power_mode_is_what_nvpmodel_keeps(tmp_path):
    assert nvpmodel(plant("orin-agx-jetpack6", tmp_path / "a")) == "2: MODE_30W"
    assert nvpmodel(plant("orin-nano-jetpack6", tmp_path / "b")) is None


FILES = [line.split(" = ")[0] for line in (TREES / "orin-agx-jetpack6.txt").read_text().splitlines() if " = " in line]
TEXTS = st.one_of(
    st.binary(max_size=40),
    st.integers(-(10**25), 10**25).map(lambda n: str(n).encode()),
    st.sampled_from([b"", b"-256000\n", b"nan", b"1e999", b"0x10", b"EAGAIN"]),
)


@given(st.dictionaries(st.sampled_from(FILES), st.none() | TEXTS, max_size=8))
def test_whatever_the_files_hold_only_credible_figures_are_read(changes):
    with tempfile.TemporaryDirectory() as folder:
        root = plant("orin-agx-jetpack6", Path(folder))
        for name, text in changes.items():
            (root / name).unlink() if text is None else (root / name).write_bytes(text)
        board = find_board(root)
        if board is None:
            return
        for _ in range(2):
            reading, rails = board.read()
            assert reading.utilization_ratio is None or 0 <= reading.utilization_ratio <= 1
            assert reading.temperature_celsius is None or -40 <= reading.temperature_celsius < 201
            assert set(rails) <= set(RAILS) and all(0 <= watts < math.inf for watts in rails.values())
            assert all(0 <= hertz < math.inf for hertz in reading.clocks_hertz.values())
            assert set(reading.throttled) <= set(THROTTLE_REASONS)


@given(st.binary(max_size=60))
def test_a_file_of_any_bytes_is_a_number_or_absent(content):
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        path = Path(file.name)
        assert number_of(path) is None or str(number_of(path)).lstrip("-").isdigit()
        assert celsius_of(path) is None or -40 <= celsius_of(path) < 201


def test_a_missing_file_and_a_folder_are_absent(tmp_path):
    assert text_of(tmp_path / "none") is text_of(tmp_path) is None
