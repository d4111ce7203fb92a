"""Who we are and who may read what: the spool holds images of patients, the key files hold secrets."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from edge_runtime.config import Config
from edge_runtime.doctor.check import Check, Site, fail, ok, warn
from edge_runtime.errors import ConfigurationError
from edge_runtime.page.access import load_access

_OTHERS_WRITE, _OTHERS, _GROUP = stat.S_IWOTH, stat.S_IRWXO, stat.S_IRWXG


def examine_rights(site: Site) -> Iterator[Check]:
    """User, spool, configuration, engines and the files of keys and passwords."""
    yield _user()
    yield _spool(Path(site.config.spool.path))
    yield _unchangeable("configuration file", site.file)
    yield _unchangeable("engines folder", Path(site.config.engines.path))
    yield _access(site.config)
    for key, file in secret_files(site.config):
        yield secret_check(key, file)


def secret_files(config: Config) -> list[tuple[str, Path]]:
    """The files that only the daemon may read, with the keys that name them."""
    found = [(f"{d.name}: secret_file", d.secret_file) for d in config.destinations if d.secret_file is not None]
    found += [(f"{d.name}: password_file", d.password_file) for d in config.destinations if d.password_file is not None]
    if config.http.tls is not None:
        found.append(("http.tls.key", config.http.tls.key))
    if config.http.login is not None:
        found.append(("http.login.password_file", config.http.login.password_file))
    return [(key, Path(file)) for key, file in found]


def _access(config: Config) -> Check:
    what = "page access"
    try:
        load_access(config.http)
    except ConfigurationError as error:
        return fail(what, str(error), "see http.tls and http.login in docs/configuration.md")
    return ok(what, "with a login" if config.http.login else "without a login, on this computer only")


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"


def _user() -> Check:
    if os.geteuid() == 0:
        todo = "run daemon and doctor as a user of their own: sudo -u edge-runtime edge-runtime doctor ..."
        return warn("user", "root: what fails for the daemon's user works for root", todo)
    return ok("user", _name(os.geteuid()))


def _spool(root: Path) -> Check:
    what = "spool permissions"
    try:
        about = root.stat()
    except FileNotFoundError:
        return ok(what, "not there yet: the daemon makes it with mode 0700")
    found = f"owner {_name(about.st_uid)}, mode {stat.S_IMODE(about.st_mode):04o}"
    if about.st_uid != os.geteuid():
        return fail(what, f"{found}, and we are {_name(os.geteuid())}", "run this and the daemon as the spool's owner")
    if about.st_mode & _OTHERS:
        return fail(what, f"{found}: every user can see images of patients", f"chmod 0700 {root}")
    if about.st_mode & _GROUP:
        return warn(what, f"{found}: a group can see images of patients", f"chmod 0700 {root}")
    if not os.access(root, os.R_OK | os.W_OK | os.X_OK):
        return fail(what, f"{found}: cannot be written", f"chmod 0700 {root}, and mount its disk for writing")
    return ok(what, found)


def _unchangeable(what: str, path: Path) -> Check:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return fail(what, f"{path}: {error.strerror}", "see that it is there and that the daemon's user can read it")
    if mode & _OTHERS_WRITE:
        return fail(what, f"mode {stat.S_IMODE(mode):04o}: every user can change it", f"chmod o-w {path}")
    if not os.access(path, os.R_OK):
        return fail(what, f"mode {stat.S_IMODE(mode):04o}: cannot be read", "give it to the daemon's user or group")
    return ok(what, f"mode {stat.S_IMODE(mode):04o}")


def secret_check(key: str, file: Path) -> Check:
    """Whether a file of secrets can be read by us and not by everybody."""
    try:
        mode = file.stat().st_mode
    except OSError as error:
        return fail(key, f"{file}: {error.strerror}", "write the file, with mode 0640 and the daemon's group")
    found = f"mode {stat.S_IMODE(mode):04o}"
    if mode & _OTHERS:
        return fail(key, f"{found}: every user can read or change it", f"chmod 0640 {file}, and make a new secret")
    if not os.access(file, os.R_OK):
        return fail(key, f"{found}: cannot be read", f"chgrp {file} to the daemon's group")
    return ok(key, found)
