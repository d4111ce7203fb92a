"""The doctor against real peers, ports and a real daemon: what is well passes, each thing that is wrong fails."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification
from support.dicom_peers import until
from support.hooks import StubHook, make_authority, write_key
from support.mounts import unwritable
from support.pacs import StubPacs, free_port, full_backlog, is_open, orthanc, raw_server, storescp, wait_until
from support.parcels import SOP_CLASSES
from support.site import write_config

from benchmarks.daemon import Daemon
from edge_runtime.config import Caller, Config, DicomReceive, Engines, Http, Stage, Tls
from edge_runtime.doctor.check import Check, Outcome, Site
from edge_runtime.doctor.destinations import examine_destination
from edge_runtime.doctor.engines import Loaded, examine_engines, load_apart
from edge_runtime.doctor.ports import examine_ports, is_held, own_title, owners_of, port_check, readiness
from edge_runtime.doctor.sending import examine_by_sending
from edge_runtime.result_objects import ResultKind
from edge_runtime.yaml_schema import read_schema


def pacs(port: int, host: str = "127.0.0.1", **keys) -> dict:
    return {"name": "pacs", "type": "dicom", "ae_title": "PACS", "host": host, "port": port, "timeout_seconds": 10.0,
            **keys}  # fmt: skip


def site_of(tmp_path: Path, engines: Path, *destinations: dict, send: bool = False, **pipeline) -> Site:
    file = write_config(tmp_path / "site.yaml", engines, destinations, **pipeline)
    config = read_schema(Config, file, [f"spool.path={tmp_path / 'spool'}", "receive.dicom.host=127.0.0.1"])
    return Site(config, file, send)


def examined(site: Site) -> dict[str, Check]:
    """The checks of the only destination, without and with sending."""
    (destination,) = site.config.destinations
    found = [*examine_destination(destination, site), *examine_by_sending(destination, site)]
    return {check.what: check for check in found}


def outcomes(checks: dict[str, Check]) -> dict[str, str]:
    return {what: check.outcome.value for what, check in checks.items()}


# -- DICOM destinations ---------------------------------------------------------------------------------------------


@pytest.mark.peer
def test_a_pacs_that_takes_everything_is_well_and_nothing_is_stored_unasked(tmp_path, engines):
    with storescp(tmp_path / "kept") as port:
        found = examined(site_of(tmp_path, engines, pacs(port)))
    assert set(outcomes(found).values()) == {"ok"}
    assert set(found) == {"pacs: DICOM", "pacs: takes", "pacs: back to us", "pacs: test object"}
    assert found["pacs: takes"].found == "SR (Comprehensive 3D), SEG, SC"
    assert "EDGE at 127.0.0.1:11112" in found["pacs: back to us"].found
    assert "--send" in found["pacs: test object"].found
    assert list((tmp_path / "kept").iterdir()) == []


@pytest.mark.peer
def test_test_objects_of_every_kind_are_stored_where_that_is_asked_for(tmp_path, engines):
    with orthanc(tmp_path / "orthanc") as peer:
        for settings in (
            pacs(peer.dicom_port, ae_title=peer.ae_title),
            {"name": "pacs", "type": "dicomweb", "url": peer.url},
        ):
            found = examined(site_of(tmp_path, engines, settings, send=True))
            assert set(outcomes(found).values()) == {"ok"}
            assert {f"pacs: test object {kind}" for kind in ("sr", "seg", "overlay")} <= set(found)
        assert len(peer.instances()) == 6
        (patient,) = json.loads(peer.get("/patients?expand"))
    assert patient["MainDicomTags"]["PatientID"] == "EDGE-DOCTOR"


def test_a_name_that_does_not_resolve(tmp_path, engines):
    found = examined(site_of(tmp_path, engines, pacs(104, "no-such-host.invalid")))["pacs: DICOM"]
    assert found.outcome is Outcome.FAIL and "does not resolve" in found.found


def test_a_closed_port(tmp_path, engines):
    found = examined(site_of(tmp_path, engines, pacs(free_port())))["pacs: DICOM"]
    assert found.outcome is Outcome.FAIL and "connection refused" in found.found


def test_a_port_behind_a_wall(tmp_path, engines):
    with full_backlog() as port:
        found = examined(site_of(tmp_path, engines, pacs(port, timeout_seconds=0.5)))["pacs: DICOM"]
    assert found.outcome is Outcome.FAIL and "time-out" in found.found


def silent(connection, over):
    over.wait(60)


def greeting(connection, over):
    connection.sendall(b"220 mail.example.org ESMTP\r\n")
    over.wait(60)


def closing(connection, over):
    connection.recv(10)


@pytest.mark.parametrize(
    ("behave", "said"),
    [(silent, "no answer to the association"), (greeting, "not DICOM"), (closing, "not DICOM, or gave up")],
)
def test_a_server_that_is_no_dicom(tmp_path, engines, behave, said):
    with raw_server(behave) as port:
        found = examined(site_of(tmp_path, engines, pacs(port, timeout_seconds=2.0)))["pacs: DICOM"]
    assert found.outcome is Outcome.FAIL and said in found.found


@contextlib.contextmanager
def picky(**settings):
    """A PACS that knows its own and its callers' titles."""
    ae = AE("PACS")
    ae.add_supported_context(Verification)
    for name, value in settings.items():
        setattr(ae, name, value)
    server = ae.start_server(("127.0.0.1", 0), block=False)
    try:
        yield server.socket.getsockname()[1]
        wait_until(lambda: not server.active_associations, 30)  # pynetdicom cannot shut down one that is just ending
    finally:
        ae.shutdown()


