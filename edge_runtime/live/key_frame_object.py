"""A frame of live video as a DICOM Secondary Capture Image (PS3.3 A.8): the pixels as they were, nothing drawn."""

from __future__ import annotations

from datetime import datetime, timezone, tzinfo
from typing import Any

from pydicom.uid import SecondaryCaptureImageStorage

from edge_runtime import __version__
from edge_runtime.config import Video
from edge_runtime.domain import MANUFACTURER, Array
from edge_runtime.examination import Examination
from edge_runtime.patient_and_study import encode, value_of

SOP_CLASS_UID = str(SecondaryCaptureImageStorage)
MODALITY = "ES"

_SERIES_NUMBER = 9100  # before those of the results
_MODEL = "Edge Runtime"


def key_frame_data_set(
    examination: Examination,
    video: Video,
    pixels: Array,
    *,
    number: int,
    captured_unix: float,
    stored_unix: float,
    sop_instance_uid: str,
    device_serial: str,
) -> bytes:
    """The encoded data set in Explicit VR Little Endian.

    pixels: uint8 (rows, columns, 3) RGB. number: of the key frame in its examination, from 1. Times are Unix seconds.
    Patient and study are those of the examination, byte for byte. Burned In Annotation is absent: a video signal may
    carry text of its own, and nobody has looked.
    """
    dataset = examination.attributes
    zone = _zone(value_of(dataset, "TimezoneOffsetFromUTC"))
    captured, stored = (datetime.fromtimestamp(round(at, 6), tz=zone) for at in (captured_unix, stored_unix))
    dataset.TimezoneOffsetFromUTC = captured.strftime("%z")
    dataset.SOPClassUID = SOP_CLASS_UID
    dataset.SOPInstanceUID = sop_instance_uid
    dataset.Modality = MODALITY
    dataset.SeriesInstanceUID = examination.series_uid
    dataset.SeriesNumber = _SERIES_NUMBER
    dataset.SeriesDescription = series_description(video)
    dataset.InstanceNumber = number
    _put_time(dataset, "Series", datetime.fromtimestamp(round(examination.begun_unix, 6), tz=zone))
    for name in ("Content", "Acquisition"):
        _put_time(dataset, name, captured)
    dataset.AcquisitionDateTime = captured.strftime("%Y%m%d%H%M%S.%f%z")
    _put_time(dataset, "InstanceCreation", stored)
    dataset.DateOfSecondaryCapture, dataset.TimeOfSecondaryCapture = dataset.ContentDate, dataset.ContentTime
    dataset.ConversionType = "DV"
    dataset.Manufacturer = dataset.SecondaryCaptureDeviceManufacturer = MANUFACTURER
    dataset.ManufacturerModelName = dataset.SecondaryCaptureDeviceManufacturerModelName = _MODEL
    dataset.SoftwareVersions = dataset.SecondaryCaptureDeviceSoftwareVersions = __version__
    dataset.DeviceSerialNumber = device_serial
    dataset.StationName = video.name[:16]
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.PatientOrientation = dataset.Laterality = None
    if is_lossy(video):
        dataset.LossyImageCompression = "01"
    _put_pixels(dataset, pixels)
    return encode(dataset)


def series_description(video: Video) -> str:
    """Of the series of key frames: it names the source."""
    return f"Key frames of {video.name}"[:64]


def is_lossy(video: Video) -> bool:
    """Whether the picture was compressed with loss on its way here; a camera on this computer may give it raw."""
    return video.url is None or not video.url.startswith("/dev/")


def _put_time(dataset: Any, name: str, when: datetime) -> None:
    setattr(dataset, f"{name}Date", when.strftime("%Y%m%d"))
    setattr(dataset, f"{name}Time", when.strftime("%H%M%S.%f"))


def _zone(offset: Any) -> tzinfo:
    """The zone of a Timezone Offset From UTC (0008,0201); UTC where there is none."""
    try:
        return datetime.strptime(str(offset).strip(), "%z").tzinfo or timezone.utc
    except ValueError:
        return timezone.utc


def _put_pixels(dataset: Any, pixels: Array) -> None:
    dataset.SamplesPerPixel = 3
    dataset.PhotometricInterpretation = "RGB"
    dataset.PlanarConfiguration = 0
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelRepresentation = 0
    content = pixels.tobytes()
    dataset.add_new("PixelData", "OB", content + b"\0" * (len(content) % 2))
