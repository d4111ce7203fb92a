"""An emulated driver, which says what the tests write."""

from functools import partial

import pytest
from support import host_nvml


@pytest.fixture
def nvml(tmp_path, monkeypatch):
    """`nvml(GPU, ..., key=value)`: from now on the driver says this."""
    host_nvml.load()
    path = tmp_path / "nvml.state"
    monkeypatch.setenv("EDGE_NVML_STATE", str(path))
    write = partial(host_nvml.write, path)
    write()
    return write
