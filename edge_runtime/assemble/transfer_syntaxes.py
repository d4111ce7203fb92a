"""The transfer syntaxes whose pixels can be decoded, and which decoder is used for each.

One decoder a syntax: a second one that is more tolerant would turn a broken stream into a guess.
"""

from __future__ import annotations

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.57"
JPEG_LOSSLESS_SV1 = "1.2.840.10008.1.2.4.70"
JPEG_LS = "1.2.840.10008.1.2.4.80"
JPEG_LS_NEAR = "1.2.840.10008.1.2.4.81"
JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.4.90"
JPEG_2000 = "1.2.840.10008.1.2.4.91"
RLE = "1.2.840.10008.1.2.5"

NATIVE = (IMPLICIT_LITTLE, EXPLICIT_LITTLE, DEFLATED, EXPLICIT_BIG)
JPEG_FAMILY = (JPEG_BASELINE, JPEG_EXTENDED, JPEG_LOSSLESS, JPEG_LOSSLESS_SV1)
JPEG_LS_FAMILY = (JPEG_LS, JPEG_LS_NEAR)
JPEG_2000_FAMILY = (JPEG_2000_LOSSLESS, JPEG_2000)

# Transfer syntax UID -> name of the pydicom decoding plugin.
PLUGINS = {
    JPEG_BASELINE: "gdcm",
    JPEG_EXTENDED: "imagecodecs",
    JPEG_LOSSLESS: "gdcm",
    JPEG_LOSSLESS_SV1: "gdcm",
    JPEG_LS: "pyjpegls",
    JPEG_LS_NEAR: "pyjpegls",
    JPEG_2000_LOSSLESS: "pylibjpeg",
    JPEG_2000: "pylibjpeg",
    RLE: "pylibjpeg",
}

DECODABLE = (*NATIVE, *PLUGINS)
