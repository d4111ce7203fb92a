"""The configuration: what one YAML file may say. Every key has a default or is required; unknown keys are refused.

The schema is the dataclasses below; `edge_runtime.yaml_schema` reads a file into them.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

RESULT_KINDS = ("sr", "seg", "overlay", "json")
_PUBLIC_KEY = re.compile(r"[0-9a-fA-F]{64}")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_CONDITION = re.compile(r"[a-z0-9][a-z0-9_-]*\.[a-z0-9][a-z0-9_-]*\.(positive|negative)")


def _require(condition: bool, key: str, message: str) -> None:
    if not condition:
        raise ValueError(f"{key}: {message}")


def _ae_title(key: str, value: str) -> None:
    fits = 0 < len(value) <= 16 and value.isascii() and value.isprintable() and value == value.strip()
    _require(fits and "\\" not in value, key,
             f"an AE title is 1 to 16 ASCII characters, no outer space or backslash, got {value!r}")  # fmt: skip


def _once(key: str, values: Sequence[str], inner: str = "") -> None:
    for index, value in enumerate(values):
        _require(value not in values[:index], f"{key}[{index}]{inner}", f"{value!r} stands twice")


def _port(key: str, value: int, lowest: int = 1) -> None:
    _require(lowest <= value <= 65535, key, f"a port is {lowest} to 65535, got {value}")


def _condition(key: str, value: str) -> None:
    _require(_CONDITION.fullmatch(value) is not None, key,
             f"write STAGE.LABEL.positive or STAGE.LABEL.negative, got {value!r}")  # fmt: skip


def _engine_name(value: str) -> None:
    _require(_NAME.fullmatch(value) is not None, "engine",
             f"name a folder of engines.path with a-z, 0-9, '-', '_' and '.', got {value!r}")  # fmt: skip


def _command(value: str) -> None:
    """A command line that can be split, and that names a program."""
    try:
        words = shlex.split(value)
    except ValueError as error:
        raise ValueError(f"command: cannot be split into words: {error}") from error
    _require(bool(words) and bool(words[0]), "command", "names no program")


@dataclass(frozen=True)
class Spool:
    path: str
    reserve_bytes: int = 5_000_000_000

    def __post_init__(self) -> None:
        _require(bool(self.path), "path", "name a folder")
        _require(self.reserve_bytes >= 0, "reserve_bytes", "must not be negative")


@dataclass(frozen=True)
class Retention:
    originals_hours: float = 24.0
    results_days: float = 7.0
    on_pressure: str = field(default="oldest_delivered_first", metadata={"choices": ("oldest_delivered_first", "keep")})

    def __post_init__(self) -> None:
        _require(self.originals_hours > 0, "originals_hours", "must be positive")
        _require(self.results_days > 0, "results_days", "must be positive")


@dataclass(frozen=True)
class Caller:
    ae_title: str
    hosts: tuple[str, ...]

    def __post_init__(self) -> None:
        _ae_title("ae_title", self.ae_title)
        _require(bool(self.hosts), "hosts", "name at least one address or network, such as 10.1.2.3/32")
        for index, host in enumerate(self.hosts):
            try:
                ipaddress.ip_network(host, strict=False)
            except ValueError as error:
                raise ValueError(f"hosts[{index}]: {error}") from error


@dataclass(frozen=True)
class DicomReceive:
    ae_title: str = "EDGE"
    host: str = "0.0.0.0"
    port: int = 11112
    callers: tuple[Caller, ...] | None = None
    maximum_associations: int = 32
    maximum_associations_per_caller: int = 8
    maximum_pdu_bytes: int = 262_144
    read_deadline_seconds: float = 30.0
    idle_seconds: float = 300.0  # an open association with no message under way
    minimum_bytes_per_second: int = 1_000
    maximum_object_bytes: int = 8_000_000_000

    def __post_init__(self) -> None:
        _ae_title("ae_title", self.ae_title)
        _require(bool(self.host), "host", "name an address; 0.0.0.0 is every one of this computer")
        _port("port", self.port, 0)
        _require(self.maximum_associations >= 1, "maximum_associations", "must be at least 1")
        _require(self.maximum_associations_per_caller >= 1, "maximum_associations_per_caller", "must be at least 1")
        _require(4096 <= self.maximum_pdu_bytes <= 16_777_216, "maximum_pdu_bytes", "is 4096 to 16777216")
        _require(self.read_deadline_seconds > 0, "read_deadline_seconds", "must be positive")
        _require(self.idle_seconds > 0, "idle_seconds", "must be positive")
        _require(self.minimum_bytes_per_second >= 0, "minimum_bytes_per_second", "must not be negative")
        _require(self.maximum_object_bytes >= 1_000_000, "maximum_object_bytes", "must be at least 1000000")


@dataclass(frozen=True)
class Receive:
    dicom: DicomReceive = DicomReceive()


@dataclass(frozen=True)
class Engines:
    path: str = "/var/lib/edge-runtime/engines"
    backend: str = field(default="auto", metadata={"choices": ("auto", "onnxruntime", "tensorrt")})
    trusted_keys: tuple[str, ...] = ()
    allow_unsigned: bool = False
    allow_ungated: bool = False  # fp16 and int8 whose task metrics nobody measured
    threads: int = 0  # of ONNX Runtime; 0: as many as cores

    def __post_init__(self) -> None:
        _require(bool(self.path), "path", "name a folder")
        for index, key in enumerate(self.trusted_keys):
            _require(_PUBLIC_KEY.fullmatch(key.strip()) is not None, f"trusted_keys[{index}]",
                     "is the 64 hexadecimal digits that edge-convert keygen prints")  # fmt: skip
        _require(self.threads >= 0, "threads", "must not be negative")


@dataclass(frozen=True)
class Decode:
    """Limits of the processes that decode pixel data."""

    workers: int = 2
    memory_bytes: int = 2_000_000_000
    timeout_seconds: float = 60.0
    maximum_pixels_bytes: int = 1_000_000_000  # decoded size of one object

    def __post_init__(self) -> None:
        _require(1 <= self.workers <= 64, "workers", "is 1 to 64")
        _require(self.memory_bytes >= 500_000_000, "memory_bytes", "must be at least 500000000")
        _require(self.timeout_seconds > 0, "timeout_seconds", "must be positive")
        _require(self.maximum_pixels_bytes > 0, "maximum_pixels_bytes", "must be positive")


@dataclass(frozen=True)
class Match:
    """Which series a pipeline takes. Absent keys match all; lists match any of their values, without regard to case."""

    modality: tuple[str, ...] = ()
    body_part: tuple[str, ...] = ()
    called_ae_title: tuple[str, ...] = ()
    calling_ae_title: tuple[str, ...] = ()
    description: str | None = None  # regular expression, searched in Series Description
    image_type: tuple[str, ...] = ()  # values that must all be in Image Type
    minimum_slices: int = 1

    def __post_init__(self) -> None:
        _require(self.minimum_slices >= 1, "minimum_slices", "must be at least 1")
        if self.description is not None:
            try:
                re.compile(self.description)
            except (re.error, OverflowError, RecursionError) as error:
                raise ValueError(f"description: not a regular expression: {error}") from error


@dataclass(frozen=True)
class Cheaper:
    """A variant of a stage that needs less time: another engine, or another precision of one."""

    engine: str
    precision: str | None = field(default=None, metadata={"choices": ("fp32", "fp16", "int8")})

    def __post_init__(self) -> None:
        _engine_name(self.engine)


@dataclass(frozen=True)
class Stage:
    name: str
    engine: str
    precision: str | None = field(default=None, metadata={"choices": ("fp32", "fp16", "int8")})
    when: str | None = None  # STAGE.LABEL.positive or STAGE.LABEL.negative
    within: str | None = None  # a stage before this one: run once in each of its regions
    margin: float = 0.1  # of a region's extent, added on each side
    optional: bool = False
    threshold: float | None = None  # overrides the card's validated threshold; recorded in every result
    cheaper: tuple[Cheaper, ...] = field(default=(), metadata={"shorthand": "engine"})  # the dearest first

    def __post_init__(self) -> None:
        _require(_NAME.fullmatch(self.name) is not None, "name", f"use a-z, 0-9, '-', '_' and '.', got {self.name!r}")
        _engine_name(self.engine)
        if self.when is not None:
            _condition("when", self.when)
        _require(0 <= self.margin <= 10, "margin", "is 0 to 10 times the region's extent")
        if self.threshold is not None:
            _require(0 < self.threshold < 1, "threshold", "is between 0 and 1")

    @property
    def variants(self) -> tuple[Stage, ...]:
        """This stage, and in its place each of `cheaper`, as stages of the same name."""
        cheaper = (replace(self, engine=c.engine, precision=c.precision, cheaper=()) for c in self.cheaper)
        return (self, *cheaper)

    @property
    def asked(self) -> str:
        """The engine that the stage asks for, with the precision where it names one."""
        return self.engine if self.precision is None else f"{self.engine} {self.precision}"


@dataclass(frozen=True)
class SendTo:
    name: str
    results: tuple[str, ...] | None = field(default=None, metadata={"choices": RESULT_KINDS})


@dataclass(frozen=True)
class Pipeline:
    name: str
    stages: tuple[Stage, ...]
    match: Match | None = None  # absent: every series; of a pipeline for video, none
    complete_after_seconds: float = 5.0
    deadline_seconds: float = 60.0
    maximum_seconds: float = 600.0  # a job that runs longer has hung: its worker is replaced
    results: tuple[str, ...] = field(default=("sr", "seg", "overlay", "json"), metadata={"choices": RESULT_KINDS})
    send_to: tuple[SendTo, ...] = field(default=(), metadata={"shorthand": "name"})

    def __post_init__(self) -> None:
        _require(_NAME.fullmatch(self.name) is not None, "name", f"use a-z, 0-9, '-', '_' and '.', got {self.name!r}")
        _require(bool(self.stages), "stages", "name at least one stage")
        _require(self.complete_after_seconds > 0, "complete_after_seconds", "must be positive")
        _require(self.deadline_seconds > 0, "deadline_seconds", "must be positive")
        _require(self.maximum_seconds > 0, "maximum_seconds", "must be positive")
        _once("results", self.results)
        _once("send_to", [send.name for send in self.send_to])
        earlier: set[str] = set()
        for index, stage in enumerate(self.stages):
            _require(stage.name not in earlier, f"stages[{index}].name", f"{stage.name!r} stands twice")
            for key, text in (("when", stage.when), ("within", stage.within)):
                if text is not None:
                    needed = text if key == "within" else text.split(".")[0]
                    _require(needed in earlier, f"stages[{index}].{key}", f"no stage {needed!r} before this one")
            earlier.add(stage.name)

    @property
    def variants(self) -> tuple[Stage, ...]:
        """Every stage, each followed by its cheaper variants."""
        return tuple(variant for stage in self.stages for variant in stage.variants)

    @property
    def wanted(self) -> Match:
        """What a series must be for this pipeline."""
        return self.match or Match()


@dataclass(frozen=True)
class KeyFrames:
    """Which frames of an examination become Secondary Capture."""

    when: str | None = None  # STAGE.LABEL.positive; absent: whatever is found somewhere in the picture
    seconds_between: float = 10.0
    results: int = 3  # positive ones in a row, before one is taken
    maximum: int = 100  # of one examination

    def __post_init__(self) -> None:
        if self.when is not None:
            _condition("when", self.when)
        _require(self.seconds_between >= 0, "seconds_between", "must not be negative")
        _require(self.results >= 1, "results", "must be at least 1")
        _require(self.maximum >= 0, "maximum", "must not be negative")


VIDEO_SCHEMES = ("rtsp", "rtsps", "file")


@dataclass(frozen=True)
class Video:
    """A source of live frames. `url`: rtsp://..., a file, or /dev/video0; or `command`, which writes a stream."""

    name: str
    pipeline: str
    url: str | None = None
    command: str | None = None  # split as a shell would, but run without one; its stdout is read
    deadline_seconds: float | None = None  # from the capture of a frame; absent: the pipeline's
    display_age_seconds: float = 0.5  # an older picture is not shown as live
    frozen_after_seconds: float = 2.0  # of pictures that do not change, or of a clock that stands still
    silent_after_seconds: float = 2.0  # without any frame
    maximum_lag_seconds: float = 1.0  # behind its own clock: connect anew
    columns: int | None = None  # scale wider pictures down to this width
    maximum_pixels: int = 8_294_400
    pace: str = field(default="stream", metadata={"choices": ("stream", "fastest")})  # of files
    loop: bool = False  # of files: begin again at the end
    key_frames: KeyFrames = KeyFrames()

    def __post_init__(self) -> None:
        _require(_NAME.fullmatch(self.name) is not None, "name", f"use a-z, 0-9, '-', '_' and '.', got {self.name!r}")
        _require((self.url is None) != (self.command is None), "url", "give either url or command")
        _require(self.url != "" and self.command != "", "url", "must not be empty")
        known = f"is rtsp://, rtsps://, file:// or a plain path, not {self.scheme}://; for others give a command"
        _require(self.scheme in VIDEO_SCHEMES, "url", known)
        for key in ("url", "command"):
            _require("\0" not in (getattr(self, key) or ""), key, "must not hold a NUL character")
        if self.command is not None:
            _command(self.command)
        for key in ("deadline_seconds", "display_age_seconds", "frozen_after_seconds", "silent_after_seconds",
                    "maximum_lag_seconds"):  # fmt: skip
            value = getattr(self, key)
            _require(value is None or value > 0, key, "must be positive")
        _require(self.columns is None or self.columns >= 16, "columns", "must be at least 16")
        _require(256 <= self.maximum_pixels <= 100_000_000, "maximum_pixels", "is 256 to 100000000")

    @property
    def scheme(self) -> str:
        """Of the url, in lower case; `file` where it has none."""
        found = _SCHEME.match(self.url or "")
        return found[1].lower() if found else "file"

    @property
    def file(self) -> str | None:
        """The file or device that the url names; None where it names none."""
        if self.url is None or self.scheme != "file":
            return None
        found = _SCHEME.match(self.url)
        return self.url[found.end() :] if found else self.url


