"""`make install` into a folder: what it puts there, what systemd says of it, and that it runs."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
from pathlib import Path

import pytest
import yaml
from support import ct_head
from support.installed import PREFIX, ROOT, Staged, copy, installed
from support.pacs import free_port
from support.site import build_engine, write_config
from support.units import settings

from converters.cli import main as edge_convert

DROP_INS = ("gpu", "network", "port-104", "spool", "video")


@pytest.fixture(scope="module")
def staged(tmp_path_factory) -> Staged:
    return installed(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A configuration of a small site, and its engine."""
    folder = tmp_path_factory.mktemp("site")
    engines = build_engine(folder / "engines")
    return write_config(
        folder / "site.yaml", engines, [{"name": "disk", "type": "folder", "path": str(folder / "out")}]
    )


# -- what is where --------------------------------------------------------------------------------------------------


def test_an_installation_puts_everything_in_its_place(staged):
    for file in (
        staged.unit,
        staged.root / "etc/sysusers.d/edge-runtime.conf",
        staged.root / "etc/tmpfiles.d/edge-runtime.conf",
    ):
        assert file.stat().st_mode & 0o777 == 0o644
    assert staged.config.stat().st_mode & 0o777 == 0o640
    assert (staged.root / "var/lib/edge-runtime/engines").is_dir()
    assert {file.stem for file in (staged.share / "drop-ins").iterdir()} == set(DROP_INS)
    for command in ("edge-runtime", "edge-convert", "edge-bench"):
        assert os.readlink(staged.root / "usr/local/bin" / command) == f"{PREFIX}/current/bin/{command}"
        shebang = (staged.current / "bin" / command).read_text().splitlines()[0]
        assert shebang == f"#!{PREFIX}/releases/{staged.current.name}/bin/python"
    assert settings(staged.unit)["ExecStart"] == f"{PREFIX}/current/bin/edge-runtime run /etc/edge-runtime/config.yaml"


def test_no_installed_file_names_a_folder_of_the_machine_that_it_was_built_on(staged):
    secrets = [str(staged.root.parent).encode(), str(ROOT).encode()]
    files = [f for f in staged.root.rglob("*") if f.is_file() and not f.is_symlink() and f.suffix != ".pth"]
    assert len(files) > 100
    assert [f for f in files if any(secret in f.read_bytes() for secret in secrets)] == []


def test_only_the_project_is_in_its_environment_beside_the_dependencies(staged):
    """No pip that could install more, and nothing of the tests."""
    packages = next(staged.current.glob("lib/python*/site-packages"))
    found = {entry.name for entry in packages.iterdir() if entry.suffix != ".pth" and entry.name != "__pycache__"}
    found = {name.partition("-")[0] for name in found}
    assert found - {"_distutils_hack"} == {"edge_runtime", "converters", "benchmarks"}


# -- what systemd says of it ----------------------------------------------------------------------------------------


def analyze(root: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run systemd-analyze on the unit of an installation, beside the units of Debian's systemd."""
    units = root / "usr/lib/systemd/system"
    if not units.exists():
        shutil.copytree("/usr/lib/systemd/system", units, symlinks=True)
    command = ["systemd-analyze", arguments[0], f"--root={root}", *arguments[1:], "edge-runtime.service"]
    return subprocess.run(command, capture_output=True, check=False)


def verify(root: Path) -> str:
    done = analyze(root, "verify", "--man=no", "--recursive-errors=one")
    return done.stderr.decode() + ("" if done.returncode == 0 else f"exit code {done.returncode}")


def is_at_most(root: Path, exposure: float) -> bool:
    done = analyze(root, "security", "--offline=true", f"--threshold={exposure * 10:.0f}", "--no-pager")
    assert b"Overall exposure level" in done.stdout, done.stderr.decode()
    return done.returncode == 0


@pytest.fixture
def copied(staged, tmp_path) -> Path:
    """The units of the installation, to be changed; a script stands for the command."""
    shutil.copytree(staged.root / "etc", tmp_path / "etc")
    command = tmp_path / PREFIX.lstrip("/") / "current/bin/edge-runtime"
    command.parent.mkdir(parents=True)
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize("names", [(), *[(name,) for name in DROP_INS], DROP_INS], ids="+".join)
def test_systemd_finds_nothing_wrong_and_little_exposed(staged, copied, names):
    """At most 2.0 with any of the drop-ins, for the tree speaks to the network with each of them."""
    folder = copied / "etc/systemd/system/edge-runtime.service.d"
    folder.mkdir()
    for name in names:
        shutil.copy(staged.share / f"drop-ins/{name}.conf", folder)
    assert verify(copied) == ""
    assert is_at_most(copied, 2.0)


def test_systemd_finds_the_installed_command(staged, tmp_path):
    """The unit names a command that the installation made: checked where it is, not in the copy."""
    assert verify(staged.root) == ""
    shutil.rmtree(staged.root / "usr/lib")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("KillMode=mixed", "KillMode=most"),
        ("Type=notify", "Tpye=notify"),
        ("current/bin/edge-runtime run", "bin/missing run"),
    ],
)
def test_the_check_of_the_unit_refuses(copied, old, new):
    unit = copied / "etc/systemd/system/edge-runtime.service"
    assert old in unit.read_text()
    unit.write_text(unit.read_text().replace(old, new))
    assert verify(copied) != ""


