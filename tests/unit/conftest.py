from collections.abc import Iterator
from pathlib import Path

import pytest
from support.spools import make_config

from edge_runtime.config import Config
from edge_runtime.spool.spool import Spool, open_spool, prepare_spool


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return make_config(tmp_path)


@pytest.fixture
def spool(config: Config) -> Iterator[Spool]:
    prepare_spool(config)
    opened = open_spool(config)
    yield opened
    opened.close()
