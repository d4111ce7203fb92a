"""The configuration: what one YAML file may say. Every key has a default or is required; unknown keys are refused.

The schema is the dataclasses of this folder; `edge_runtime.yaml_schema` reads a file into them.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_runtime.config.destinations import LIVE_DESTINATIONS, Destination
from edge_runtime.config.http import Http, HttpMetrics, Login, Tls, is_loopback
from edge_runtime.config.pipelines import RESULT_KINDS, Cheaper, Cuda, Engines, Match, Pipeline, SendTo, Stage
from edge_runtime.config.receiving import Caller, Decode, DicomReceive, Receive, Retention, Spool
from edge_runtime.config.rules import once, require
from edge_runtime.config.video import VIDEO_SCHEMES, KeyFrames, Schedule, Video

__all__ = [
    "LIVE_DESTINATIONS", "RESULT_KINDS", "VIDEO_SCHEMES", "Caller", "Cheaper", "Config", "Cuda", "Decode",
    "Destination", "DicomReceive", "Engines", "Http", "HttpMetrics", "KeyFrames", "Login", "Match", "Pipeline",
    "Receive", "Retention", "Schedule", "SendTo", "Spool", "Stage", "Tls", "Video", "is_loopback",
]  # fmt: skip


@dataclass(frozen=True)
class Config:
    spool: Spool
    pipelines: tuple[Pipeline, ...]
    receive: Receive = Receive()
    retention: Retention = Retention()
    engines: Engines = Engines()
    decode: Decode = Decode()
    destinations: tuple[Destination, ...] = ()
    http: Http = Http()
    video: tuple[Video, ...] = ()
    schedule: Schedule = Schedule()

    def __post_init__(self) -> None:
        for key in ("pipelines", "destinations", "video"):
            once(key, [part.name for part in getattr(self, key)], ".name")
        for v, video in enumerate(self.video):
            names = ", ".join(p.name for p in self.pipelines) or "none"
            chosen = self.pipeline(video.pipeline)
            require(chosen is not None, f"video[{v}].pipeline",
                    f"no pipeline {video.pipeline!r}; there are: {names}")  # fmt: skip
            asked = (video.key_frames.when or "").split(".")[0]
            stages = [stage.name for stage in chosen.stages] if chosen is not None else []
            require(not asked or asked in stages, f"video[{v}].key_frames.when",
                    f"no stage {asked!r} in pipeline {video.pipeline}")  # fmt: skip
        known = {destination.name: destination.type for destination in self.destinations}
        for p, pipeline in enumerate(self.pipelines):
            for s, send in enumerate(pipeline.send_to):
                key = f"pipelines[{p}].send_to[{s}]"
                require(send.name in known, key,
                        f"no destination {send.name!r}; there are: {', '.join(sorted(known)) or 'none'}")  # fmt: skip
                if known[send.name] == "webhook":
                    require(send.results is None, key, "a webhook gets an event; leave results out")
                if known[send.name] in LIVE_DESTINATIONS:
                    require(send.results is None, key, f"{known[send.name]} gets live frames; leave results out")
                    require(pipeline.name in {video.pipeline for video in self.video}, key,
                            f"{known[send.name]} gets live frames, and no video uses this pipeline")  # fmt: skip
                for kind in send.results or ():
                    require(kind in pipeline.results, key, f"the pipeline makes no {kind!r}; add it to results")
        folders = [(d.type, d.path) for d in self.destinations if d.type in LIVE_DESTINATIONS and d.path]
        require(len(folders) == len(set(folders)), "destinations",
                "two of one live type write into the same folder: each deletes the oldest files there")  # fmt: skip
        self._check_topics()

    def _check_topics(self) -> None:
        """Nobody publishes over another: neither two brokers of one topic, nor a source over TOPIC/state."""
        brokers = [((d.host or "").lower(), d.port, d.topic) for d in self.destinations if d.type == "mqtt"]
        require(len(brokers) == len(set(brokers)), "destinations",
                "two of type mqtt have the same host, port and topic: they would publish over each other")  # fmt: skip
        for v, video in enumerate(self.video):
            published = any(d.type == "mqtt" for d in self.live_destinations(video.pipeline))
            require(video.name != "state" or not published, f"video[{v}].name",
                    "'state' is taken: an mqtt destination says in TOPIC/state whether it is there")  # fmt: skip

    def pipeline(self, name: str) -> Pipeline | None:
        """The pipeline of that name, or None."""
        return next((p for p in self.pipelines if p.name == name), None)

    @property
    def series_pipelines(self) -> tuple[Pipeline, ...]:
        """The pipelines that take series. One for video does so only where it says which."""
        live = {video.pipeline for video in self.video}
        return tuple(p for p in self.pipelines if p.match is not None or p.name not in live)

    @property
    def delivery_destinations(self) -> tuple[Destination, ...]:
        """The destinations that stored results are delivered to."""
        return tuple(d for d in self.destinations if d.type not in LIVE_DESTINATIONS)

    def live_deadline_seconds(self, video: Video) -> float:
        """From the capture of a frame to its result."""
        pipeline = self.pipeline(video.pipeline)
        assert pipeline is not None
        return pipeline.deadline_seconds if video.deadline_seconds is None else video.deadline_seconds

    def live_destinations(self, pipeline: str) -> tuple[Destination, ...]:
        """Who gets the results of live frames of a pipeline as they are made."""
        found = self.pipeline(pipeline)
        named = {send.name for send in found.send_to} if found is not None else set()
        return tuple(d for d in self.destinations if d.name in named and d.type in LIVE_DESTINATIONS)