@pytest.mark.parametrize(
    ("dropped", "exposure"),
    [
        (("CapabilityBoundingSet", "SystemCallFilter"), 2.0),
        (("Protect", "Private", "Restrict", "CapabilityBoundingSet", "SystemCall"), 3.5),
    ],
)
def test_the_check_of_the_sandbox_refuses(copied, dropped, exposure):
    unit = copied / "etc/systemd/system/edge-runtime.service"
    unit.write_text("".join(line for line in unit.read_text().splitlines(True) if not line.startswith(dropped)))
    assert verify(copied) == ""
    assert not is_at_most(copied, exposure)


# -- the configuration ----------------------------------------------------------------------------------------------


def test_the_installed_configuration_lacks_only_engines(staged, tmp_path):
    """`check` complains of nothing else; with signed engines of those names and their key it says ok."""
    engines = tmp_path / "engines"
    options = ("--set", f"engines.path={engines}")
    refused = staged.run("check", str(staged.config), *options)
    assert refused.returncode == 78
    assert b"ct-hemorrhage-classifier" in refused.stdout and b"is missing" in refused.stdout
    key = tmp_path / "key.pem"
    public = subprocess.run(staged.convert("keygen", str(key)), capture_output=True, check=True).stdout.decode().strip()
    for name in ct_head.ENGINES:
        build = ["build", str(ROOT / "engines" / name), "--target", "onnxruntime", "--precision", "fp32"]
        assert edge_convert([*build, "--key", str(key), "--output", str(engines / name / "onnxruntime-fp32")]) == 0
    unknown = staged.run("check", str(staged.config), *options)
    assert unknown.returncode == 69 and b"trusted_keys" in unknown.stdout
    accepted = staged.run("check", str(staged.config), *options, "--set", f"engines.trusted_keys=['{public}']")
    assert accepted.returncode == 0, accepted.stdout.decode()


# -- the run --------------------------------------------------------------------------------------------------------


