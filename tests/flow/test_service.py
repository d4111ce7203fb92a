"""A real systemd starts, watches, reloads and stops the installed unit, sandbox and all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from support.dicom_objects import save_series
from support.installed import copy, installed
from support.site import ball_series, build_engine

from converters.cli import main as edge_convert

pytestmark = pytest.mark.timeout(500)  # the first test starts the machine and does all that the others judge

HERE = Path(__file__).parent
NOT_POSSIBLE = 77  # machine.sh: no root, no overlayfs or no cgroup2

SITE = """
spool: {{path: /var/lib/edge-runtime, reserve_bytes: 1000}}
receive: {{dicom: {{port: 11112}}}}
engines: {{path: /var/lib/edge-runtime/engines, trusted_keys: ["{key}"]}}
pipelines:
  - name: find-ball
    match: {{modality: CT}}
    complete_after_seconds: 0.5
    stages: [{{name: find, engine: bright}}]
    send_to: [disk]
destinations: [{{name: disk, type: folder, path: /var/lib/edge-runtime/out}}]
"""


def make_site(result: Path) -> None:
    """Signed engine, configuration and series, in the folder that is /result in the machine."""
    keygen = [sys.executable, "-m", "converters.cli", "keygen", str(result / "key.pem")]
    key = subprocess.run(keygen, capture_output=True, check=True).stdout.decode().strip()
    card = build_engine(result / "engines") / "bright"
    shutil.rmtree(card / "onnxruntime-fp32")
    build = ["build", str(card), "--target", "onnxruntime", "--precision", "fp32", "--key", str(result / "key.pem")]
    assert edge_convert([*build, "--output", str(card / "onnxruntime-fp32")]) == 0
    (result / "site.yaml").write_text(SITE.format(key=key))
    for name, compress in (("plain", None), ("jpeg-ls", ["dcmcjpls"]), ("jpeg", ["dcmcjpeg", "+e1"])):
        save_series(ball_series(name), result / "series" / name)
        if compress:
            for file in (result / "series" / name).iterdir():
                subprocess.run([*compress, file, file], check=True)


def use_copied_python(root: Path) -> None:
    """The interpreter may lie in a home folder, which the service cannot see; the machine has it in /opt."""
    for python in root.glob("opt/edge-runtime/releases/*/bin/python*"):
        if os.readlink(python).startswith("/"):
            python.unlink()
            python.symlink_to(f"/opt/base-python/bin/{Path(os.path.realpath(sys.executable)).name}")
    for packages in root.glob("opt/edge-runtime/releases/*/lib/python*/site-packages"):
        (packages / "dependencies-for-the-test.pth").write_text("/opt/packages\n")


@pytest.fixture(scope="module")
def facts(tmp_path_factory) -> dict[str, str]:
    """What the script found out; the tests below judge it."""
    folder = tmp_path_factory.mktemp("machine")
    result = folder / "result"
    result.mkdir()
    script, machine = HERE / "service_script.sh", HERE.parent / "support/machine.sh"
    staged = copy(installed(tmp_path_factory.getbasetemp()), folder)
    use_copied_python(staged.root)
    make_site(result)
    environment = {
        **os.environ,
        "STAGED": str(staged.root),
        "BASE_PYTHON": sys.base_prefix,
        "PACKAGES": sysconfig.get_path("purelib"),
    }
    command = ["timeout", "--kill-after=5", "200", "sh", str(machine), str(script), str(result)]
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    if done.returncode == NOT_POSSIBLE:
        pytest.skip(done.stderr.decode().strip())
    said = (result / "said").read_text() if (result / "said").exists() else done.stderr.decode()
    print(said)
    lines = (result / "facts").read_text().splitlines()
    return dict(line.split(": ", 1) for line in lines)


def test_the_script_came_to_its_end(facts):
    assert facts["end"] == "0"


def test_a_fault_that_does_not_mend_itself_ends_the_unit_at_once(facts):
    """Exit codes 69 and 78 arrive as such, and systemd does not try again."""
    assert facts["without engines"] == "1 failed exit 78 restarts 0"
    assert facts["wrong configuration"] == "1 failed exit 78 restarts 0"
    assert facts["unsigned engine"] == "1 failed exit 69 restarts 0"


def test_the_daemon_does_its_work_inside_the_sandbox(facts):
    """Series in three encodings are received, decoded, analysed, reported and delivered without any privilege."""
    assert facts["start"] == "0 active exit 0 restarts 0"
    assert facts["delivered"] == "0"
    assert (facts["NoNewPrivs"], facts["Seccomp"]) == ("1", "2")
    assert int(facts["CapEff"], 16) == int(facts["CapBnd"], 16) == 0


def test_a_reload_keeps_the_process_and_a_wrong_file_is_told_to_who_asked(facts):
    assert facts["reload"] == "0 active exit 0 restarts 0"
    assert facts["reloads applied"] == "1.0"
    assert facts["reload of a wrong file"] == "1 active exit 0 restarts 0"
    assert facts["same process after reloads"] == "0"


def test_a_supervisor_that_stands_still_or_is_killed_is_replaced(facts):
    assert facts["after the supervisor stood still"] == "0 active exit 0 restarts 1"
    assert facts["after the supervisor was killed"] == "0 active exit 0 restarts 2"


def test_a_stop_ends_every_process(facts):
    assert facts["stop"].startswith("0 inactive exit 0")
    assert facts["processes left"] == "0"


def test_the_sandbox_shows_no_device_and_the_gpu_drop_in_only_those_that_it_names(facts):
    """/dev/nvmap belongs to the group video and has no driver here: to be allowed to open it gives ENXIO."""
    assert facts["sandbox"] == "opened No-such-file-or-directory No-such-file-or-directory Read-only-file-system"
    assert facts["sandbox with gpu"] == "opened No-such-device Operation-not-permitted Read-only-file-system"


@pytest.mark.parametrize("name", ["gpu", "network", "port-104"])
def test_the_daemon_starts_with_each_drop_in(facts, name):
    assert facts[f"with {name}"] == "0 active exit 0 restarts 0"
