"""What engines run on, what is wrong with it, and that looking at it harms nobody."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support import unruly_device
from support.spools import make_config

from edge_runtime.backends.registry import CUDA, Choice
from edge_runtime.config import Engines
from edge_runtime.doctor import accelerator
from edge_runtime.doctor.accelerator import Accelerator, accelerator_checks, look, require_usable
from edge_runtime.doctor.check import Outcome
from edge_runtime.errors import EXIT_UNAVAILABLE, EngineError

CARD = Accelerator(
    "tensorrt", "NVIDIA L4", ("every engine was built for tensorrt",), "11.4.0", "8.9", "13.0", False,
    24_000_000_000, 20_000_000_000, "", "",
)  # fmt: skip


def outcomes(found: Accelerator) -> dict[str, Outcome]:
    return {check.what: check.outcome for check in accelerator_checks(found)}


def test_a_gpu_that_is_well_is_one_line_with_all_that_is_known() -> None:
    (check,) = accelerator_checks(CARD)
    assert check.outcome is Outcome.OK
    assert check.found == (
        "engines run on NVIDIA L4 (SM 8.9, a card, 20.0 GB of 24.0 GB free, driver for CUDA 13.0) with tensorrt "
        "11.4.0: every engine was built for tensorrt"
    )


def test_a_processor_is_one_line_and_nothing_to_do(tmp_path: Path) -> None:
    config = replace(make_config(tmp_path), engines=Engines(device="cpu", backend="onnxruntime"))
    (check,) = accelerator_checks(look(config))
    assert (check.outcome, check.found) == (
        Outcome.OK, "engines run on cpu with onnxruntime: engines.device is cpu",
    )  # fmt: skip


def test_what_cannot_be_had_here_is_a_failure_with_69(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_runtime.backends.registry.asked", lambda: "no NVIDIA driver is installed")
    config = replace(make_config(tmp_path), engines=Engines(device="cuda"))
    found = look(config)
    assert outcomes(found) == {"accelerator": Outcome.FAIL}
    with pytest.raises(EngineError, match=r"engines\.device is cuda.*no NVIDIA driver is installed") as caught:
        require_usable(found)
    assert caught.value.exit_code == EXIT_UNAVAILABLE


def test_memory_that_is_taken_is_no_reason_to_refuse_a_configuration() -> None:
    found = replace(CARD, problem="cuMemAlloc failed with CUDA_ERROR_OUT_OF_MEMORY", busy=True)
    assert outcomes(found) == {"accelerator": Outcome.WARN}
    require_usable(found)


def test_little_memory_no_nvrtc_and_no_telemetry_are_warned_of() -> None:
    found = replace(CARD, free_bytes=1, kernels="NVRTC cannot be loaded", telemetry="nvidia-ml-py is not installed")
    assert outcomes(found) == {
        "accelerator": Outcome.OK, "device memory": Outcome.WARN, "device kernels": Outcome.WARN,
        "device telemetry": Outcome.WARN,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("child", "says"), [(unruly_device.dies, "ended with 7"), (unruly_device.hangs, "does not answer within 1 s")]
)
def test_a_driver_that_takes_its_process_along_or_hangs_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, child: object, says: str
) -> None:
    monkeypatch.setattr(accelerator, "choose", lambda _: Choice("tensorrt", CUDA, ()))
    monkeypatch.setattr(accelerator, "_look_here", child)
    assert says in look(make_config(tmp_path), 1.0 if child is unruly_device.hangs else 30.0).problem
