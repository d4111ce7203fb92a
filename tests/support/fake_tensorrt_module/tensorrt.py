"""TensorRT for a child process that has the emulated CUDA driver: this folder and tests/ stand in its PYTHONPATH."""

import os

from support.fake_tensorrt import fake

globals().update({k: v for k, v in vars(fake(os.environ.get("EDGE_FAKE_TENSORRT", "10.13.3.9"))).items()
                  if not k.startswith("__") or k == "__version__"})  # fmt: skip
