"""NIfTI files as volumes, and masks on the grid of an image."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np

from edge_runtime.domain import Array, Geometry, SourceImage, Volume
from edge_runtime.engines.views import Placement
from edge_runtime.errors import BackendUnavailable, ConfigurationError
from edge_runtime.preprocess import placing

SUFFIXES = (".nii", ".nii.gz")
_SOURCE = SourceImage("sample", "sample")
_MILLIMETRES = {"meter": 1000.0, "micron": 0.001}
_TOLERANCE = 0.1  # of the smallest spacing: how far the corners of two grids that are the same may lie apart


def read_nifti(path: Path) -> Volume:
    """The volume of a NIfTI file: array axes (i, j, k) become (column, row, slice); RAS coordinates become LPS.

    Raises:
        ConfigurationError: it is no NIfTI file, is damaged, has more than three axes, or does not say how it lies.
        BackendUnavailable: nibabel is missing.
    """
    try:
        import nibabel
    except ModuleNotFoundError as error:
        raise BackendUnavailable(f"{path}: NIfTI needs the package nibabel; run: pip install nibabel") from error
    try:
        image = nibabel.load(path)
        if image.get_data_dtype().kind == "c":
            raise ValueError("its voxels are complex numbers")
        voxels = np.asarray(image.dataobj, dtype=np.float32)
    except Exception as error:  # damaged bytes may raise anything
        raise ConfigurationError(f"{path}: cannot be read as NIfTI: {str(error) or type(error).__name__}") from error
    while voxels.ndim > 3 and voxels.shape[-1] == 1:
        voxels = voxels[..., 0]
    if voxels.ndim != 3 or not voxels.size:
        raise ConfigurationError(f"{path}: a volume has three axes, this NIfTI file is {voxels.shape}")
    if not (int(image.header["qform_code"]) or int(image.header["sform_code"])):
        raise ConfigurationError(f"{path}: its qform and sform codes are 0, so it does not say how it lies in space")
    scale = _MILLIMETRES.get(image.header.get_xyzt_units()[0], 1.0)
    geometry = _geometry(path, voxels.shape, np.asarray(image.affine, dtype=np.float64), scale)
    turned = np.ascontiguousarray(voxels.transpose(2, 1, 0))
    return Volume(turned, geometry, "OT", (_SOURCE,) * len(turned))


def _geometry(path: Path, extents: tuple[int, ...], affine: Array, scale: float) -> Geometry:
    lps = np.diag([-1.0, -1.0, 1.0]) @ affine[:3] * scale
    steps = lps[:, :3].T[::-1]  # along slice, row and column
    spacing = np.linalg.norm(steps, axis=1)
    try:
        axes = (steps / spacing[:, None]).tolist()
        return Geometry(
            shape=(extents[2], extents[1], extents[0]),
            origin_mm=(float(lps[0, 3]), float(lps[1, 3]), float(lps[2, 3])),
            directions=(tuple(axes[0]), tuple(axes[1]), tuple(axes[2])),
            spacing_mm=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
        )
    except ValueError as error:
        raise ConfigurationError(f"{path}: its affine makes no rectangular grid: {error}") from error


def on_grid(path: Path, mask: Volume, image: Volume) -> Array:
    """Where a mask is not 0, bool, on the image's grid, whose axes may be in another order or direction.

    Raises:
        ConfigurationError: it lies on another grid.
    """
    of_mask, of_image = (placing.oriented(volume.geometry, "SPL") for volume in (mask, image))
    if of_mask.oriented_shape == of_image.oriented_shape:
        corners = [_corners(volume.geometry, placement) for volume, placement in ((mask, of_mask), (image, of_image))]
        if np.abs(corners[0] - corners[1]).max() <= _TOLERANCE * min(image.geometry.spacing_mm):
            return of_image.restore(of_mask.orient(mask.voxels) != 0)
    found, wanted = mask.geometry, image.geometry
    raise ConfigurationError(
        f"{path}: the mask lies on another grid: {_said(found)}; the image: {_said(wanted)}. Resample it to the image"
    )


def _corners(geometry: Geometry, placement: Placement) -> Array:
    """LPS positions in mm of the eight corner voxels, in the order of the oriented axes."""
    ends = []
    for axis, flipped in zip(placement.axes, placement.flipped, strict=True):
        pair = (0.0, geometry.shape[axis] - 1.0)
        ends.append(pair[::-1] if flipped else pair)
    found = []
    for corner in itertools.product(*ends):
        index = [0.0, 0.0, 0.0]
        for axis, value in zip(placement.axes, corner, strict=True):
            index[axis] = value
        found.append(geometry.position_mm((index[0], index[1], index[2])))
    return np.array(found)


def _said(geometry: Geometry) -> str:
    spacing, origin = (tuple(round(v, 3) for v in values) for values in (geometry.spacing_mm, geometry.origin_mm))
    return f"{geometry.shape} voxels of {spacing} mm from {origin} mm"
