"""Every way a C-STORE can fail has one status."""

from __future__ import annotations

import pytest

from edge_runtime.errors import Refused, SpoolError, SpoolFull
from edge_runtime.receive.command import Command
from edge_runtime.receive.negotiation import EXPLICIT_LE, AcceptedContext
from edge_runtime.receive.statuses import REFUSALS, STORE_RESULTS, status_of
from edge_runtime.receive.storing import refusal_of

CT = "1.2.840.10008.5.1.4.1.1.2"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SpoolFull("full"), 0xA700),
        (SpoolError("odd"), 0xA700),
        (Refused("identity_differs", ""), 0xA900),
        (Refused("class_not_of_context", ""), 0x0122),
        (Refused("invalid_uid", ""), 0xC001),
        (Refused("identity_unreadable", ""), 0xC002),
        (Refused("no_data_set", ""), 0xC003),
        (RuntimeError("bug"), 0x0110),
    ],
)
def test_an_error_becomes_its_status(error: Exception, code: int) -> None:
    assert status_of(error).code == code


def test_no_failure_is_a_success_and_every_comment_fits_its_element() -> None:
    for status in REFUSALS.values():
        assert status.code != 0
        assert 0 < len(status.comment) <= 64
        assert status.result in STORE_RESULTS


@pytest.mark.parametrize(
    ("sop_class", "sop_instance", "data", "reason"),
    [
        (CT, "1.2.3", True, None),
        ("1.2.840.10008.5.1.4.1.1.4", "1.2.3", True, "class_not_of_context"),
        (CT, "../../x", True, "invalid_uid"),
        (CT, "", True, "invalid_uid"),
        (CT, "1." + "3" * 63, True, "invalid_uid"),
        ("", "1.2.3", True, "invalid_uid"),
        (CT, "1.2.3", False, "no_data_set"),
    ],
)
def test_a_command_is_judged_before_its_data_set(sop_class: str, sop_instance: str, data: bool, reason: str) -> None:
    refusal = refusal_of(Command(1, 1, data, sop_class, sop_instance), AcceptedContext(CT, EXPLICIT_LE))
    assert (refusal.reason if refusal else None) == reason