def test_a_pacs_of_another_name(tmp_path, engines):
    with picky(require_called_aet=True) as port:
        found = examined(site_of(tmp_path, engines, pacs(port, ae_title="PAX")))["pacs: DICOM"]
    assert found.outcome is Outcome.FAIL
    assert "called AE title not recognized" in found.found and "'PAX'" in found.todo


def test_a_pacs_that_does_not_know_us(tmp_path, engines):
    with picky(require_calling_aet=["CT01"]) as port:
        found = examined(site_of(tmp_path, engines, pacs(port)))["pacs: DICOM"]
        known = examined(site_of(tmp_path, engines, pacs(port, calling_ae_title="CT01")))["pacs: DICOM"]
    assert found.outcome is Outcome.FAIL
    assert "calling AE title not recognized" in found.found and "'EDGE'" in found.todo
    assert known.outcome is Outcome.OK


def test_a_pacs_that_refuses_one_kind_of_what_is_sent(tmp_path, engines):
    with StubPacs(refused_classes=[SOP_CLASSES[ResultKind.SEG]]).running() as peer:
        found = examined(site_of(tmp_path, engines, pacs(peer.port)))
        without = examined(site_of(tmp_path, engines, pacs(peer.port), results=["sr", "overlay"]))
    assert found["pacs: DICOM"].outcome is Outcome.OK
    assert found["pacs: takes"].outcome is Outcome.FAIL and "refuses SEG" in found["pacs: takes"].found
    assert without["pacs: takes"].outcome is Outcome.OK


def test_a_pacs_that_stores_badly_is_found_by_sending(tmp_path, engines):
    with StubPacs(statuses=[0xA700, 0xB000, 0xC000]).running() as peer:
        found = examined(site_of(tmp_path, engines, pacs(peer.port), send=True))
    sent = {what: outcome for what, outcome in outcomes(found).items() if "test object" in what}
    assert list(sent.values()) == ["FAIL", "warn", "FAIL"]


def test_an_echo_that_fails(tmp_path, engines):
    ae = AE("PACS")
    ae.add_supported_context(Verification)
    handlers = [(evt.EVT_C_ECHO, lambda _event: 0x0122)]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        found = examined(site_of(tmp_path, engines, pacs(server.socket.getsockname()[1])))["pacs: DICOM"]
    finally:
        ae.shutdown()
    assert found.outcome is Outcome.FAIL and "0x0122" in found.found


