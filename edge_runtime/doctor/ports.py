"""Our own ports: free, held by our own running daemon, or by somebody else; and whether the daemon answers there."""

from __future__ import annotations

import errno
import fcntl
import ipaddress
import json
import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path

from edge_runtime.config import DicomReceive, Http, is_loopback
from edge_runtime.deliver.association import VERIFICATION, associate
from edge_runtime.deliver.base import SendFailed
from edge_runtime.deliver.policy import CALLED_UNKNOWN, CALLING_UNKNOWN
from edge_runtime.doctor.check import Check, Site, fail, ok, warn
from edge_runtime.spool.layout import Layout

TIMEOUT_SECONDS = 5.0
DOCTOR_TITLE = "EDGE-DOCTOR"

_LISTENING = "0A"  # in /proc/net/tcp (proc(5))


def examine_ports(site: Site) -> Iterator[Check]:
    """The DICOM and the HTTP port, and what answers there while the daemon runs."""
    layout = Layout(Path(site.config.spool.path))
    dicom, http = site.config.receive.dicom, site.config.http
    running = is_held(layout.run / "supervisor.lock")
    yield ok("daemon", "runs" if running else "does not run")
    addresses = [("DICOM port", dicom.host, dicom.port, "receive", "receive.dicom.port")]
    addresses.append(("HTTP port", http.host, http.port, "supervisor", "http.port"))
    if http.metrics is not None:
        addresses.append(("metrics port", http.metrics.host, http.metrics.port, "supervisor", "http.metrics.port"))
    for what, host, port, role, key in addresses:
        yield port_check(what, host, port, layout.run / f"{role}.lock", running, key)
    yield callers_check(dicom)
    if running:
        yield own_title(dicom)
        yield readiness(http)


def is_held(lock: Path) -> bool:
    """Whether a process holds the flock of that file, as a running daemon does; leaves it as it is."""
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def port_check(what: str, host: str, port: int, lock: Path, running: bool, key: str) -> Check:
    """Whether the daemon can have this port, or has it. `lock` is the file that its owner holds open."""
    place = f"{host}:{port}"
    if port == 0:
        return ok(what, "any free one")
    failure = _bind_error(host, port)
    if failure is None:
        if running:
            todo = "look at /readyz and the log; it may still start, or have been started with other ports"
            return warn(what, f"{place}: the daemon runs and does not listen here", todo)
        return ok(what, f"{place}: free")
    if failure != errno.EADDRINUSE:
        return unusable(what, place, failure, key)
    owners = owners_of(port)
    if running and any(_holds(pid, lock) for pid in owners):
        return ok(what, f"{place}: held by our own daemon")
    if running and not owners:
        return warn(what, f"{place}: held by a process that we may not look at", "run this as the daemon's user")
    names = ", ".join(f"{_command(pid)} (pid {pid})" for pid in owners) or "another process"
    return fail(what, f"{place}: held by {names}", f"stop it, or change {key}")


def unusable(what: str, place: str, failure: int, key: str) -> Check:
    """What the errno of taking a port means, where it is not that somebody has it."""
    if failure == errno.EADDRNOTAVAIL:
        return fail(what, f"{place}: not an address of this computer", f"change {key.rpartition('.')[0]}.host")
    if failure == errno.EACCES:
        return fail(what, f"{place}: not permitted", f"take a {key} from 1024 on, or give CAP_NET_BIND_SERVICE")
    return fail(what, f"{place}: {os.strerror(failure)}", f"change {key} or its host")


