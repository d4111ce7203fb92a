"""Edge Runtime: DICOM and video inference beside the scanner, within latency budgets."""

__version__ = "0.1.0"