@dataclass(frozen=True)
class Schedule:
    """How live frames and studies share the accelerator."""

    studies: str = field(default="auto", metadata={"choices": ("auto", "shared", "worker")})
    concurrency: int = 0  # runs of engines at the same time; 0: what the device takes

    def __post_init__(self) -> None:
        _require(self.concurrency >= 0, "concurrency", "must not be negative")


LIVE_DESTINATIONS = ("jsonlines", "mqtt", "recording")
"""Types that get every live frame's result, as it is made; nothing of it is stored in the spool."""

_DESTINATION_KEYS = {
    "dicom": ("ae_title", "host", "port"),
    "dicomweb": ("url",),
    "folder": ("path",),
    "webhook": ("url", "secret_file"),
    "jsonlines": ("path",),
    "mqtt": ("host", "port", "topic"),
    "recording": ("path",),
}
_DESTINATION_OPTIONS: dict[str, tuple[str | tuple[str, ...], object]] = {
    "user": ("mqtt", None),
    "password_file": ("mqtt", None),
    "tls": ("mqtt", False),
    "calling_ae_title": ("dicom", None),
    "segment_seconds": (("jsonlines", "recording"), 600.0),
    "keep_bytes": (("jsonlines", "recording"), 10_000_000_000),
    "ca_file": (("webhook", "mqtt"), None),
    "announce": ("webhook", "positive"),
    "identifiers": ("webhook", "none"),
}
"""Keys of one type with their defaults."""


