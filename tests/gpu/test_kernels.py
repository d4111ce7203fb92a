"""Every kernel on the device gives what NumPy gives: the cases of the unit tests, which run the kernels on the host."""

import importlib
import inspect
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[1] / "unit"


def _cases():
    """The tests that take `kernels`, whatever is behind that, by a name of their own."""
    for path in sorted(UNIT.glob("*/test_on_device*.py")):
        name = f"unit.{path.parent.name}.{path.stem}"
        pytest.register_assert_rewrite(name)
        module = importlib.import_module(name)
        for key, value in vars(module).items():
            if key.startswith("test_") and "kernels" in inspect.signature(value).parameters:
                yield f"test_{path.stem.removeprefix('test_on_device_')}_{key.removeprefix('test_')}", value


globals().update(_cases())
