"""The latency suite: scenarios, peers, the demo, and what they share."""

from edge_runtime import __version__ as __version__  # its settings of libraries come before any library