def _webhook_url(url: str) -> None:
    """A key on its way over a network is safe in TLS only, and a password in an address is in every log."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise ValueError(f"url: {error}") from error
    _require(bool(host), "url", "names no host")
    _require("@" not in parts.netloc, "url", "holds no user or password: events are signed with secret_file")
    safe = parts.scheme == "https" or is_loopback(host)
    _require(safe, "url", "starts with https://; http:// is for this computer only")


@dataclass(frozen=True)
class Destination:
    name: str
    type: str = field(metadata={"choices": tuple(_DESTINATION_KEYS)})
    ae_title: str | None = None
    calling_ae_title: str | None = None  # absent: receive.dicom.ae_title
    host: str | None = None
    port: int | None = None
    url: str | None = None
    path: str | None = None
    secret_file: str | None = None
    ca_file: str | None = None  # absent: the authorities of the system
    topic: str | None = None  # results of a source go to TOPIC/SOURCE
    user: str | None = None
    password_file: str | None = None
    tls: bool = False
    segment_seconds: float = 600.0  # of one recorded file
    keep_bytes: int = 10_000_000_000  # of all recordings, or of all lines, in the folder: the oldest go first
    announce: str = field(default="positive", metadata={"choices": ("positive", "all")})
    identifiers: str = field(default="none", metadata={"choices": ("none", "accession")})
    timeout_seconds: float = 30.0
    retry_seconds: float = 2.0  # first wait after a failure; doubles to retry_maximum_seconds
    retry_maximum_seconds: float = 300.0

    def __post_init__(self) -> None:
        _require(_NAME.fullmatch(self.name) is not None, "name", f"use a-z, 0-9, '-', '_' and '.', got {self.name!r}")
        for key in dict.fromkeys(key for keys in _DESTINATION_KEYS.values() for key in keys):
            given = getattr(self, key)
            if key in _DESTINATION_KEYS[self.type]:
                _require(given not in (None, ""), key, f"a destination of type {self.type} needs it")
            else:
                _require(given is None, key, f"means nothing to a destination of type {self.type}")
        for key, (kinds, default) in _DESTINATION_OPTIONS.items():
            named = (kinds,) if isinstance(kinds, str) else kinds
            _require(self.type in named or getattr(self, key) == default, key, f"is of type {' or '.join(named)} only")
        _require(self.segment_seconds > 0, "segment_seconds", "must be positive")
        _require(self.keep_bytes > 0, "keep_bytes", "must be positive")
        if self.topic is not None:
            _require(not set("#+\0") & set(self.topic), "topic", "must hold no wildcard")
        _require(self.user is None or self.password_file is not None, "password_file", "belongs to a user")
        for key in ("ae_title", "calling_ae_title"):
            if getattr(self, key) is not None:
                _ae_title(key, getattr(self, key))
        if self.port is not None:
            _port("port", self.port)
        if self.url is not None:
            _require(self.url.startswith(("http://", "https://")), "url", "starts with http:// or https://")
            if self.type == "webhook":
                _webhook_url(self.url)
        _require(self.timeout_seconds > 0, "timeout_seconds", "must be positive")
        _require(0 < self.retry_seconds <= self.retry_maximum_seconds, "retry_seconds",
                 "is positive and at most retry_maximum_seconds")  # fmt: skip


@dataclass(frozen=True)
class Tls:
    certificate: str
    key: str

    def __post_init__(self) -> None:
        for name in ("certificate", "key"):
            _require(bool(getattr(self, name)), name, "name a file in PEM")


@dataclass(frozen=True)
class Login:
    user: str
    password_file: str

    def __post_init__(self) -> None:
        _require(bool(self.user) and ":" not in self.user, "user", "name a user, without a colon")
        _require(bool(self.password_file), "password_file", "name the file that `edge-runtime password` writes")


@dataclass(frozen=True)
class HttpMetrics:
    host: str = "127.0.0.1"
    port: int = 9465

    def __post_init__(self) -> None:
        _require(bool(self.host), "host", "name an address; 127.0.0.1 is this computer only")
        _port("port", self.port, 0)


def is_loopback(host: str) -> bool:
    """True for an address that only this computer reaches; any name but `localhost` may be anybody's."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True)
