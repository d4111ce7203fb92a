"""Edge Runtime: DICOM and video inference beside the scanner, within latency budgets."""

import os

__version__ = "0.6.0"

# Before NumPy is loaded: the matrices here are small, and BLAS's own threads would fight the engine's for the cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Before ONNX Runtime is loaded: from 1.32 on its wheels send usage data to their maker unless told not to.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
