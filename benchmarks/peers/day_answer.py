"""A day's way from DICOM to a volume, and from a mask to DICOM: sorting, SEG, SR and captures with highdicom, sending.

It shares no code with the daemon.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import highdicom as hd
import nibabel
import numpy as np
from highdicom.sr import coding
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid
from pynetdicom import AE
from pynetdicom.sop_class import Comprehensive3DSRStorage, SecondaryCaptureImageStorage, SegmentationStorage
from scipy import ndimage

OVERLAYS = 4


def stack(series: list[Any]) -> tuple[list[Any], Any, Any, float]:
    """Sorted data sets, the volume in RAS order, its way back, and a voxel's volume in ml."""
    first = series[0]
    row, column = np.array(first.ImageOrientationPatient, float).reshape(2, 3)
    normal = np.cross(row, column)
    series = sorted(series, key=lambda d: float(np.dot(normal, np.array(d.ImagePositionPatient, float))))
    step = np.subtract(np.array(series[1].ImagePositionPatient, float), np.array(series[0].ImagePositionPatient, float))
    volume = np.stack([d.pixel_array.astype(np.float32) * float(d.get("RescaleSlope", 1))
                       + float(d.get("RescaleIntercept", 0)) for d in series])  # fmt: skip
    down, across = (float(value) for value in first.PixelSpacing)
    affine = np.eye(4)
    affine[:3, :3] = np.column_stack([step, column * down, row * across]) * np.array([[-1], [-1], [1]])
    turn = nibabel.io_orientation(affine)
    back = nibabel.orientations.ornt_transform(nibabel.orientations.axcodes2ornt("RAS"), turn)
    return series, nibabel.apply_orientation(volume, turn), back, float(np.linalg.norm(step)) * down * across / 1000


def write_seg(series: list[Any], mask: Any) -> Any:
    """The mask as a binary segmentation."""
    algorithm = hd.AlgorithmIdentificationSequence(name="brain", family=codes.DCM.ArtificialIntelligence, version="1")
    description = hd.seg.SegmentDescription(
        segment_number=1, segment_label="brain", segmented_property_category=codes.SCT.AnatomicalStructure,
        segmented_property_type=codes.SCT.Brain, algorithm_type="AUTOMATIC", algorithm_identification=algorithm,
    )  # fmt: skip
    return hd.seg.Segmentation(
        source_images=series, pixel_array=mask.astype(np.uint8), segmentation_type="BINARY",
        segment_descriptions=[description], series_instance_uid=generate_uid(), series_number=901,
        sop_instance_uid=generate_uid(), instance_number=1, manufacturer="Script", manufacturer_model_name="Script",
        software_versions="1", device_serial_number="1",
    )  # fmt: skip


def write_sr(series: list[Any], seg: Any, volume_ml: float) -> Any:
    """The volume as a TID 1500 report."""
    observer = hd.sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(uid=generate_uid()),
    )
    group = hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        referenced_segment=hd.sr.ReferencedSegment(
            seg.SOPClassUID, seg.SOPInstanceUID, 1,
            source_series=hd.sr.SourceSeriesForSegmentation(series[0].SeriesInstanceUID),
        ),
        tracking_identifier=hd.sr.TrackingIdentifier(uid=generate_uid(), identifier="brain"),
        finding_type=codes.SCT.Brain, algorithm_id=hd.sr.AlgorithmIdentification("brain", "1"),
        measurements=[
            hd.sr.Measurement(
                name=codes.SCT.Volume, value=volume_ml, unit=coding.CodedConcept("ml", "UCUM", "milliliter")
            )
        ],
    )  # fmt: skip
    content = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=observer),
        procedure_reported=coding.CodedConcept("363679005", "SCT", "Imaging procedure"), imaging_measurements=[group],
    )  # fmt: skip
    return hd.sr.Comprehensive3DSR(
        evidence=[*series, seg], content=content, series_instance_uid=generate_uid(), series_number=902,
        sop_instance_uid=generate_uid(), instance_number=1, manufacturer="Script", is_complete=True,
    )  # fmt: skip


def write_captures(series: list[Any], mask: Any) -> list[Any]:
    """Slices with the outline in green."""
    filled = np.flatnonzero(mask.any(axis=(1, 2)))
    uid, made = generate_uid(), []
    for number in range(OVERLAYS):
        index = int(filled[int((number + 0.5) / OVERLAYS * len(filled))])
        grey = series[index].pixel_array.astype(np.float32)
        grey = np.clip(grey / max(1.0, np.quantile(grey, 0.995)) * 255, 0, 255).astype(np.uint8)
        picture = np.repeat(grey[..., None], 3, axis=-1)
        picture[mask[index] & ~ndimage.binary_erosion(mask[index])] = (0, 255, 0)
        made.append(
            hd.sc.SCImage.from_ref_dataset(
                series[index], pixel_array=picture, photometric_interpretation="RGB", bits_allocated=8,
                coordinate_system="PATIENT", patient_orientation=("L", "P"), series_instance_uid=uid,
                series_number=903, sop_instance_uid=generate_uid(), instance_number=number + 1, manufacturer="Script",
            )
        )  # fmt: skip
    return made


def deliver(results: list[Any], destination: str, document: dict[str, float]) -> None:
    """Write to a folder, or send over one association."""
    kind, _, where = destination.partition(":")
    if kind == "folder":
        for result in results:
            partial = Path(where) / f".{result.SOPInstanceUID}"
            result.save_as(partial, enforce_file_format=True)
            partial.rename(Path(where) / f"{result.SOPInstanceUID}.dcm")
        (Path(where) / f"{results[0].SOPInstanceUID}.json").write_text(json.dumps(document))
        return
    ae = AE("SCRIPT")
    for sop_class in (SegmentationStorage, Comprehensive3DSRStorage, SecondaryCaptureImageStorage):
        ae.add_requested_context(sop_class, ExplicitVRLittleEndian)
        ae.add_requested_context(sop_class, ImplicitVRLittleEndian)
    association = ae.associate("127.0.0.1", int(where), ae_title="PLACE")
    for result in results:
        answer = association.send_c_store(result)
        if "Status" not in answer or answer.Status != 0x0000:
            raise RuntimeError(f"C-STORE answered {answer}")
    association.release()
