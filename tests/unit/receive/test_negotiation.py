"""Who may associate, and with which classes and syntaxes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import UID as PydicomUid

from edge_runtime.config import Caller, DicomReceive
from edge_runtime.receive import negotiation as n
from edge_runtime.receive.pdu import AssociateRequest, ProposedContext

REQUEST = AssociateRequest(1, "EDGE", "CT01", "1.2.840.10008.3.1.1.1", (), 16384, False)
CALLERS = (Caller("CT01", ("10.1.2.0/24",)), Caller("MR01", ("10.1.3.7", "fd00::/8")))
CT = "1.2.840.10008.5.1.4.1.1.2"


@pytest.mark.parametrize(
    ("change", "host", "expected"),
    [
        ({}, "10.1.2.3", None),
        ({"called_ae_title": "OTHER"}, "10.1.2.3", n.CALLED_UNKNOWN),
        ({"calling_ae_title": "CT02"}, "10.1.2.3", n.CALLING_UNKNOWN),
        ({"calling_ae_title": "ct01"}, "10.1.2.3", n.CALLING_UNKNOWN),
        ({}, "10.1.3.3", n.CALLING_UNKNOWN),
        ({"calling_ae_title": "MR01"}, "10.1.3.7", None),
        ({"calling_ae_title": "MR01"}, "fd00::12", None),
        ({"calling_ae_title": "MR01"}, "10.1.2.3", n.CALLING_UNKNOWN),
        ({"application_context": "1.2.3"}, "10.1.2.3", n.APPLICATION_CONTEXT_UNSUPPORTED),
        ({"protocol_version": 2}, "10.1.2.3", n.PROTOCOL_VERSION_UNSUPPORTED),
        ({"protocol_version": 3}, "10.1.2.3", None),
    ],
)
def test_a_caller_needs_its_title_and_its_address(
    change: dict[str, object], host: str, expected: n.Rejection | None
) -> None:
    assert n.rejection_of(DicomReceive(callers=CALLERS), replace(REQUEST, **change), host) == expected


def test_without_callers_anybody_may_call_but_only_by_our_name() -> None:
    assert n.rejection_of(DicomReceive(), replace(REQUEST, calling_ae_title="ANY"), "192.0.2.1") is None
    assert n.rejection_of(DicomReceive(), replace(REQUEST, called_ae_title=""), "192.0.2.1") == n.CALLED_UNKNOWN


def test_an_empty_list_of_callers_admits_nobody() -> None:
    assert n.rejection_of(DicomReceive(callers=()), REQUEST, "10.1.2.3") == n.CALLING_UNKNOWN


def test_the_rejections_carry_the_numbers_of_the_standard() -> None:
    numbers = {r.reason: (r.result, r.source, r.code) for r in n.REJECTIONS}
    assert numbers == {
        "calling_ae_title": (1, 1, 3),
        "called_ae_title": (1, 1, 7),
        "application_context": (1, 1, 2),
        "protocol_version": (1, 2, 2),
        "association_limit": (2, 3, 2),
        "caller_limit": (2, 3, 2),
        "stopping": (2, 3, 1),
    }


@given(st.integers(0, 40), st.integers(0, 40))
def test_the_limits_admit_exactly_as_many_as_they_say(in_all: int, of_caller: int) -> None:
    config = DicomReceive(maximum_associations=20, maximum_associations_per_caller=5)
    admitted = n.limit_reached(config, in_all, of_caller) is None
    assert admitted == (in_all < 20 and of_caller < 5)


@pytest.mark.parametrize(
    ("raw", "plain"), [("::ffff:10.1.2.3", "10.1.2.3"), ("10.1.2.3", "10.1.2.3"), ("fe80::1%eth0", "fe80::1")]
)
def test_an_address_is_compared_in_its_plain_form(raw: str, plain: str) -> None:
    assert n.plain_address(raw) == plain


def test_every_class_and_syntax_is_what_its_name_says() -> None:
    assert len(n.STORAGE_CLASSES) == 20
    assert len(n.TRANSFER_SYNTAXES) == 13
    for uid, name in n.STORAGE_CLASSES.items():
        assert PydicomUid(uid).type == "SOP Class"
        official = PydicomUid(uid).name.lower()
        words = name.replace(", for", " for").replace(" (retired)", "").split()
        missing = [w for w in words if w.lower() not in official]
        assert missing in ([], ["Ultrasound", "Multi-frame"]), (name, official)
    for uid in n.TRANSFER_SYNTAXES:
        assert PydicomUid(uid).is_transfer_syntax


def answer(abstract: str, *syntaxes: str) -> tuple[int, str]:
    (one,) = n.answer_contexts((ProposedContext(1, abstract, syntaxes),))
    return one.result, one.transfer_syntax


JPEG, HEVC = "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.107"


@pytest.mark.parametrize(
    ("abstract", "offered", "expected"),
    [
        (CT, (n.IMPLICIT_LE, n.EXPLICIT_BE, n.EXPLICIT_LE), (0, n.EXPLICIT_LE)),
        (CT, (JPEG, n.IMPLICIT_LE), (0, JPEG)),
        (CT, (HEVC, n.IMPLICIT_LE, JPEG), (0, n.IMPLICIT_LE)),
        (CT, (HEVC,), (4, n.IMPLICIT_LE)),
        ("1.2.840.10008.5.1.4.1.1.481.2", (n.EXPLICIT_LE,), (3, n.IMPLICIT_LE)),
        (n.VERIFICATION, (n.IMPLICIT_LE,), (0, n.IMPLICIT_LE)),
        (n.VERIFICATION, (JPEG,), (4, n.IMPLICIT_LE)),
    ],
)
def test_a_context_is_answered_by_the_stated_preference(
    abstract: str, offered: tuple[str, ...], expected: tuple[int, str]
) -> None:
    assert answer(abstract, *offered) == expected


@given(st.lists(st.sampled_from([CT, n.VERIFICATION, "1.2.3"]), max_size=20), st.data())
def test_every_context_gets_one_answer_and_only_offered_syntaxes_are_accepted(
    abstracts: list[str], data: st.DataObject
) -> None:
    syntaxes = st.lists(st.sampled_from([*n.TRANSFER_SYNTAXES, HEVC]), min_size=1, max_size=4)
    proposed = tuple(ProposedContext(2 * i + 1, a, tuple(data.draw(syntaxes))) for i, a in enumerate(abstracts))
    answers = n.answer_contexts(proposed)
    assert [a.id for a in answers] == [p.id for p in proposed]
    accepted = n.accepted_contexts(proposed, answers)
    for offer, one in zip(proposed, answers, strict=True):
        assert (one.id in accepted) == (one.result == 0)
        if one.result == 0:
            assert one.transfer_syntax in offer.transfer_syntaxes
            assert accepted[one.id] == n.AcceptedContext(offer.abstract_syntax, one.transfer_syntax)
