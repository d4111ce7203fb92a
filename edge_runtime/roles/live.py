"""live: shows and sends what infer says of live frames, and chooses key frames. It never asks infer to wait."""

from __future__ import annotations

from edge_runtime.config import Config
from edge_runtime.errors import ConfigurationError
from edge_runtime.live.inbox import Inbox
from edge_runtime.live.key_frames import KeyFrames
from edge_runtime.live.outputs import Outputs
from edge_runtime.live.registry import build_sinks
from edge_runtime.roles.link import Link
from edge_runtime.spool.spool import open_spool
from edge_runtime.telemetry.metrics import Metrics

POLL_SECONDS = 0.2


def run(config: Config, link: Link, metrics: Metrics) -> None:
    """Hand on results until stopped.

    Raises:
        BackendUnavailable: a destination needs a package that is missing.
        ConfigurationError: there is no video.
    """
    if link.channels is None:
        raise ConfigurationError("live results need a source; add one to video")
    spool = open_spool(config)
    key_frames = KeyFrames(config, spool, metrics, link.hint)
    outputs = Outputs(config, link.channels, build_sinks(config, metrics), key_frames, metrics)
    inbox = Inbox(link.channels.results_out)
    link.ready()
    while not link.stopped.is_set():
        link.beat()
        outputs.process(inbox.take(POLL_SECONDS))
    inbox.close()
    outputs.close(link.drain_seconds / 2)
    key_frames.close(link.drain_seconds)
    spool.close()