def test_a_pacs_without_verification_is_warned_of(tmp_path, engines):
    ae = AE("PACS")
    for sop_class in SOP_CLASSES.values():
        ae.add_supported_context(sop_class)
    server = ae.start_server(("127.0.0.1", 0), block=False)
    try:
        found = examined(site_of(tmp_path, engines, pacs(server.socket.getsockname()[1])))
    finally:
        ae.shutdown()
    assert found["pacs: DICOM"].outcome is Outcome.WARN


# -- other destinations ---------------------------------------------------------------------------------------------


@pytest.mark.peer
def test_a_dicomweb_service_is_told_from_what_is_none(tmp_path, engines):
    with orthanc(tmp_path / "orthanc") as peer:
        urls = {
            peer.url: "ok",
            f"http://127.0.0.1:{peer.http_port}/nowhere": "FAIL",
            f"http://127.0.0.1:{free_port()}/dicom-web": "FAIL",
            f"http://127.0.0.1:{peer.dicom_port}/dicom-web": "FAIL",
        }
        for url, outcome in urls.items():
            settings = {"name": "web", "type": "dicomweb", "url": url, "timeout_seconds": 5.0}
            assert examined(site_of(tmp_path, engines, settings))["web: DICOMweb"].outcome.value == outcome, url


def hook(tmp_path, url, **keys):
    return {"name": "alert", "type": "webhook", "url": url, "secret_file": str(tmp_path / "key"),
            "timeout_seconds": 10.0, **keys}  # fmt: skip


def test_a_webhook_is_reached_without_an_event_and_gets_one_when_asked(tmp_path, engines):
    write_key(tmp_path / "key")
    authority = make_authority(tmp_path / "ca")
    with StubHook(tls=authority.server).running() as peer:
        settings = hook(tmp_path, f"https://127.0.0.1:{peer.port}/edge", ca_file=str(authority.ca_file))
        assert outcomes(examined(site_of(tmp_path, engines, settings)))["alert: webhook"] == "ok"
        assert peer.posts == []
        found = examined(site_of(tmp_path, engines, settings, send=True))
        assert found["alert: test object event"].outcome is Outcome.OK
        (post,) = peer.posts
        assert post.is_signed() and json.loads(post.body)["type"] == "test"
        del settings["ca_file"]
        untrusted = examined(site_of(tmp_path, engines, settings, send=True))
        assert set(outcomes(untrusted).values()) == {"FAIL"}
    assert len(peer.posts) == 1


def test_a_webhook_without_a_key_or_a_receiver_is_a_fail(tmp_path, engines):
    with StubHook(lambda _: (400, {})).running() as peer:
        url = f"http://127.0.0.1:{peer.port}/edge"
        assert examined(site_of(tmp_path, engines, hook(tmp_path, url)))["alert: webhook"].outcome is Outcome.FAIL
        write_key(tmp_path / "key")
        found = examined(site_of(tmp_path, engines, hook(tmp_path, url), send=True))
        assert outcomes(found) == {"alert: webhook": "ok", "alert: test object event": "FAIL"}
    closed = hook(tmp_path, f"http://127.0.0.1:{free_port()}/edge")
    assert examined(site_of(tmp_path, engines, closed))["alert: webhook"].outcome is Outcome.FAIL


def test_a_folder_is_written_and_left_as_it_was(tmp_path, engines):
    settings = {"name": "disk", "type": "folder", "path": str(tmp_path / "new" / "out")}
    found = examined(site_of(tmp_path, engines, settings, send=True))
    assert set(outcomes(found).values()) == {"ok"} and len(found) == 5
    assert not (tmp_path / "new").exists()
    (tmp_path / "new" / "out").mkdir(parents=True)
    (tmp_path / "new" / "out" / "mine").write_bytes(b"")
    assert set(outcomes(examined(site_of(tmp_path, engines, settings, send=True))).values()) == {"ok"}
    assert [path.name for path in (tmp_path / "new" / "out").iterdir()] == ["mine"]