class Manager:
    """The socket that systemd would listen on; who sends what."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._end.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._end.bind(str(path))
        self._end.settimeout(60)

    def __enter__(self) -> Manager:
        return self

    def __exit__(self, *_: object) -> None:
        self._end.close()

    def wait_for(self, line: str) -> set[int]:
        """Read until a message has this line; the process ids of all senders until then."""
        senders: set[int] = set()
        while True:
            data, controls, _, _ = self._end.recvmsg(4096, socket.CMSG_SPACE(12))
            senders.add(struct.unpack("3i", controls[0][2])[0])
            if line in data.decode().splitlines():
                return senders


def overrides(spool: Path) -> list[str]:
    values = (f"spool.path={spool}", "receive.dicom.host=127.0.0.1", f"receive.dicom.port={free_port()}", "http.port=0")
    return [word for value in values for word in ("--set", value)]


def test_the_installed_daemon_tells_systemd_that_it_is_ready_alive_and_stopping(staged, site, tmp_path):
    """All of it from the main process, which is the only one that NotifyAccess=main believes."""
    with Manager(tmp_path / "notify") as manager, (tmp_path / "log").open("wb") as log:
        environment = {**os.environ, "NOTIFY_SOCKET": str(manager.path)}
        command = staged.command("run", str(site), *overrides(tmp_path / "spool"))
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
        try:
            senders = manager.wait_for("EXTEND_TIMEOUT_USEC=3600000000")  # the spool may have to be rebuilt
            senders |= manager.wait_for("EXTEND_TIMEOUT_USEC=60000000")  # while engines load
            senders |= manager.wait_for("READY=1") | manager.wait_for("WATCHDOG=1")
            process.terminate()
            senders |= manager.wait_for("STOPPING=1") | manager.wait_for("WATCHDOG=1")
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.wait()
    assert senders == {process.pid}
    assert "ready" in (tmp_path / "log").read_text()


def test_a_wrong_configuration_and_a_missing_engine_end_the_installed_daemon_with_what_the_unit_lists(
    staged, site, tmp_path
):
    prevented = settings(staged.unit)["RestartPreventExitStatus"].split()
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(site.read_text().replace("complete_after_seconds", "complete_after_second"))
    unbuilt = tmp_path / "engines/bright"
    document = yaml.safe_load(site.read_text())
    shutil.copytree(Path(document["engines"]["path"]) / "bright", unbuilt)
    shutil.rmtree(unbuilt / "onnxruntime-fp32")
    options = overrides(tmp_path / "spool")
    codes = [
        staged.run("run", str(wrong), *options).returncode,
        staged.run("run", str(site), *options, "--set", f"engines.path={unbuilt.parent}").returncode,
    ]
    assert codes == [78, 69]
    assert {str(code) for code in codes} == set(prevented)


# -- again, back, and away ------------------------------------------------------------------------------------------


def contents(folder: Path) -> dict[str, bytes | str]:
    """Every file and link below a folder."""
    return {
        str(p.relative_to(folder)): os.readlink(p) if p.is_symlink() else p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_symlink() or p.is_file()
    }


@pytest.fixture(scope="module")
def upgraded(staged, tmp_path_factory) -> tuple[Staged, str, dict[str, bytes | str], str]:
    """An installation in use that was upgraded; the old release and what it held, and what the upgrade said."""
    old = staged.current.name
    staged = copy(staged, tmp_path_factory.mktemp("upgraded"))
    staged.config.write_text(staged.config.read_text().replace("EDGE", "CT_EDGE"))
    image = staged.root / "var/lib/edge-runtime/instances/1/a.dcm"
    image.parent.mkdir(parents=True)
    image.write_bytes(b"acknowledged")
    before = contents(staged.current)
    return staged, old, before, staged.install("9.9.9")


def test_an_upgrade_touches_neither_spool_nor_edited_configuration_nor_the_release_that_runs(upgraded):
    staged, old, before, said = upgraded
    assert staged.current.name.startswith("9.9.9-")
    assert (staged.root / "var/lib/edge-runtime/instances/1/a.dcm").read_bytes() == b"acknowledged"
    assert "ae_title: CT_EDGE" in staged.config.read_text()
    assert "kept your /etc/edge-runtime/config.yaml" in said and "systemctl restart edge-runtime" in said
    previous = staged.prefix / os.readlink(staged.prefix / "previous")
    assert previous.name == old
    assert {k: v for k, v in contents(previous).items() if "__pycache__" not in k} == {
        k: v for k, v in before.items() if "__pycache__" not in k
    }


def test_the_same_installation_again_changes_nothing(upgraded):
    staged, _, _, _ = upgraded
    before = contents(staged.root)
    staged.make("install", "PIP_FLAGS=--no-deps")
    assert contents(staged.root) == before


def test_a_rollback_brings_the_release_before_and_its_unit_back(upgraded):
    staged, old, _, _ = upgraded
    newest = staged.current.name
    staged.unit.write_text("[Service]\n")
    said = staged.make("rollback")
    assert staged.current.name == old and "systemctl restart edge-runtime" in said
    assert staged.unit.read_bytes() == (staged.share / "edge-runtime.service").read_bytes()
    staged.make("rollback")
    assert staged.current.name == newest


def test_an_uninstallation_leaves_what_is_the_sites(staged, tmp_path):
    """Configuration, spool, engines and drop-ins stay, a foreign link too; PURGE=1 removes them."""
    staged = copy(staged, tmp_path)
    theirs = [
        "etc/edge-runtime/config.yaml",
        "var/lib/edge-runtime/spooled",
        "etc/systemd/system/edge-runtime.service.d/site.conf",
    ]
    for name in theirs:
        (staged.root / name).parent.mkdir(parents=True, exist_ok=True)
        (staged.root / name).write_text("the site's\n")
    link = staged.root / "usr/local/bin/edge-convert"
    link.unlink()
    link.symlink_to("/somewhere/else")
    staged.make("uninstall")
    assert sorted(contents(staged.root)) == sorted([*theirs, "usr/local/bin/edge-convert"])
    staged.make("uninstall", "PURGE=1")
    assert sorted(contents(staged.root)) == ["usr/local/bin/edge-convert"]


@pytest.mark.parametrize("prefix", ["/usr/local", "/", "/opt", "/home/site/edge", "relative/path", "/opt/with space"])
def test_a_prefix_that_is_not_for_the_daemon_alone_is_refused(staged, prefix):
    """Uninstalling removes the folder, and the service cannot see home folders."""
    said = staged.make("install", f"PREFIX={prefix}", check=False)
    assert "PREFIX" in said
