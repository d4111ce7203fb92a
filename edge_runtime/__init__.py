"""Edge Runtime: DICOM and video inference beside the scanner, within latency budgets."""

__version__ = "0.2.0"
