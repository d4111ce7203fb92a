"""Carry out a card's recipe by kernels, on pixels that are on the device. The same numbers as `compile_recipe`."""

from edge_runtime.preprocess.on_device.frames import FramePreparation, frame_preparation
from edge_runtime.preprocess.on_device.volumes import VolumePreparation, volume_preparation

__all__ = ["FramePreparation", "VolumePreparation", "frame_preparation", "volume_preparation"]