def test_a_folder_that_cannot_be_written_is_a_fail(tmp_path, engines):
    with unwritable(tmp_path / "ro") as place:
        settings = {"name": "disk", "type": "folder", "path": str(place / "out")}
        found = examined(site_of(tmp_path, engines, settings, send=True))
    assert set(outcomes(found).values()) == {"FAIL"}


# -- ports ----------------------------------------------------------------------------------------------------------


def checked(port: int, tmp_path: Path, running: bool = False, host: str = "127.0.0.1") -> Check:
    return port_check("DICOM port", host, port, tmp_path / "receive.lock", running, "receive.dicom.port")


def test_a_port_is_free_or_held_by_a_process_with_a_name(tmp_path):
    port = free_port()
    assert checked(port, tmp_path).outcome is Outcome.OK
    code = f"import socket,sys; s=socket.create_server(('127.0.0.1',{port})); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as other:
        until(lambda: is_open(port))
        found = checked(port, tmp_path)
        assert owners_of(port) == [other.pid]
    assert found.outcome is Outcome.FAIL and f"pid {other.pid}" in found.found


def test_a_port_of_a_process_that_is_not_our_daemon_is_a_fail_even_while_ours_runs(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found = checked(listener.getsockname()[1], tmp_path, running=True)
    assert found.outcome is Outcome.FAIL


def test_a_daemon_that_does_not_listen_is_warned_of(tmp_path):
    assert checked(free_port(), tmp_path, running=True).outcome is Outcome.WARN


def test_an_address_that_is_not_ours_is_a_fail(tmp_path):
    for host in ("192.0.2.77", "no-such-host.invalid"):
        found = checked(11112, tmp_path, host=host)
        assert found.outcome is Outcome.FAIL and "not an address of this computer" in found.found


@pytest.mark.peer
def test_our_own_running_daemon_is_recognised_and_answers(tmp_path, engines):
    config = write_config(tmp_path / "site.yaml", engines, [{"name": "disk", "type": "folder", "path": str(tmp_path)}])
    metrics = f"http.metrics={{host: 127.0.0.1, port: {free_port()}}}"
    with Daemon(config, tmp_path / "spool", [metrics]) as daemon:
        daemon.wait_ready()
        site = Site(read_schema(Config, config, daemon.overrides), config)
        found = {check.what: check for check in examine_ports(site)}
        dicom = site.config.receive.dicom
        other_title = own_title(DicomReceive("OTHER", dicom.host, dicom.port))
        strangers = (Caller("CT01", ("10.1.2.3",)),)
        open_to_all = own_title(DicomReceive(dicom.ae_title, dicom.host, dicom.port, strangers))
    assert found.pop("callers").outcome is Outcome.WARN
    assert set(outcomes(found).values()) == {"ok"}
    assert found["daemon"].found == "runs" and found["daemon readiness"].found == "ready"
    assert all("our own daemon" in found[what].found for what in ("DICOM port", "HTTP port", "metrics port"))
    assert other_title.outcome is Outcome.FAIL and "called AE title" in other_title.found
    assert open_to_all.outcome is Outcome.OK  # this daemon takes any caller
    assert not is_held(tmp_path / "spool" / "run" / "supervisor.lock")


@pytest.mark.peer
def test_a_daemon_that_lists_its_callers_rejects_the_doctor_as_it_should(tmp_path, engines):
    config = write_config(tmp_path / "site.yaml", engines, [{"name": "disk", "type": "folder", "path": str(tmp_path)}])
    callers = "receive.dicom.callers=[{ae_title: CT01, hosts: [10.1.2.3]}]"
    with Daemon(config, tmp_path / "spool", [callers]) as daemon:
        daemon.wait_ready()
        dicom = read_schema(Config, config, daemon.overrides).receive.dicom
        found = own_title(dicom)
    assert found.outcome is Outcome.OK and "rejected as it should be" in found.found
    assert own_title(dicom).outcome is Outcome.FAIL  # it has stopped


@pytest.mark.parametrize(
    ("status", "body", "outcome", "said"),
    [
        (200, b"[]", Outcome.OK, "ready"),
        (503, b'[{"role": "infer", "reason": "starting"}]', Outcome.WARN, "infer: starting"),
        (404, b"<html>", Outcome.FAIL, "not answer as ours"),
    ],
)
@pytest.mark.parametrize("tls", [False, True])
def test_the_daemons_reasons_are_told_in_the_clear_and_over_tls(tmp_path, status, body, outcome, said, tls):
    authority = make_authority(tmp_path / "ca", "127.0.0.2")  # a name that is not this address

    def answer(connection, _over):
        with authority.server.wrap_socket(connection, server_side=True) if tls else connection as stream:
            stream.recv(65_536)
            stream.sendall(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))

    with raw_server(answer) as port:
        found = readiness(Http(port=port, tls=Tls("certificate.pem", "key.pem") if tls else None))
    assert found.outcome is outcome and said in found.found


