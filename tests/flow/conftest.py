"""What the flow tests share."""

from pathlib import Path

import pytest
from support.site import build_engine, write_config

from benchmarks.daemon import Daemon


@pytest.fixture(scope="session")
def engines(tmp_path_factory) -> Path:
    return build_engine(tmp_path_factory.mktemp("engines"))


@pytest.fixture(scope="session")
def slow_engines(tmp_path_factory) -> Path:
    return build_engine(tmp_path_factory.mktemp("slow-engines"), layers=40)


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def daemon(tmp_path, engines, out):
    """A daemon on an empty spool with a folder as destination, ready."""
    config = write_config(tmp_path / "site.yaml", engines, [{"name": "disk", "type": "folder", "path": str(out)}])
    with Daemon(config, tmp_path / "spool") as running:
        running.wait_ready()
        yield running
