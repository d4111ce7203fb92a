"""TRAFFIC.yaml: what a site is sent, how often and how. Pure, but for reading the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import takewhile
from pathlib import Path
from typing import Any

from benchmarks.load.arrivals import Mode, fixed_rate, poisson
from benchmarks.scenarios.series import SHIPPED_SERIES
from edge_runtime.config import Config
from edge_runtime.errors import ConfigurationError
from edge_runtime.yaml_schema import read_schema

EVEN, POISSON = "even", "poisson"
_SEED = 20_260_101


@dataclass(frozen=True)
class SeriesTraffic:
    """What one pipeline for DICOM is sent.

    series: ct-phantom, ct-phantom-negative, mr-head, or a folder of Part 10 files of one series.
    associations: most series that are under way at the same time, each over an association of its own.
    """

    pipeline: str
    series: str
    per_hour: float
    arrival: str = field(default=POISSON, metadata={"choices": (EVEN, POISSON)})
    associations: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.per_hour <= 360_000:
            raise ValueError("per_hour: is above 0 and at most 360000")
        if not 1 <= self.associations <= 32:
            raise ValueError("associations: is 1 to 32")

    @property
    def mode(self) -> Mode:
        """How the load is made, in MLPerf's words: both are open loops."""
        return Mode.SERVER if self.arrival == POISSON else Mode.FIXED_RATE

    def moments(self, seconds: float) -> Iterator[float]:
        """When series are due, in seconds from the start, before `seconds`."""
        rate = self.per_hour / 3600
        arrivals = poisson(rate, _SEED) if self.arrival == POISSON else fixed_rate(rate)
        return takewhile(lambda moment: moment < seconds, arrivals)


@dataclass(frozen=True)
class Traffic:
    """The traffic of a site. `videos`: files that stand in for cameras, by the name of the source."""

    series: tuple[SeriesTraffic, ...] = ()
    videos: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [one.pipeline for one in self.series]
        if len(set(names)) < len(names):
            raise ValueError("series: name each pipeline once")
        if not all(isinstance(file, str) and file for file in self.videos.values()):
            raise ValueError("videos: names a file for each source")

    def of(self, pipeline: str) -> SeriesTraffic | None:
        """What that pipeline is sent; None: nothing."""
        return next((one for one in self.series if one.pipeline == pipeline), None)


def _no_series(name: str) -> str | None:
    """Why a name is neither a shipped series nor a folder of files; None: it is."""
    folder = Path(name)
    if name in SHIPPED_SERIES or any(folder.glob("*.dcm")):
        return None
    if not folder.is_dir():
        near = get_close_matches(name, SHIPPED_SERIES, 1)
        meant = f"did you mean {near[0]}?" if near else f"shipped are {', '.join(SHIPPED_SERIES)}"
        return f"there is no such folder; {meant}"
    below = sum(one.is_dir() for one in folder.iterdir())
    return "it holds no .dcm file" + (f", but {below} folders: name one of them" if below else "")


def read_traffic(path: Path, config: Config) -> Traffic:
    """Read the file and hold it against the configuration.

    Raises:
        ConfigurationError: it cannot be read, does not fit, or names what the configuration or the disk does not have.
    """
    traffic = read_schema(Traffic, path)
    known = {pipeline.name for pipeline in config.series_pipelines}
    for one in traffic.series:
        if one.pipeline not in known:
            names = ", ".join(sorted(known)) or "none"
            raise ConfigurationError(f"{path}: series: no pipeline {one.pipeline!r} takes series; there are: {names}")
        if (why := _no_series(one.series)) is not None:
            raise ConfigurationError(f"{path}: series: {one.series}: {why}")
    sources = {video.name for video in config.video}
    for name, file in traffic.videos.items():
        if name not in sources:
            names = ", ".join(sorted(sources)) or "none"
            raise ConfigurationError(f"{path}: videos: no source {name!r}; there are: {names}")
        if not Path(file).is_file():
            raise ConfigurationError(f"{path}: videos.{name}: there is no file {file}")
    return traffic
