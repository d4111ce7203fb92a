"""Who may read what: every mode that shows images or secrets is a FAIL."""

import os
from dataclasses import replace

import pytest
from support.hooks import hook_settings
from support.spools import make_config

from edge_runtime.config import Engines, Http, Login, Tls
from edge_runtime.doctor.check import Outcome, Site
from edge_runtime.doctor.rights import examine_rights, secret_check, secret_files


@pytest.fixture
def site(tmp_path):
    """Everything as it should be."""
    config = make_config(tmp_path)
    for name in ("spool", "engines"):
        (tmp_path / name).mkdir(mode=0o700)
    (tmp_path / "site.yaml").write_text("")
    hook = hook_settings(tmp_path, "https://example.org/edge")
    engines = Engines(path=str(tmp_path / "engines"))
    return Site(replace(config, engines=engines, destinations=(*config.destinations, hook)), tmp_path / "site.yaml")


def outcomes(site):
    return {check.what: check.outcome for check in examine_rights(site)}


def test_a_site_as_it_should_be_is_well(site):
    found = outcomes(site)
    assert found.pop("user") is (Outcome.WARN if os.geteuid() == 0 else Outcome.OK)
    assert set(found) == {"spool permissions", "configuration file", "engines folder", "page access",
                          "alert: secret_file"}  # fmt: skip
    assert set(found.values()) == {Outcome.OK}


@pytest.mark.parametrize(
    ("file", "mode", "what", "outcome"),
    [
        ("spool", 0o755, "spool permissions", Outcome.FAIL),
        ("spool", 0o701, "spool permissions", Outcome.FAIL),
        ("spool", 0o750, "spool permissions", Outcome.WARN),
        ("engines", 0o777, "engines folder", Outcome.FAIL),
        ("site.yaml", 0o666, "configuration file", Outcome.FAIL),
        ("alert.key", 0o644, "alert: secret_file", Outcome.FAIL),
    ],
)
def test_what_others_can_see_or_change_is_told(site, tmp_path, file, mode, what, outcome):
    (tmp_path / file).chmod(mode)
    assert outcomes(site)[what] is outcome


@pytest.mark.parametrize(
    ("name", "what"),
    [("engines", "engines folder"), ("site.yaml", "configuration file"), ("alert.key", "alert: secret_file")],
)
def test_what_is_missing_is_a_fail(site, tmp_path, name, what):
    path = tmp_path / name
    path.rmdir() if path.is_dir() else path.unlink()
    assert outcomes(site)[what] is Outcome.FAIL


def test_a_spool_that_is_not_there_yet_is_well(site, tmp_path):
    (tmp_path / "spool").rmdir()
    assert outcomes(site)["spool permissions"] is Outcome.OK


def test_a_spool_of_another_user_is_a_fail(site, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    os.chown(tmp_path / "spool", 54_321, -1)
    assert outcomes(site)["spool permissions"] is Outcome.FAIL


def test_the_keys_of_the_page_are_secrets_too(site, tmp_path):
    http = Http(tls=Tls("c.pem", str(tmp_path / "key.pem")), login=Login("site", str(tmp_path / "password")))
    changed = replace(site, config=replace(site.config, http=http))
    assert {"http.tls.key", "http.login.password_file"} <= {key for key, _ in secret_files(changed.config)}
    assert outcomes(changed)["page access"] is Outcome.FAIL  # neither file is there


def test_a_secret_of_a_group_is_well(tmp_path):
    file = tmp_path / "key"
    file.write_bytes(b"x")
    file.chmod(0o640)
    assert secret_check("key", file).outcome is Outcome.OK