class Http:
    host: str = "127.0.0.1"
    port: int = 9464
    tls: Tls | None = None
    login: Login | None = None
    metrics: HttpMetrics | None = None  # also serve what has no login elsewhere
    thumbnails: str = field(
        default="burned_in_annotation_no", metadata={"choices": ("never", "burned_in_annotation_no", "always")}
    )

    def __post_init__(self) -> None:
        _require(bool(self.host), "host", "name an address; 127.0.0.1 is this computer only")
        _port("port", self.port, 0)
        missing = [f"http.{name}" for name in ("tls", "login") if getattr(self, name) is None]
        _require(is_loopback(self.host) or not missing, "host",
                 f"the page beyond this computer needs {' and '.join(missing)}; "
                 "metrics alone may go out by http.metrics")  # fmt: skip


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
            _once(key, [part.name for part in getattr(self, key)], ".name")
        for v, video in enumerate(self.video):
            names = ", ".join(p.name for p in self.pipelines) or "none"
            chosen = self.pipeline(video.pipeline)
            _require(chosen is not None, f"video[{v}].pipeline",
                     f"no pipeline {video.pipeline!r}; there are: {names}")  # fmt: skip
            asked = (video.key_frames.when or "").split(".")[0]
            stages = [stage.name for stage in chosen.stages] if chosen is not None else []
            _require(not asked or asked in stages, f"video[{v}].key_frames.when",
                     f"no stage {asked!r} in pipeline {video.pipeline}")  # fmt: skip
        known = {destination.name: destination.type for destination in self.destinations}
        for p, pipeline in enumerate(self.pipelines):
            for s, send in enumerate(pipeline.send_to):
                key = f"pipelines[{p}].send_to[{s}]"
                _require(send.name in known, key,
                         f"no destination {send.name!r}; there are: {', '.join(sorted(known)) or 'none'}")  # fmt: skip
                if known[send.name] == "webhook":
                    _require(send.results is None, key, "a webhook gets an event; leave results out")
                if known[send.name] in LIVE_DESTINATIONS:
                    _require(send.results is None, key, f"{known[send.name]} gets live frames; leave results out")
                    _require(pipeline.name in {video.pipeline for video in self.video}, key,
                             f"{known[send.name]} gets live frames, and no video uses this pipeline")  # fmt: skip
                for kind in send.results or ():
                    _require(kind in pipeline.results, key, f"the pipeline makes no {kind!r}; add it to results")
        folders = [(d.type, d.path) for d in self.destinations if d.type in LIVE_DESTINATIONS and d.path]
        _require(len(folders) == len(set(folders)), "destinations",
                 "two of one live type write into the same folder: each deletes the oldest files there")  # fmt: skip
        self._check_topics()

    def _check_topics(self) -> None:
        """Nobody publishes over another: neither two brokers of one topic, nor a source over TOPIC/state."""
        brokers = [((d.host or "").lower(), d.port, d.topic) for d in self.destinations if d.type == "mqtt"]
        _require(len(brokers) == len(set(brokers)), "destinations",
                 "two of type mqtt have the same host, port and topic: they would publish over each other")  # fmt: skip
        for v, video in enumerate(self.video):
            published = any(d.type == "mqtt" for d in self.live_destinations(video.pipeline))
            _require(video.name != "state" or not published, f"video[{v}].name",
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