def _bind_error(host: str, port: int) -> int | None:
    """The errno of taking the port as the daemon does, or None."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except socket.gaierror:
        return errno.EADDRNOTAVAIL
    except OSError as error:
        return error.errno or errno.EIO
    return None


def owners_of(port: int) -> list[int]:
    """The processes that listen on a TCP port, as far as we may look at them."""
    sockets = set()
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                    sockets.add(f"socket:[{fields[9]}]")
    return [pid for pid in _processes() if sockets & set(_open_files(pid))]


def _processes() -> list[int]:
    return sorted(int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _open_files(pid: int) -> Iterator[str]:
    with suppress(OSError):  # gone, or another user's
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                yield str(entry.readlink())


def _holds(pid: int, lock: Path) -> bool:
    return str(lock.resolve()) in _open_files(pid)


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "a process"


def listens_everywhere(host: str) -> bool:
    """Whether this is the address that stands for all of this computer."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def reachable_host(host: str) -> str:
    """Where to find, on this computer, what listens at `host`."""
    if not listens_everywhere(host):
        return host
    return "::1" if ":" in host else "127.0.0.1"


def callers_check(dicom: DicomReceive) -> Check:
    """Who may send images to us."""
    what = "callers"
    if is_loopback(dicom.host):
        return warn(what, f"only this computer: receive.dicom.host is {dicom.host}", "give an address of the network")
    if dicom.callers is None:
        return warn(what, "anybody who reaches the port", "list scanners and PACS in receive.dicom.callers")
    return ok(what, ", ".join(f"{caller.ae_title} at {' '.join(caller.hosts)}" for caller in dicom.callers) or "nobody")


def own_title(dicom: DicomReceive) -> Check:
    """C-ECHO to our own daemon, as a caller that it allows from here where there is one."""
    what, host = "own AE title", reachable_host(dicom.host)
    if dicom.port == 0:
        return ok(what, "not asked: the port is any free one")
    caller = allowed_caller(dicom, host)
    found = f"{dicom.ae_title} on port {dicom.port}"
    try:
        association = associate(
            host, dicom.port, dicom.ae_title, caller or DOCTOR_TITLE, [VERIFICATION], TIMEOUT_SECONDS
        )
        status = association.echo()
        association.release()
    except SendFailed as failure:
        detail = failure.delivery.detail
        if caller is None and CALLING_UNKNOWN in detail:
            return ok(what, f"{found} answers; this computer is no caller of its own, and was rejected as it should be")
        todo = "restart the daemon: it runs with another ae_title" if CALLED_UNKNOWN in detail else "look at its log"
        return fail(what, f"{found}: {detail}", todo)
    if status != 0:
        return fail(what, f"{found}: C-ECHO status 0x{status:04X}", "look at the daemon's log")
    return ok(what, f"{found} answers C-ECHO" + (f" from {caller}" if caller else ""))


def allowed_caller(dicom: DicomReceive, host: str) -> str | None:
    """The AE title of a configured caller that may call from `host`; None where there is none, or no list."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    for caller in dicom.callers or ():
        if any(address in ipaddress.ip_network(network, strict=False) for network in caller.hosts):
            return caller.ae_title
    return None


def readiness(http: Http) -> Check:
    """What the running daemon says of itself at /readyz."""
    what = "daemon readiness"
    if http.port == 0:
        return ok(what, "not asked: the port is any free one")
    host = reachable_host(http.host)
    if http.tls is None:
        connection: HTTPConnection = HTTPConnection(host, http.port, timeout=TIMEOUT_SECONDS)
    else:  # our own certificate, perhaps for another name than this address; nothing secret is sent or believed
        unverified = ssl.create_default_context()
        unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
        connection = HTTPSConnection(host, http.port, timeout=TIMEOUT_SECONDS, context=unverified)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        status, body = response.status, response.read(100_000)
        connection.close()
        if status == 200:
            return ok(what, "ready")
        reasons = "; ".join(f"{reason['role']}: {reason['reason']}" for reason in json.loads(body))
        return warn(what, f"not ready: {reasons}", "see docs/operation.md, and the daemon's log")
    except (OSError, HTTPException, ValueError, KeyError, TypeError) as error:
        return fail(what, f"/readyz does not answer as ours: {type(error).__name__}", "look at the daemon's log")
