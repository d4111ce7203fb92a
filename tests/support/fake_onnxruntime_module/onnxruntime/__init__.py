"""ONNX Runtime with a CUDA provider for a child process that has the emulated CUDA driver.

The installed package, with another InferenceSession. This folder's parent and tests/ stand in its PYTHONPATH.
"""

import importlib
import importlib.machinery
import sys
from pathlib import Path

_here = Path(__file__).parent
_real = importlib.machinery.PathFinder.find_spec(
    "onnxruntime", [entry for entry in sys.path if Path(entry).resolve() != _here.parent.resolve()]
)
__path__ = [*_real.submodule_search_locations, str(_here)]
exec(compile(Path(_real.origin).read_text(), _real.origin, "exec"), globals())

_fake = importlib.import_module("support.fake_onnxruntime_cuda")
InferenceSession = _fake.Session
get_available_providers = _fake.providers
