"""What the network's input and output need done on the device: CUDA C++, compiled where it runs."""

from edge_runtime.kernels.compile import SUPPORTED, image
from edge_runtime.kernels.program import Kernels

__all__ = ["SUPPORTED", "Kernels", "image"]
