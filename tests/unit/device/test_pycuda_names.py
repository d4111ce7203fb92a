"""The names of pycuda that are used, against the real module where it is and against the stand-in always."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution

import pytest
from support import fake_pycuda

from edge_runtime.device.pycuda import USED_NAMES


def missing(module):
    return [
        f"{owner}.{name}"
        for owner, names in USED_NAMES.items()
        for name in names
        if not hasattr(getattr(module, owner) if owner else module, name) and (owner, name) not in INSTANCES
    ]


INSTANCES = {("Context", "handle"), ("Stream", "handle")}  # of which the stand-in has attributes of each object


def test_the_stand_in_has_every_name_that_is_used():
    fake_pycuda.install()
    assert missing(fake_pycuda) == []


def test_pycuda_has_every_name_that_is_used():
    try:
        distribution("pycuda")
    except PackageNotFoundError:
        pytest.skip("pycuda is not installed")
    assert missing(import_module("pycuda.driver")) == []
