"""The kernels as code of a device: compiled by NVRTC where they run, and kept beside the engines."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from functools import cache as memoize
from pathlib import Path
from typing import Any

from edge_runtime.errors import BackendUnavailable, DeviceError

log = logging.getLogger("edge_runtime.kernels")

SUPPORTED = ((7, 5), (8, 0), (8, 6), (8, 7), (8, 9), (9, 0), (11, 0), (12, 0), (12, 1))
"""Compute capabilities that the kernels are tested for; a newer one gets PTX, which its driver compiles."""

OPTIONS = ("--std=c++17", "--fmad=false")
"""No fused multiply-add: then the arithmetic is that of the same source on the host, bit for bit."""

_MAGIC = b"EDGEKRN1"
_FOLDER = Path(__file__).parent


@memoize
def sources() -> dict[str, bytes]:
    """The kernels' sources and what they include, by file name."""
    return {path.name: path.read_bytes() for path in sorted(_FOLDER.glob("*.cu*"))}


def image(compute_capability: tuple[int, int], cache: Path | None) -> bytes:
    """All kernels in one module for a device of this compute capability: a cubin, or PTX where NVRTC is older.

    `cache`: a folder where it is kept for the next start; an entry that is damaged is made again.

    Raises:
        BackendUnavailable: NVRTC is missing, or the device is older than 7.5.
        DeviceError: NVRTC refused the sources; its log is in the message.
    """
    nvrtc, version, known = _nvrtc()
    architecture = _architecture(compute_capability, known)
    options = (*OPTIONS, f"--gpu-architecture={architecture}")
    if cache is None:
        return _compile(nvrtc, options)
    key = hashlib.sha256(repr((version, options, sorted(sources().items()))).encode()).hexdigest()[:32]
    entry = cache / f"kernels-{architecture}-{key}"
    found = _read(entry)
    if found is None:
        found = _compile(nvrtc, options)
        _write(entry, found)
    return found


def _architecture(compute_capability: tuple[int, int], known: tuple[int, ...]) -> str:
    major, minor = compute_capability
    if compute_capability < SUPPORTED[0]:
        raise BackendUnavailable(f"the GPU's compute capability is {major}.{minor}; the kernels need 7.5 or newer")
    wanted = major * 10 + minor
    if wanted in known:
        return f"sm_{wanted}"
    older = [n for n in known if n < wanted]
    if not older:
        raise BackendUnavailable(f"this NVRTC knows no compute capability up to {major}.{minor}; install another")
    log.warning("NVRTC does not know this GPU: its driver compiles the kernels from PTX",
                extra={"event": {"compute_capability": f"{major}.{minor}", "ptx": max(older)}})  # fmt: skip
    return f"compute_{max(older)}"


def _nvrtc() -> tuple[Any, tuple[int, int], tuple[int, ...]]:
    """The module, its version, and the compute capabilities that it knows, such as 89."""
    try:
        from cuda.bindings import nvrtc

        version = _checked(nvrtc, "nvrtcVersion", nvrtc.nvrtcVersion())
        (known,) = _checked(nvrtc, "nvrtcGetSupportedArchs", nvrtc.nvrtcGetSupportedArchs())
    except (ImportError, RuntimeError, OSError) as error:
        if isinstance(error, DeviceError):
            raise
        raise BackendUnavailable(
            f"the kernels need NVRTC, which cannot be loaded ({error}); install cuda-bindings and nvidia-cuda-nvrtc"
        ) from error
    return nvrtc, (version[0], version[1]), tuple(known)


def _compile(nvrtc: Any, options: tuple[str, ...]) -> bytes:
    """One program that includes every .cu file; no header of CUDA is needed."""
    names = list(sources())
    text = "".join(f'#include "{name}"\n' for name in names if name.endswith(".cu")).encode()
    (program,) = _checked(nvrtc, "nvrtcCreateProgram", nvrtc.nvrtcCreateProgram(
        text, b"kernels.cu", len(names), list(sources().values()), [name.encode() for name in names]))  # fmt: skip
    try:
        flags = [option.encode() for option in options]
        result = nvrtc.nvrtcCompileProgram(program, len(flags), flags)
        if result[0] != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            (size,) = _checked(nvrtc, "nvrtcGetProgramLogSize", nvrtc.nvrtcGetProgramLogSize(program))
            log_text = bytearray(size)
            _checked(nvrtc, "nvrtcGetProgramLog", nvrtc.nvrtcGetProgramLog(program, log_text))
            raise DeviceError("nvrtcCompileProgram", result[0].name, log_text.rstrip(b"\0").decode(errors="replace"))
        kind = "PTX" if "compute_" in options[-1] else "CUBIN"
        (size,) = _checked(nvrtc, f"nvrtcGet{kind}Size", getattr(nvrtc, f"nvrtcGet{kind}Size")(program))
        code = bytearray(size)
        _checked(nvrtc, f"nvrtcGet{kind}", getattr(nvrtc, f"nvrtcGet{kind}")(program, code))
        return bytes(code)
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def _checked(nvrtc: Any, call: str, result: tuple[Any, ...]) -> tuple[Any, ...]:
    if result[0] != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        raise DeviceError(call, result[0].name)
    return result[1:]


def _read(entry: Path) -> bytes | None:
    """What the entry holds, None where it is missing or damaged."""
    try:
        data = entry.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("the kernels' cache cannot be read", extra={"event": {"error": error.strerror}})
        return None
    head = len(_MAGIC) + hashlib.sha256().digest_size
    if data[:head] != _MAGIC + hashlib.sha256(data[head:]).digest():
        log.warning("an entry of the kernels' cache is damaged; it is made again")
        return None
    return data[head:]


def _write(entry: Path, code: bytes) -> None:
    """Keep it, or say in one line that it cannot be kept."""
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        handle, scratch = tempfile.mkstemp(dir=entry.parent, prefix=".kernels-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_MAGIC + hashlib.sha256(code).digest() + code)
            os.replace(scratch, entry)
        except OSError:
            os.unlink(scratch)
            raise
    except OSError as error:
        log.warning("the kernels cannot be kept; each start compiles them again",
                    extra={"event": {"folder": str(entry.parent), "error": error.strerror}})  # fmt: skip
