"""An engine for another device or library is refused before its bytes reach any, with the command that rebuilds."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge_runtime.device.base import Facts
from edge_runtime.engines.passport import Target
from edge_runtime.engines.target import check_target
from edge_runtime.errors import EngineRejected

L4 = Facts("NVIDIA L4", "gpu", (8, 9), integrated=False, driver_version=(13, 0))
PLAN = Target("tensorrt", "10.13.3.9", compute_capabilities=("8.9",), device_name="NVIDIA L4", integrated=False)
RTX = Target("tensorrt_rtx", "1.7.1", compute_capabilities=("8.6", "8.9"))


def check(target, version="10.13.3.9", facts=L4, flavour=None):
    folder = Path("/e/tiny") / f"{target.flavour.replace('_', '-')}-fp16"
    passport = SimpleNamespace(target=target)
    engine = SimpleNamespace(folder=folder, passport=passport, card=SimpleNamespace(name="tiny"))
    check_target(engine, flavour or target.flavour, version, facts)


def at(**changes):
    return dataclasses.replace(L4, **changes)


def change(target, **changes):
    return dataclasses.replace(target, **changes)


@pytest.mark.parametrize(
    ("target", "version", "facts"),
    [
        (PLAN, "10.13.3.9", L4),
        (PLAN, "10.13.3", L4),
        (RTX, "1.7.4", L4),
        (RTX, "1.7.1", at(name="another", compute_capability=(8, 6))),
        (change(PLAN, cuda_runtime="13.2", minimum_driver="13.0"), "10.13.3.9", L4),
        (change(PLAN, compatibility=("ampere_plus",)), "10.13.3.9", at(compute_capability=(12, 0))),
        (change(PLAN, compatibility=("same_compute_capability",)), "10.13.3.9", at(name="L40")),
        (Target("tensorrt", "10.13.3"), "10.13.3.9", Facts("unknown", "gpu")),
        (Target("onnxruntime", "1.20.0"), "1.32.0", Facts("cpu", "cpu")),
        (Target("onnxruntime", "1.20.0"), "1.32.0 CUDA", L4),
    ],
)  # fmt: skip
def test_what_fits_is_taken(target, version, facts):
    check(target, version, facts)


@pytest.mark.parametrize(
    ("target", "version", "facts", "message"),
    [
        (PLAN, "10.16.2", L4, "it was built by tensorrt 10.13.3.9, this machine has 10.16.2"),
        (PLAN, "11.4.0", L4, "this machine has 11.4.0"),
        (RTX, "1.6.0", L4, "it was built by tensorrt_rtx 1.7.1, this machine has 1.6.0"),
        (PLAN, "10.13.3.9", at(compute_capability=(8, 6)), "compute capability 8.9, .*NVIDIA L4. has 8.6"),
        (RTX, "1.7.1", at(compute_capability=(12, 0)), "compute capability 8.6, 8.9, .* has 12.0"),
        (change(PLAN, compatibility=("ampere_plus",)), "10.13.3.9", at(compute_capability=(7, 5)), "has 7.5"),
        (PLAN, "10.13.3.9", at(name="NVIDIA L40"), "built on NVIDIA L4, this device is NVIDIA L40"),
        (PLAN, "10.13.3.9", at(integrated=True), "built for a card, this device .* is an integrated GPU"),
        (change(PLAN, minimum_driver="13.1"), "10.13.3.9", L4, "CUDA 13.1 or newer, this driver runs CUDA 13.0"),
        (change(PLAN, cuda_runtime="14.0"), "10.13.3.9", L4, "built with CUDA 14.0, this driver runs CUDA 13.0"),
        (change(PLAN, compatibility=("version_compatible",)), "10.13.3.9", L4, "brings code for the host"),
        (PLAN, "10.13.3.9", Facts("cpu", "cpu"), "it runs on a GPU, this device is cpu"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_expected_found_and_command(target, version, facts, message):
    with pytest.raises(EngineRejected, match=message) as refused:
        check(target, version, facts)
    text = str(refused.value)
    assert text.startswith("engine tiny: ")
    assert "; run: edge-convert build /e/tiny --target " in text and text.endswith("-fp16")


def test_an_engine_of_another_library_is_refused():
    with pytest.raises(EngineRejected, match="built for tensorrt, the backend is onnxruntime"):
        check(PLAN, flavour="onnxruntime")


def test_the_command_for_rtx_builds_for_this_device():
    with pytest.raises(EngineRejected, match=r"--sm 12\.0 "):
        check(RTX, "1.7.1", at(compute_capability=(12, 0)))