# -- engines --------------------------------------------------------------------------------------------------------


def test_an_engine_is_loaded_and_answers_with_time_and_memory(tmp_path, engines):
    found = list(examine_engines(site_of(tmp_path, engines)))
    assert [check.what for check in found] == ["engine bright", "pipeline find-ball", "memory for engines"]
    assert found[0].outcome is Outcome.OK and "golden input as built" in found[0].found


def test_an_engine_that_was_changed_is_a_fail(tmp_path, engines):
    shutil.copytree(engines, tmp_path / "engines")
    (file,) = (tmp_path / "engines").rglob("onnxruntime-fp32/*.onnx")
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    (found,) = examine_engines(site_of(tmp_path, tmp_path / "engines"))
    assert found.outcome is Outcome.FAIL and "SHA-256" in found.found


def test_an_engine_that_takes_too_long_or_kills_its_process_is_a_fail(tmp_path, engines):
    stage, settings = Stage("find", "bright"), Engines(str(engines), allow_unsigned=True)
    late = load_apart(stage, settings, seconds=0.0)
    assert isinstance(late, Check) and "not loaded within" in late.found

    def kill():
        until(multiprocessing.active_children)
        for child in multiprocessing.active_children():
            child.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    died = load_apart(stage, settings)
    killer.join()
    assert isinstance(died, Check) and "ended with -9" in died.found
    assert isinstance(load_apart(stage, settings), Loaded)


# -- the command ----------------------------------------------------------------------------------------------------


def doctor(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge_runtime.cli", "doctor", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.peer
def test_the_command_says_one_line_a_check_and_fails_where_one_fails(tmp_path, engines):
    disk = {"name": "disk", "type": "folder", "path": str(tmp_path / "out")}
    with storescp(tmp_path / "kept") as port:
        config = write_config(tmp_path / "site.yaml", engines, [disk, pacs(port)])
        options = ["--set", f"spool.path={tmp_path / 'spool'}", "--set", f"receive.dicom.port={free_port()}",
                   "--set", f"http.port={free_port()}"]  # fmt: skip
        well = doctor(config, *options)
        as_json = doctor(config, *options, "--json", "--send")
    assert well.returncode == 0, well.stdout
    lines = well.stdout.splitlines()
    assert len(lines) > 20 and all(line.split()[0] in ("ok", "warn") for line in lines)
    assert well.stderr == as_json.stderr == ""
    document = json.loads(as_json.stdout)
    assert document["ok"] and as_json.returncode == 0
    assert {check["outcome"] for check in document["checks"]} <= {"ok", "warn"}
    assert len(list((tmp_path / "kept").iterdir())) == 3
    gone = doctor(config, *options)
    assert gone.returncode == 1
    assert [line for line in gone.stdout.splitlines() if line.startswith("FAIL")] != []
    assert not (tmp_path / "spool").exists()


def test_a_configuration_that_does_not_parse_ends_with_78(tmp_path):
    (tmp_path / "site.yaml").write_text("spool: {pth: x}\npipelines: []\n")
    done = doctor(tmp_path / "site.yaml")
    assert done.returncode == 78 and "spool.pth" in done.stderr
