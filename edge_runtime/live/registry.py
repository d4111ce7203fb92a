"""From a destination's configuration to what serves it; the packages of a type are loaded when it is chosen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edge_runtime.config import Config, Destination
from edge_runtime.live.broker import Broker
from edge_runtime.live.segments import Segments
from edge_runtime.live.sinks import Sink, ThreadedSink, Writer
from edge_runtime.telemetry.metrics import Metrics


def build_sinks(config: Config, metrics: Metrics) -> dict[str, list[Sink]]:
    """The destinations of each source. One that several sources share is one.

    Raises:
        BackendUnavailable: a package is missing; the message names the extra that installs it.
    """
    sources: dict[str, dict[str, float]] = {}
    for video in config.video:
        for destination in config.live_destinations(video.pipeline):
            sources.setdefault(destination.name, {})[video.name] = video.display_age_seconds
    spool = Path(config.spool.path)
    built = {d.name: build_sink(d, sources[d.name], metrics, spool) for d in config.destinations if d.name in sources}
    return {video.name: [built[d.name] for d in config.live_destinations(video.pipeline)] for video in config.video}


def build_sink(
    destination: Destination, display_ages: Mapping[str, float], metrics: Metrics, spool: Path = Path()
) -> ThreadedSink:
    """One destination. display_ages: seconds after which a picture of a source is no longer live, by source.

    spool: the daemon's, which no other on this computer has; a broker knows it by that.
    """
    if destination.type == "mqtt":
        from edge_runtime.live import mqtt

        writer: Writer = mqtt.MqttWriter(build_broker(destination, spool), display_ages, destination.retry_seconds)
        return ThreadedSink(destination.name, writer, metrics, mqtt.DEPTH)
    if destination.type == "recording":
        from edge_runtime.live import recording

        writer = recording.RecordingWriter(_segments(destination, recording.SUFFIX), display_ages)
        return ThreadedSink(destination.name, writer, metrics, recording.DEPTH, wants_pictures=True)
    from edge_runtime.live import jsonlines

    writer = jsonlines.LinesWriter(_segments(destination, jsonlines.SUFFIX))
    return ThreadedSink(destination.name, writer, metrics, jsonlines.DEPTH)


def _segments(destination: Destination, suffix: str) -> Segments:
    assert destination.path is not None
    return Segments(Path(destination.path), suffix, destination.segment_seconds, destination.keep_bytes)


def build_broker(destination: Destination, spool: Path) -> Broker:
    """The broker of one destination, of the daemon that has this spool."""
    host, port, topic = destination.host, destination.port, destination.topic
    assert host is not None and port is not None and topic is not None
    password_file = None if destination.password_file is None else Path(destination.password_file)
    ca_file = None if destination.ca_file is None else Path(destination.ca_file)
    return Broker(
        host, port, topic, destination.user, password_file, destination.tls, ca_file, destination.timeout_seconds,
        owner=f"{spool.absolute()} {destination.name}", name=destination.name,
    )  # fmt: skip
