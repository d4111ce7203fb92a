"""Decoding in this process: what a decode process does, without the process."""

import os

import numpy as np
import pytest
from support.dicom_objects import save

from edge_runtime.assemble.decode_one import decode_file
from edge_runtime.assemble.decoded import DecodedObject, described


@pytest.fixture
def decode(tmp_path):
    """decode(path or data set, transfer_syntax="...") -> DecodedObject."""

    def decoded(source, transfer_syntax="1.2.840.10008.1.2.1", maximum_bytes=10**8):
        path = source if isinstance(source, os.PathLike) else save(source, tmp_path / "object.dcm", transfer_syntax)
        pixels_fd = os.memfd_create("pixels")
        try:
            answer = decode_file(path, pixels_fd, maximum_bytes, maximum_bytes + 10**6, lambda: False)
            size = os.fstat(pixels_fd).st_size
            frames = np.frombuffer(os.pread(pixels_fd, size, 0), answer["dtype"]).reshape(answer["shape"])
        finally:
            os.close(pixels_fd)
        return DecodedObject(*described(answer), frames)

    return decoded
