"""What a machine is, and its state: read from trees of files as the kernel lays them out."""

import re

import pytest

from benchmarks.provenance.differences import differences
from benchmarks.provenance.disk import FileSystem
from benchmarks.provenance.machine import machine
from benchmarks.provenance.reading import Said, ask
from benchmarks.provenance.state import state

ABSENT = Said("absent", None)
CPU = "sys/devices/system/cpu"
SERVER = {
    "etc/os-release": 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    "proc/cpuinfo": "processor : 0\nmodel name\t: Some Xeon\nflags\t\t: fpu hypervisor\ncpu MHz\t\t: 2000.5\n\n"
    "processor : 1\nmodel name\t: Some Xeon\nflags\t\t: fpu hypervisor\ncpu MHz\t\t: 3000.0\n",
    "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
    f"{CPU}/smt/control": "on\n",
    f"{CPU}/intel_pstate/no_turbo": "0\n",
    **{
        f"{CPU}/cpu{core}/{name}": text
        for core, clock in ((0, 1_200_000), (1, 3_100_000))
        for name, text in {
            "cpufreq/scaling_governor": "performance\n", "cpufreq/scaling_driver": "intel_pstate\n",
            "cpufreq/scaling_cur_freq": f"{clock}\n", "cpufreq/scaling_min_freq": "800000\n",
            "cpufreq/scaling_max_freq": "3200000\n", "thermal_throttle/core_throttle_count": "3\n",
            "thermal_throttle/package_throttle_count": "7\n", "thermal_throttle/core_throttle_total_time_ms": "9\n",
        }.items()
    },
    "sys/class/thermal/thermal_zone0/type": "x86_pkg_temp\n",
    "sys/class/thermal/thermal_zone0/temp": "61000\n",
    "sys/class/thermal/thermal_zone0/trip_point_0_type": "passive\n",
    "sys/class/thermal/thermal_zone0/trip_point_0_temp": "95000\n",
    "sys/class/thermal/thermal_zone0/trip_point_1_type": "critical\n",
    "sys/class/thermal/thermal_zone0/trip_point_1_temp": "60000\n",
    "sys/class/thermal/thermal_zone1/type": "acpitz\n",
    "sys/class/thermal/thermal_zone1/temp": "27800\n",
    "sys/class/thermal/thermal_zone1/trip_point_0_type": "passive\n",
    "sys/class/thermal/thermal_zone1/trip_point_0_temp": "-273200\n",
    "sys/class/thermal/thermal_zone2/type": "acpitz\n",
    "sys/class/thermal/thermal_zone2/temp": "-274000\n",
    "sys/class/thermal/thermal_zone10/type": "acpitz\n",
    "sys/class/thermal/thermal_zone10/temp": "30000\n",
    "sys/class/thermal/thermal_zone10/trip_point_0_type": "hot\n",
    "sys/class/thermal/thermal_zone10/trip_point_0_temp": "0\n",
    "sys/class/hwmon/hwmon2/name": "coretemp\n",
    "sys/class/hwmon/hwmon2/temp1_input": "62000\n",
    "sys/class/hwmon/hwmon2/temp1_label": "Package id 0\n",
}  # fmt: skip
JETSON = {
    "proc/device-tree/model": "NVIDIA Jetson AGX Orin Developer Kit\0",
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n",
    "var/lib/nvpmodel/status": "pmode:0002\n",
    "etc/nvpmodel.conf": "# < POWER_MODEL ID=2 NAME=NOT_THIS >\n< POWER_MODEL ID=0 NAME=MAXN >\nCPU_ONLINE CORE_1 1\n"
    "< POWER_MODEL ID=2 NAME=MODE_30W >\n",
    "sys/class/devfreq/17000000.gpu/cur_freq": "306000000\n",
    "sys/class/devfreq/17000000.gpu/min_freq": "306000000\n",
    "sys/class/devfreq/17000000.gpu/max_freq": "624750000\n",
    "sys/class/devfreq/17000000.gpu/governor": "nvhost_podgov\n",
    "sys/class/hwmon/hwmon3/name": "soctherm_oc\n",
    "sys/class/hwmon/hwmon3/oc1_event_cnt": "0\n",
    "sys/class/hwmon/hwmon3/oc3_event_cnt": "27\n",
}


