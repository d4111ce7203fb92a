"""The identity of a data set from its first bytes, in every encoding that is accepted."""

from __future__ import annotations

import contextlib
import struct
import time
import tracemalloc
import zlib
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite
from support.dicom_peers import CT, EXPLICIT_LE, IMPLICIT_LE, UID, data_set, explicit

from edge_runtime.errors import Refused
from edge_runtime.receive.negotiation import DEFLATED, EXPLICIT_BE
from edge_runtime.receive.prefix import (
    PREFIX_LIMIT_BYTES,
    Identity,
    MoreNeeded,
    Unreadable,
    read_identity,
    valid_uid,
)
from edge_runtime.receive.storing import IdentityCheck

SYNTAXES = [IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE, DEFLATED]
WANTED = Identity(CT, UID)


def encoded(syntax: str, undefined_length: bool = False) -> bytes:
    """A data set with a nested sequence before its identity, written by pydicom."""
    inner = Dataset()
    inner.CodeValue = "en"
    inner.CodingSchemeDesignator = "RFC5646"
    language = Dataset()
    language.CodeMeaning = "English"
    language.LanguageCodeSequence = [inner]
    data = Dataset()
    data.SpecificCharacterSet = "ISO_IR 100"
    data.LanguageCodeSequence = [language]
    data.ImageType = ["ORIGINAL", "PRIMARY"]
    data.SOPClassUID = CT
    data.SOPInstanceUID = UID
    data.PatientID = "x" * 64
    if undefined_length:
        for sequence in (data["LanguageCodeSequence"], language["LanguageCodeSequence"]):
            sequence.is_undefined_length = True
            for one in sequence.value:
                one.is_undefined_length_sequence_item = True
    out = BytesIO()
    dcmwrite(out, data, implicit_vr=syntax == IMPLICIT_LE, little_endian=syntax != EXPLICIT_BE)
    if syntax == DEFLATED:
        packer = zlib.compressobj(wbits=-15)
        return packer.compress(out.getvalue()) + packer.flush()
    return out.getvalue()


@pytest.mark.parametrize("undefined_length", [False, True])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_the_identity_is_found_behind_nested_sequences(syntax: str, undefined_length: bool) -> None:
    assert read_identity(encoded(syntax, undefined_length), syntax) == WANTED


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_prefix_that_ends_too_early_asks_for_more_and_never_guesses(syntax: str) -> None:
    data = encoded(syntax)
    outcomes = []
    for cut in range(len(data)):
        try:
            outcomes.append(read_identity(data[:cut], syntax))
        except MoreNeeded:
            assert not outcomes
    assert set(outcomes) <= {WANTED}


@given(st.binary(max_size=300), st.sampled_from(SYNTAXES))
def test_arbitrary_bytes_have_one_of_three_outcomes(data: bytes, syntax: str) -> None:
    with contextlib.suppress(MoreNeeded, Unreadable):
        assert isinstance(read_identity(data, syntax), Identity)


@given(st.sampled_from(SYNTAXES), st.data())
def test_damaged_data_sets_have_one_of_three_outcomes(syntax: str, data: st.DataObject) -> None:
    body = bytearray(encoded(syntax, undefined_length=True))
    for _ in range(data.draw(st.integers(1, 5))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(MoreNeeded, Unreadable):
        assert isinstance(read_identity(bytes(body), syntax), Identity)


def test_deep_nesting_is_refused_not_followed() -> None:
    nest = struct.pack("<HH2sHI", 8, 6, b"SQ", 0, 0xFFFFFFFF) + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    with pytest.raises(Unreadable, match="deep"):
        read_identity(nest * 2000, EXPLICIT_LE)


def test_a_deflated_bomb_is_not_inflated() -> None:
    packer = zlib.compressobj(9, wbits=-15)
    bomb = packer.compress(bytes(50_000_000)) + packer.flush()
    tracemalloc.start()
    try:
        with pytest.raises((Unreadable, MoreNeeded)):
            read_identity(bomb, DEFLATED)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_elements_out_of_order_or_past_the_identity_are_refused() -> None:
    late = explicit(8, 0x60, "CS", b"CT") + data_set()
    with pytest.raises(Unreadable):
        read_identity(late, EXPLICIT_LE)
    backwards = explicit(8, 0x16, "UI", b"1.2\0") + explicit(8, 5, "CS", b"A ")
    with pytest.raises(Unreadable):
        read_identity(backwards, EXPLICIT_LE)


def test_a_data_set_in_another_syntax_than_agreed_is_refused_or_never_found() -> None:
    with pytest.raises((Unreadable, MoreNeeded)):
        read_identity(encoded(IMPLICIT_LE), EXPLICIT_LE)
    with pytest.raises((Unreadable, MoreNeeded)):
        read_identity(encoded(EXPLICIT_LE), EXPLICIT_BE)


@pytest.mark.parametrize("uid", ["1", "1.2.840", "0.0", "1." + "2" * 62, "1.02.3"])
def test_uids_of_the_field_are_accepted(uid: str) -> None:
    assert valid_uid(uid)


@pytest.mark.parametrize(
    "uid", ["", "../../etc/passwd", "1..2", ".1", "1.", "1.2 ", "1.2a", "1." + "2" * 63, "\uff11.\uff12", "1.2\n"]
)
def test_what_is_no_uid_is_refused(uid: str) -> None:
    assert not valid_uid(uid)


@given(st.lists(st.integers(1, 400), min_size=1, max_size=60))
def test_the_check_passes_however_the_data_set_is_cut(sizes: list[int]) -> None:
    check = IdentityCheck(WANTED, EXPLICIT_LE)
    data, position = memoryview(data_set()), 0
    for size in sizes:
        check.feed(data[position : position + size])
        position += size
        if check.done:
            break
    if not check.done:
        check.feed(data[position:])
        check.finish()
    assert check.done


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (data_set(sop_instance=UID + ".9"), "identity_differs"),
        (data_set(sop_class=CT + ".1"), "identity_differs"),
        (data_set()[40:], "identity_unreadable"),
        (explicit(8, 0x18, "UI", b"1.2\0") + bytes(100), "identity_unreadable"),
        (b"", "identity_unreadable"),
        (b"GET / HTTP/1.1\r\n" * 10, "identity_unreadable"),
        (explicit(8, 1, "UN", bytes(2 * PREFIX_LIMIT_BYTES)) + data_set(), "identity_unreadable"),
    ],
    ids=["instance", "class", "cut front", "no class", "empty", "text", "too far in"],
)
def test_the_check_refuses_another_or_no_identity(data: bytes, reason: str) -> None:
    check = IdentityCheck(WANTED, EXPLICIT_LE)
    with pytest.raises(Refused) as refused:
        check.feed(memoryview(data))
        check.finish()
    assert refused.value.reason == reason


def test_a_data_set_in_single_bytes_is_looked_at_a_few_times_only() -> None:
    check = IdentityCheck(WANTED, EXPLICIT_LE)
    filler = memoryview(explicit(8, 1, "CS", b"") * (PREFIX_LIMIT_BYTES // 8 + 1))
    before = time.process_time()
    with pytest.raises(Refused):
        for position in range(len(filler)):
            check.feed(filler[position : position + 1])
    assert time.process_time() - before < 5
