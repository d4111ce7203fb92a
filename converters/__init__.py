"""Offline: from a checkpoint to an engine with its passport. May import torch."""