@pytest.fixture
def tree(tmp_path):
    def make(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return make


def nothing(command):
    return ABSENT


def test_a_servers_state_has_its_clocks_temperatures_and_throttling(tree):
    found = state(tree(SERVER), nothing)
    assert found["clocks"] == {
        "source": "cpufreq", "current_mhz": [1200.0, 3100.0], "least_mhz": [800.0, 800.0], "most_mhz": [3200.0, 3200.0],
        "governors": ["performance"], "drivers": ["intel_pstate"], "turbo": "on",
    }  # fmt: skip
    assert found["thermal_zones"] == {
        "x86_pkg_temp": {"celsius": 61.0, "trip_celsius": 95.0},
        "acpitz": {"celsius": 27.8},
        "acpitz #2": {"celsius": 30.0},
    }
    assert found["sensors_celsius"] == {"coretemp Package id 0": 62.0}
    assert found["throttle_counts"] == {"core_throttle_count": 6, "package_throttle_count": 7}
    assert "power_mode" not in found and "gpus" not in found and "gpus_absent" not in found


def test_a_jetsons_state_has_its_power_mode_the_gpus_clocks_and_over_current_events(tree):
    found = state(tree(JETSON), nothing)
    assert found["power_mode"] == "2: MODE_30W"
    assert found["device_clocks"]["17000000.gpu"] == {
        "current_mhz": 306.0, "least_mhz": 306.0, "most_mhz": 624.75, "governor": "nvhost_podgov",
    }  # fmt: skip
    assert found["throttle_counts"] == {"oc1_event_cnt": 0, "oc3_event_cnt": 27}
    told = machine(tree(JETSON), nothing)
    assert told["board"] == "NVIDIA Jetson AGX Orin Developer Kit"
    assert told["jetson_linux"].startswith("R36 (release), REVISION: 4.3")


@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [(0, "NV Fan Mode:quiet\nNV Power Mode: MAXN\n0", "0: MAXN"), (0, "NV Power Mode: ?", None), (1, "no", None)],
)
def test_nvpmodel_is_asked_where_its_file_cannot_be_read(tree, status, text, expected):
    found = state(tree({}), lambda command: Said(text, status) if command == ["nvpmodel", "-q"] else ABSENT)
    assert found.get("power_mode") == expected


def test_the_profile_of_the_firmware_is_the_power_mode_of_other_machines(tree):
    assert state(tree({"sys/firmware/acpi/platform_profile": "balanced\n"}), nothing)["power_mode"] == "balanced"


def test_what_cannot_be_read_is_absent_and_never_zero(tree):
    assert state(tree({}), nothing) == {}
    found = machine(tree({}), nothing)
    assert set(found) == {"cpu_model", "cores", "memory_bytes", "kernel", "machine"}
    files = {f"{CPU}/cpu0/cpufreq/scaling_cur_freq": "<unknown>\n", "sys/class/thermal/thermal_zone0/temp": ""}
    assert state(tree(files), nothing) == {}


def test_without_cpufreq_clocks_come_from_cpuinfo(tree):
    found = state(tree({"proc/cpuinfo": SERVER["proc/cpuinfo"]}), nothing)
    assert found == {"clocks": {"source": "/proc/cpuinfo", "current_mhz": [2000.5, 3000.0]}}


