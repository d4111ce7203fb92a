"""Offline: from a checkpoint to an engine with its passport. May import torch."""

from edge_runtime import __version__ as __version__  # its settings of libraries come before any library
