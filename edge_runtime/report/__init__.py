"""From a concluded job to what is sent: DICOM SR, SEG, Secondary Capture and JSON."""
