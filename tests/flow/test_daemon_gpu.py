"""The daemon beside a driver that loses its GPU or hangs: metrics say so, and nothing else of it minds."""

import time

import pytest
from support import host_nvml
from support.host_nvml import L4
from support.pacs import wait_until
from support.site import write_config

from benchmarks.daemon import Daemon

pytestmark = pytest.mark.slow


def test_metrics_tell_how_the_gpu_is_until_its_driver_hangs_and_again_afterwards(tmp_path, engines, monkeypatch):
    state = tmp_path / "nvml"
    host_nvml.write(state, L4)
    for name, value in host_nvml.environment(state).items():
        monkeypatch.setenv(name, value)
    folder = [{"name": "disk", "type": "folder", "path": str(tmp_path / "out")}]
    config = write_config(tmp_path / "site.yaml", engines, folder)
    with Daemon(config, tmp_path / "spool") as daemon:
        daemon.wait_ready()
        wait_until(lambda: daemon.metric("edge_gpu_utilization_ratio", gpu="0") == 0.37, 30)
        assert daemon.metric("edge_gpu_telemetry_up") == 1
        assert daemon.metric("edge_gpu_throttled", gpu="0", reason="power") == 1
        assert b"edge_gpu_fan_ratio{" not in daemon.get("/metrics")[1]
        host_nvml.write(state, {**L4, "lost": 1, "xids": 1})
        wait_until(lambda: daemon.metric("edge_gpu_lost", gpu="0") == 1, 30)
        wait_until(lambda: daemon.metric("edge_gpu_xid_errors_total", gpu="0") == 1, 30)
        host_nvml.write(state, {**L4, "hang": 1, "xids": 1})
        wait_until(lambda: b"edge_gpu_telemetry_up 0.0" in daemon.get("/metrics")[1], 30)
        assert b"edge_gpu_lost{" not in daemon.get("/metrics")[1]
        assert daemon.get("/livez")[0] == daemon.get("/readyz")[0] == 200
        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < 60  # the thread that hangs is not waited for
