"""What a machine tells of its GPU is recorded; what it does not tell is absent."""

import ctypes

import pytest

from converters.targets.gpu import Gpu, ask, first_gpu, jetpack


class Driver:
    """The CUDA driver of an Orin; `broken` names the call that fails."""

    def __init__(self, broken=""):
        self.broken = broken

    def cuInit(self, flags):
        return int(self.broken == "cuInit")

    def cuDeviceGet(self, device, number):
        return int(self.broken == "cuDeviceGet")

    def cuDeviceGetName(self, name, size, device):
        name.value = b"Orin"
        return int(self.broken == "cuDeviceGetName")

    def cuDeviceGetAttribute(self, value, attribute, device):
        ctypes.cast(value, ctypes.POINTER(ctypes.c_int))[0] = {18: 1, 75: 8, 76: 7}[attribute]
        return int(self.broken == "cuDeviceGetAttribute")


def test_a_device_is_asked_for_name_compute_capability_and_kind():
    assert ask(Driver()) == Gpu("Orin", "8.7", integrated=True)


@pytest.mark.parametrize("call", ["cuInit", "cuDeviceGet", "cuDeviceGetName", "cuDeviceGetAttribute"])
def test_a_driver_that_fails_tells_nothing(call):
    assert ask(Driver(call)) is None


def test_a_machine_without_a_driver_has_no_gpu(monkeypatch):
    monkeypatch.setattr("converters.targets.gpu._DRIVER", "libno_such_driver.so.1")
    assert first_gpu() is None


def test_jetpack_is_that_of_the_installed_package_else_the_release_it_rests_on(tmp_path):
    assert jetpack(tmp_path) is None
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nv_tegra_release").write_text("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\n")
    assert jetpack(tmp_path) == "L4T 36.4.3"
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    status = "Package: nvidia-jetpack-dev\nVersion: 1\n\nPackage: nvidia-jetpack\nStatus: install\nVersion: 6.2+b77\n\n"
    (tmp_path / "var/lib/dpkg/status").write_text(status)
    assert jetpack(tmp_path) == "6.2+b77"
