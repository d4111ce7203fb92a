"""Receiving DICOM: PDUs from the network become durable instance files. Nothing here decodes a pixel."""