@pytest.mark.parametrize(
    ("files", "answers", "expected"),
    [
        ({}, {"--vm": ("kvm", 0), "--container": ("none", 1)}, {"virtualization": "kvm", "container": "none"}),
        ({}, {"--vm": ("none", 1), "--container": ("lxc", 0)}, {"virtualization": "none", "container": "lxc"}),
        ({"sys/hypervisor/type": "xen\n", ".dockerenv": ""}, {}, {"virtualization": "xen", "container": "docker"}),
        ({"run/.containerenv": ""}, {"--vm": ("failed", 1)}, {"virtualization": "unknown", "container": "podman"}),
    ],
)
def test_hypervisor_and_container_are_named(tree, files, answers, expected):
    root = tree({"proc/cpuinfo": SERVER["proc/cpuinfo"], **files})
    found = machine(root, lambda command: Said(*answers[command[1]]) if command[1] in answers else ABSENT)
    assert {key: found[key] for key in expected} == expected


def test_a_machine_is_described(tree):
    found = machine(tree(SERVER), nothing)
    assert (found["smt"], found["transparent_huge_pages"], found["cpu_model"]) == ("on", "madvise", "Some Xeon")
    assert found["operating_system"] == "Debian GNU/Linux 12 (bookworm)"


BEFORE = {
    "clocks": {"governors": ["performance"], "turbo": "on", "least_mhz": [800.0, 800.0], "most_mhz": [3200.0, 3200.0]},
    "power_mode": "0: MAXN",
    "thermal_zones": {"cpu": {"celsius": 60.0, "trip_celsius": 95.0}, "soc": {"celsius": 60.0}},
    "throttle_counts": {"core_throttle_count": 3},
}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, []),
        ({"power_mode": "2: MODE_30W"}, ["power mode changed during the run from 0: MAXN to 2: MODE_30W"]),
        ({"power_mode": None}, ["power mode changed during the run from 0: MAXN to absent"]),
        ({"clocks": {**BEFORE["clocks"], "governors": ["powersave"]}}, ["from performance to powersave"]),
        ({"clocks": {**BEFORE["clocks"], "turbo": "off"}}, ["turbo state changed during the run from on to off"]),
        ({"clocks": {**BEFORE["clocks"], "most_mhz": [1500.0, 3200.0]}}, ["from 3200 to 3200 to 1500 to 3200"]),
        ({"throttle_counts": {"core_throttle_count": 9}}, ["throttled during the run: core_throttle_count rose by 6"]),
        ({"throttle_counts": {"core_throttle_count": 3}}, []),
        ({"thermal_zones": {"cpu": {"celsius": 94.9, "trip_celsius": 95.0}, "soc": {"celsius": 120.0}}}, []),
        ({"thermal_zones": {"cpu": {"celsius": 95.0, "trip_celsius": 95.0}}}, ["cpu was at 95 .* of 95 .before: 60"]),
    ],
)
def test_what_changed_in_the_machines_state_is_a_problem(changed, expected):
    found = differences(BEFORE, {**BEFORE, **changed}, gpu_used=False)
    assert len(found) == len(expected)
    for sentence, pattern in zip(found, expected, strict=True):
        assert re.search(pattern, sentence)


def test_a_result_names_no_server_pool_or_volume_group():
    assert FileSystem("ext4", "/dev/nvme0n1p2").document() == {"type": "ext4", "device": "/dev/nvme0n1p2"}
    assert FileSystem("xfs", "/dev/mapper/clinic--7-root").document() == {"type": "xfs", "device": "/dev/mapper"}
    for device in ("ct-server:/export/home", "tank/home/jane"):
        assert FileSystem("nfs4", device).document() == {"type": "nfs4"}


def test_a_program_that_is_not_there_or_fails_says_so():
    assert ask(["no-such-program-here"]) == Said("absent", None)
    assert ask(["sh", "-c", "echo oops >&2; exit 3"]) == Said("oops", 3)
    assert Said("\n  two\nthree", 0).first_line == "two" and Said("", 0).first_line == "unknown"


def test_a_program_that_hangs_is_given_up(monkeypatch):
    monkeypatch.setattr("benchmarks.provenance.reading.ANSWER_SECONDS", 0.05)
    assert ask(["sleep", "5"]).status is None
