"""What a good engineer writes in a day: receive with pynetdicom, run the two networks, answer with highdicom.

It shares no code with the daemon. Images stay in memory, nothing is synced, a crash loses what was acknowledged.

    python -m benchmarks.peers.day_script LOCATOR.onnx SEGMENTER.onnx QUIET_SECONDS folder:PATH|dicom:PORT PORT
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import highdicom as hd
import nibabel
import numpy as np
import onnxruntime
from highdicom.sr import coding
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid
from pynetdicom import AE, evt
from pynetdicom.sop_class import (
    Comprehensive3DSRStorage,
    CTImageStorage,
    MRImageStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
    Verification,
)
from scipy import ndimage

OVERLAYS = 4
MARGIN = 0.1
EVERYWHERE = np.ones((3, 3, 3))


def command(engines: Sequence[Path], quiet_seconds: float, destination: str) -> list[str]:
    """The command line but for the port, from two engine folders of the daemon."""
    networks = [str(next(iter(sorted(engine.glob("onnxruntime-*/engine.onnx"))))) for engine in engines]
    return [sys.executable, "-m", "benchmarks.peers.day_script", *networks, str(quiet_seconds), destination]


# -- receiving ------------------------------------------------------------------------------------------------------


class Receiver:
    """Collects data sets by series until a series is quiet."""

    def __init__(self, port: int, quiet_seconds: float) -> None:
        self._quiet = quiet_seconds
        self._lock = threading.Lock()
        self._series: dict[str, list[Any]] = {}
        self._last: dict[str, float] = {}
        ae = AE("EDGE")
        ae.maximum_pdu_size = 131_072
        for sop_class in (MRImageStorage, CTImageStorage, Verification):
            ae.add_supported_context(sop_class, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
        ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)])

    def _store(self, event: Any) -> int:
        data_set = event.dataset
        data_set.file_meta = event.file_meta
        with self._lock:
            self._series.setdefault(data_set.SeriesInstanceUID, []).append(data_set)
            self._last[data_set.SeriesInstanceUID] = time.monotonic()
        return 0x0000

    def wait(self) -> list[Any]:
        """The next series that is complete."""
        while True:
            with self._lock:
                for uid, at in self._last.items():
                    if time.monotonic() - at >= self._quiet:
                        del self._last[uid]
                        return self._series.pop(uid)
            time.sleep(0.02)


# -- the networks ---------------------------------------------------------------------------------------------------


def load(path: str) -> Any:
    """A session on all cores."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = os.cpu_count() or 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def resize(array: Any, shape: Sequence[int]) -> Any:
    """Nearest neighbour, as torch's nearest-exact."""
    grids = [np.minimum(((np.arange(n) + 0.5) * s / n).astype(int), s - 1)
             for n, s in zip(shape, array.shape, strict=True)]  # fmt: skip
    return array[np.ix_(*grids)]


def normalize(array: Any, low: float, high: float) -> Any:
    """Window to 0..1, then mean 0.449 and deviation 0.226, with the axes of batch and channel."""
    array = np.clip((array - low) / (high - low), 0, 1)
    array = (array - array.mean()) / array.std() * 0.226 + 0.449
    return array.astype(np.float32)[None, None]


def infer(session: Any, array: Any) -> Any:
    """True where the brain's probability is above a half."""
    return session.run(None, {session.get_inputs()[0].name: array})[0][0, 1] > 0.5


def largest(mask: Any) -> Any:
    """The largest connected part."""
    labels, count = ndimage.label(mask, structure=EVERYWHERE)
    return mask if count < 2 else labels == np.bincount(labels.ravel())[1:].argmax() + 1


def segment(locator: Any, segmenter: Any, volume: Any) -> Any:
    """The brain's mask of a volume in RAS order."""
    side = locator.get_inputs()[0].shape[-1]
    small = resize(volume, (side,) * 3)
    low, high = np.quantile(small, [0.005, 0.995])
    found = largest(infer(locator, normalize(small, low, high)))
    box = []
    for axis, extent in enumerate(volume.shape):
        share = found.mean(axis=tuple(k for k in range(3) if k != axis))
        hit = np.flatnonzero(share > 0.02) * extent / side
        a, b = hit[0], hit[-1] + extent / side
        centre, size = round((a + b) / 2), round((1 + 2 * MARGIN) * (b - a))
        box.append(slice(max(0, int(centre - size / 2)), min(extent, int(centre + size / 2))))
    cut = volume[tuple(box)]
    big = segmenter.get_inputs()[0].shape[-1]
    inside = resize(infer(segmenter, normalize(resize(cut, (big,) * 3), low, high)), cut.shape)
    mask = np.zeros(volume.shape, bool)
    mask[tuple(box)] = ndimage.binary_fill_holes(largest(inside))
    return mask


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


# -- the answer -----------------------------------------------------------------------------------------------------


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


def main() -> None:
    """Serve until SIGTERM; one line a study says that it was delivered and how long its steps took."""
    locator_path, segmenter_path, quiet, destination, port = sys.argv[1:]
    locator, segmenter = load(locator_path), load(segmenter_path)
    receiver = Receiver(int(port), float(quiet))
    while True:
        series = receiver.wait()
        marks = [time.monotonic()]
        series, volume, back, voxel_ml = stack(series)
        marks.append(time.monotonic())
        mask = nibabel.apply_orientation(segment(locator, segmenter, volume), back).astype(bool)
        marks.append(time.monotonic())
        volume_ml = float(mask.sum()) * voxel_ml
        seg = write_seg(series, mask)
        results = [seg, write_sr(series, seg, volume_ml), *write_captures(series, mask)]
        marks.append(time.monotonic())
        deliver(results, destination, {"brain_ml": volume_ml})
        marks.append(time.monotonic())
        names = ("decode", "infer", "write", "send")
        steps = {name: b - a for name, a, b in zip(names, marks[:-1], marks[1:], strict=True)}
        print("delivered", json.dumps(steps), flush=True)


if __name__ == "__main__":
    main()
