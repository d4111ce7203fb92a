"""Result files, verified before they are sent and sent as they are."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import BinaryIO

from pydicom.filereader import read_dataset, read_preamble

from edge_runtime.deliver.base import Delivery, Outcome, Parcel, Reason, SendFailed

_BLOCK_BYTES = 1 << 20
_DICOM_NEEDED = ("MediaStorageSOPClassUID", "MediaStorageSOPInstanceUID", "TransferSyntaxUID")


def sha256_of(file: BinaryIO) -> str:
    """The SHA-256 (hex) of a file from its start."""
    file.seek(0)
    digest = hashlib.sha256()
    while block := file.read(_BLOCK_BYTES):
        digest.update(block)
    return digest.hexdigest()


def open_verified(parcel: Parcel) -> BinaryIO:
    """Open a parcel's file, at its start, with the bytes that were made.

    Raises:
        SendFailed: the file is missing, cannot be read, or holds other bytes.
    """
    try:
        file = parcel.path.open("rb")
    except FileNotFoundError:
        detail = "the result file is not in the spool"
        raise SendFailed(Delivery(Outcome.PARKED, Reason.MISSING, detail)) from None
    except OSError as error:
        raise _unreadable(error) from None
    try:
        found = sha256_of(file)
        file.seek(0)
    except OSError as error:
        file.close()
        raise _unreadable(error) from None
    if found != parcel.sha256:
        file.close()
        detail = f"expected sha256 {parcel.sha256[:12]}, found {found[:12]}"
        raise SendFailed(Delivery(Outcome.PARKED, Reason.ALTERED, detail))
    return file


def _unreadable(error: OSError) -> SendFailed:
    return SendFailed(Delivery(Outcome.DEFERRED, Reason.UNREADABLE, f"errno {error.errno}"))


@dataclass(frozen=True)
class Part10:
    """An open, verified DICOM file (PS3.10 section 7). The encoded data set is the bytes from `data_offset`."""

    file: BinaryIO
    size_bytes: int
    data_offset: int
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str

    @property
    def context(self) -> tuple[str, str]:
        """The presentation context it needs: SOP class and transfer syntax."""
        return (self.sop_class_uid, self.transfer_syntax_uid)


def open_part10(parcel: Parcel) -> Part10:
    """Open a parcel's DICOM file, verified.

    Raises:
        SendFailed: as `open_verified`, or it is no DICOM file.
    """
    if parcel.sop_class_uid is None:
        detail = f"{parcel.kind.value} does not go to a DICOM destination"
        raise SendFailed(Delivery(Outcome.PARKED, Reason.WRONG_KIND, detail))
    file = open_verified(parcel)
    try:
        read_preamble(file, False)
        meta = read_dataset(file, False, True, stop_when=lambda tag, _vr, _length: tag.group != 2)
        offset = file.tell()
        sop_class, sop_instance, syntax = (str(meta[keyword].value) for keyword in _DICOM_NEEDED)
        size = file.seek(0, 2)
        if size <= offset:
            raise ValueError("the data set is empty")
    except Exception as error:  # pydicom raises many kinds for a broken file
        file.close()
        delivery = Delivery(Outcome.PARKED, Reason.UNREADABLE, f"no DICOM file: {type(error).__name__}")
        raise SendFailed(delivery) from error
    return Part10(file, size, offset, sop_class, sop_instance, syntax)
