"""The device of these tests: an NVIDIA GPU, or the emulated driver where EDGE_TEST_DRIVER=emulated asks for it."""

import os
from pathlib import Path

import pytest


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.gpu)


@pytest.fixture(scope="session")
def driver():
    """Skips where there is none."""
    if os.environ.get("EDGE_TEST_DRIVER") == "emulated":
        from support import host_cuda, host_kernels

        host_cuda.load()
        host_cuda.reset(host_kernels.library())
    from edge_runtime.device import probe

    found = probe.driver()
    if isinstance(found, str):
        pytest.skip(f"needs an NVIDIA GPU: {found}")
    return found


@pytest.fixture(scope="session")
def device(driver):
    from edge_runtime.device.cuda import CudaDevice

    device = CudaDevice()
    yield device
    device.close()


@pytest.fixture(scope="session")
def kernels(device):
    from edge_runtime.kernels import Kernels

    return Kernels(device, None)
