"""A process whose device hangs says so, gives its work back, and goes, whatever the disk does."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from edge_runtime.errors import EXIT_DEVICE_LOST, CaptureFailed, DeviceError, DeviceLost, OutOfDeviceMemory
from edge_runtime.metrics import DEVICE_FAILURES, METRICS
from edge_runtime.roles import device_end
from edge_runtime.roles.device_end import CAUSES, DeviceHang, cause_of
from edge_runtime.roles.link import Link, socket_pair
from edge_runtime.telemetry.metrics import RoleMetrics


def hang(give_back: Any = None) -> tuple[list[Any], list[dict[str, Any]]]:
    """What happened in order, and what the supervisor heard."""
    metrics, happened = RoleMetrics(METRICS, {}), list[Any]()
    ours, theirs = socket_pair()
    with ours, theirs:
        ends = DeviceHang("studies", Link(theirs, metrics.snapshot), metrics, leave=happened.append)
        ends.give_back = give_back or happened.append
        ends("synchronize of stream-1 (high)")
        heard = [json.loads(ours.recv(100_000)) for _ in range(2)]
    return happened, heard


def test_the_work_is_given_back_before_the_process_goes_and_the_supervisor_hears_why() -> None:
    (error, code), (state, metrics) = hang()
    assert isinstance(error, DeviceLost) and code == EXIT_DEVICE_LOST
    reason = state["state"]["reasons"]["end"]
    assert "synchronize of stream-1 (high)" in reason and "the device hangs" in reason
    assert metrics["metrics"] == [["edge_device_lost_total", ["studies", "hang"], 1.0]]


def test_a_disk_that_hangs_too_does_not_keep_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_end, "GIVE_BACK_SECONDS", 0.01)
    free = threading.Event()
    happened, _ = hang(lambda _error: free.wait())
    free.set()
    assert happened == [EXIT_DEVICE_LOST]


@pytest.mark.parametrize(
    ("kind", "cause"),
    [(OutOfDeviceMemory, "memory"), (DeviceLost, "lost"), (DeviceError, "call"), (CaptureFailed, "call")],
)
def test_each_failure_has_its_cause(kind: type[DeviceError], cause: str) -> None:
    assert cause_of(kind("call", "code")) == cause
    assert cause in CAUSES and set(CAUSES) == set(DEVICE_FAILURES)
