"""A convolution and a ReLU in ONNX: enough to find a provider whose libraries do not load or have no code for a GPU."""

from __future__ import annotations

import base64

import numpy as np

from edge_runtime.domain import Array

SMOKE_NETWORK = base64.b64decode(
    "CAg6lQIKIgoBeAoBdxIBYyIEQ29udioRCgRwYWRzQAFAAUABQAGgAQcKDAoBYxIBeSIEUmVsdRIEdGlueSqgAQgCCAIIAwgDEAFC"
    "AXdKkAEAAMC+AACAvgAAAL4AAAAAAAAAPgAAgD4AAMA+AADAvgAAgL4AAAC+AAAAAAAAAD4AAIA+AADAPgAAwL4AAIC+AAAAvgAA"
    "AAAAAAA+AACAPgAAwD4AAMC+AACAvgAAAL4AAAAAAAAAPgAAgD4AAMA+AADAvgAAgL4AAAC+AAAAAAAAAD4AAIA+AADAPgAAwL5a"
    "GwoBeBIWChQIARIQCgIIAQoCCAIKAggICgIICGIbCgF5EhYKFAgBEhAKAggBCgIIAgoCCAgKAggIQgQKABAR"
)
"""x and y: float32, (1, 2, 8, 8); y = relu(conv(x)), 3x3, weights ((0 .. 35) % 7 - 3) / 8."""

SMOKE_INPUT: Array = (np.arange(128, dtype=np.float32) % 11 - 5).reshape(1, 2, 8, 8)
