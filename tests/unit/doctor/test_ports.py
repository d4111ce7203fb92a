"""Who may call us, and where we are to be found."""

import errno

import pytest

from edge_runtime.config import Caller, DicomReceive
from edge_runtime.doctor.check import Outcome
from edge_runtime.doctor.ports import allowed_caller, callers_check, listens_everywhere, reachable_host, unusable

CALLERS = (Caller("CT01", ("10.1.2.3/32",)), Caller("HERE", ("127.0.0.0/8", "::1")))


@pytest.mark.parametrize(
    ("host", "reached"),
    [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("10.1.2.3", "10.1.2.3"), ("edge.example.org", "edge.example.org")],
)
def test_what_listens_everywhere_is_found_on_this_computer(host, reached):
    assert reachable_host(host) == reached
    assert listens_everywhere(host) == (host in ("0.0.0.0", "::"))


def test_the_doctor_calls_as_a_caller_that_may_call_from_here():
    assert allowed_caller(DicomReceive(callers=CALLERS), "127.0.0.1") == "HERE"
    assert allowed_caller(DicomReceive(callers=CALLERS), "::1") == "HERE"
    assert allowed_caller(DicomReceive(callers=CALLERS[:1]), "127.0.0.1") is None
    assert allowed_caller(DicomReceive(), "127.0.0.1") is None
    assert allowed_caller(DicomReceive(callers=CALLERS), "edge.example.org") is None


@pytest.mark.parametrize(
    ("failure", "said"),
    [(errno.EACCES, "not permitted"), (errno.EADDRNOTAVAIL, "not an address"), (errno.EAFNOSUPPORT, "not supported")],
)
def test_a_port_that_cannot_be_taken_is_a_fail(failure, said):
    found = unusable("DICOM port", "10.1.2.3:104", failure, "receive.dicom.port")
    assert found.outcome is Outcome.FAIL and said in found.found


def test_a_port_for_everybody_or_for_nobody_is_warned_of():
    assert callers_check(DicomReceive()).outcome is Outcome.WARN
    assert callers_check(DicomReceive(host="127.0.0.1", callers=CALLERS)).outcome is Outcome.WARN
    listed = callers_check(DicomReceive(callers=CALLERS))
    assert listed.outcome is Outcome.OK and "CT01 at 10.1.2.3/32" in listed.found
