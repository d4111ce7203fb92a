"""The unit fits the daemon that it starts."""

from itertools import pairwise
from pathlib import Path

import pytest
from support.units import settings

from edge_runtime import errors, supervisor
from edge_runtime.config import Config
from edge_runtime.yaml_schema import read_schema

SYSTEMD = Path(__file__).parents[3] / "systemd"
UNIT = settings(SYSTEMD / "edge-runtime.service")
DROP_INS = sorted((SYSTEMD / "drop-ins").glob("*.conf"))


def test_what_does_not_mend_itself_is_not_restarted():
    """Exit codes 69 and 78 end the unit; any other failure starts it again."""
    assert UNIT["Restart"] == "on-failure"
    assert set(UNIT["RestartPreventExitStatus"].split()) == {
        str(errors.EXIT_UNAVAILABLE),
        str(errors.EXIT_CONFIGURATION),
    }
    assert "ExecStartPre" not in UNIT  # its exit code would not prevent a restart


def test_a_stop_waits_until_every_role_had_its_time():
    drain = supervisor._DRAIN_SECONDS + supervisor._LAST_WAIT_SECONDS
    assert float(UNIT["TimeoutStopSec"]) >= len(supervisor.ROLES) * drain + 10
    assert UNIT["KillMode"] == "mixed"  # SIGTERM to the supervisor alone, SIGKILL to what is left


def test_the_watchdog_is_slower_than_the_supervisors_own_patience():
    assert float(UNIT["WatchdogSec"]) > supervisor.BEAT_SECONDS
    assert (UNIT["Type"], UNIT["NotifyAccess"]) == ("notify", "main")


def test_a_start_that_goes_on_is_not_ended_and_one_that_hangs_is():
    asked = int(supervisor._STILL_STARTING.rpartition("=")[2]) / 1e6
    assert asked > supervisor.BEAT_SECONDS and float(UNIT["TimeoutStartSec"]) <= 90


def test_the_start_limit_can_be_reached():
    """Restarts that wait RestartSec each must reach the limit within its interval, or a fault loops for ever."""
    assert int(UNIT["StartLimitBurst"]) * float(UNIT["RestartSec"]) < float(UNIT["StartLimitIntervalSec"])


def test_files_are_private_and_images_do_not_get_into_core_files():
    assert UNIT["UMask"] == "0077" and UNIT["LimitCORE"] == "0" and UNIT["StateDirectoryMode"] == "0700"


@pytest.mark.parametrize("file", DROP_INS, ids=lambda file: file.stem)
def test_a_drop_in_says_what_it_is_for_and_why_it_relaxes_what_it_relaxes(file):
    lines = file.read_text().splitlines()
    assert lines[0].startswith("# ")
    for above, line in pairwise(lines):
        key, _, value = line.partition("=")
        if UNIT.get(key) == "yes" and value != "yes":
            assert above.startswith("# "), line


def test_there_are_drop_ins_to_explain():
    assert {file.stem for file in DROP_INS} == {"gpu", "network", "port-104", "spool", "video"}


def test_the_default_configuration_is_valid_and_as_a_site_should_start():
    """CPU, signed engines only, results into a folder, HTTP for this machine alone."""
    config = read_schema(Config, SYSTEMD / "config.yaml", [])
    assert config.engines.backend == "onnxruntime" and not config.engines.allow_unsigned
    assert [destination.type for destination in config.destinations] == ["folder"]
    assert config.http.host == "127.0.0.1"
    assert config.spool.path == "/var/lib/edge-runtime" == f"/var/lib/{UNIT['StateDirectory']}"
    assert config.engines.path == UNIT["ReadOnlyPaths"].lstrip("-")
