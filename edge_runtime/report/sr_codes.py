"""The coded concepts of reports, and their form for highdicom."""

from __future__ import annotations

from typing import Any

from highdicom.sr import CodedConcept

from edge_runtime.domain import Answer, Code
from edge_runtime.report.text import plain

COMMENT = Code("121106", "DCM", "Comment")
SUMMARY = Code("121111", "DCM", "Summary")
PROBABILITY = Code("122157", "DCM", "Probability")
VOLUME = Code("118565006", "SCT", "Volume")
MILLILITRE = Code("ml", "UCUM", "milliliter")
NO_UNITS = Code("1", "UCUM", "no units")
DEVICE = Code("121007", "DCM", "Device")
IMAGING_PROCEDURE = Code("363679005", "SCT", "Imaging procedure")

ANSWERS = {
    Answer.POSITIVE: Code("10828004", "SCT", "Positive"),
    Answer.NEGATIVE: Code("260385009", "SCT", "Negative"),
    Answer.NOT_EVALUATED: Code("373121007", "SCT", "Not Evaluated"),
}
PROCEDURES = {  # CID 100
    "CT": Code("25045-6", "LN", "CT unspecified body region"),
    "MR": Code("25056-3", "LN", "MRI unspecified body region"),
    "CR": Code("43468-8", "LN", "XR unspecified body region"),
    "DX": Code("43468-8", "LN", "XR unspecified body region"),
}


def coded(code: Code) -> Any:
    """A code as highdicom takes it."""
    return CodedConcept(plain(code.value), plain(code.scheme, 16), plain(code.meaning, 64))
