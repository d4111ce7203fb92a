"""Images for calibration and for the gate, read and prepared by the daemon's own code.

A folder of samples holds DICOM (a file, or a folder with one series), NIfTI, PNG, JPEG, TIFF, BMP, NumPy arrays
(`.npy`) and video, in any mixture and depth. What is true of them stands in its `truth.yaml`; see `truth`. Or a
generator makes them; see `generated`.
"""

from converters.samples.opening import SampleSet, inputs, open_samples, refuse_leakage
from converters.samples.sample import Sample, TrueBox, Truth, content_sha256

__all__ = [
    "Sample",
    "SampleSet",
    "TrueBox",
    "Truth",
    "content_sha256",
    "inputs",
    "open_samples",
    "refuse_leakage",
]
