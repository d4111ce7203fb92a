"""The packages that only video needs: whether they are there, and how they are installed. Loads none of them."""

from __future__ import annotations

import importlib.util

from edge_runtime.config import Config
from edge_runtime.errors import BackendUnavailable

HOW_TO_INSTALL = "pip install 'edge-runtime[video]', or for an installed service: make install EXTRAS=video"


def package_missing(who: str, package: str) -> BackendUnavailable:
    """The error that says who needs a package, and how to install it."""
    return BackendUnavailable(f"{who} needs {package}; install it: {HOW_TO_INSTALL}")


def require_video_packages(config: Config) -> None:
    """See that what the configured video needs is installed.

    Raises:
        BackendUnavailable: PyAV is missing and there is video, or paho-mqtt and a live destination is a broker.
    """
    if config.video and importlib.util.find_spec("av") is None:
        raise package_missing(f"video {config.video[0].name}", "PyAV")
    live = [one for video in config.video for one in config.live_destinations(video.pipeline)]
    broker = next((one for one in live if one.type == "mqtt"), None)
    if broker is not None and importlib.util.find_spec("paho") is None:
        raise package_missing(f"destination {broker.name}", "paho-mqtt")
