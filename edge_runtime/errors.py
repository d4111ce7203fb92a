"""Every error that Edge Runtime raises on purpose. Each message says what, which item, what to do.

EdgeRuntimeError
+-- ConfigurationError      the YAML file is wrong                            exit 78
+-- EngineError             an engine or a device cannot be used              exit 69
|   +-- EngineRejected      hash, signature, target or golden output differ
|   +-- BackendUnavailable  a package or a device is missing
|   +-- DeviceError         a call of the device's driver failed
|       +-- OutOfDeviceMemory
|       +-- CaptureFailed   work could not be recorded as a graph; it can still be done piece by piece
|       +-- DeviceLost      this process can use the device no more           exit 75
+-- SpoolError              the spool cannot be read or written               exit 1
|   +-- SpoolLocked         another process holds it
|   +-- SpoolTooNew         a newer runtime made it                         exit 78
|   +-- StepRefused         an item is no longer in a state where this step is possible
|   +-- SpoolFull           below the reserve, or ENOSPC/EIO: nothing was kept
+-- Refused                 this input gets no answer, and `reason` says why (a closed set)
|   +-- DecodeRefused       one object's pixels cannot be had
|   +-- AssemblyRefused     the objects make no volume and no frame sequence
+-- InferenceFailed         a stage failed on this job
+-- FrameDropped            a live frame was given up: it would be late
+-- ReportFailed            a result object could not be written
+-- DeliveryError           a destination did not take an object
    +-- DeliveryDeferred    try again later (away, full, aborted)
    +-- DeliveryParked      it will never take it as it is
"""

from __future__ import annotations

from typing import Any

EXIT_DONE = 0
EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_UNAVAILABLE = 69
EXIT_DEVICE_LOST = 75
"""Of a role, to its supervisor: a new process may well be able to use the device (EX_TEMPFAIL)."""
EXIT_CONFIGURATION = 78


class EdgeRuntimeError(Exception):
    """Base of the tree; `exit_code` is what a command ends with when this reaches its top."""

    exit_code = EXIT_FAILURE


class ConfigurationError(EdgeRuntimeError):
    """The configuration cannot be used."""

    exit_code = EXIT_CONFIGURATION


class EngineError(EdgeRuntimeError):
    """An engine or the device it needs cannot be used."""

    exit_code = EXIT_UNAVAILABLE


class EngineRejected(EngineError):
    """The engine is not the one that its passport describes, or not for this device."""


class BackendUnavailable(EngineError):
    """The package or the device behind a backend is missing."""


class DeviceError(EngineError):
    """A call of the device's driver failed. `call` is its name, `code` the driver's name of the error."""

    def __init__(self, call: str, code: str, advice: str = "") -> None:
        super().__init__(f"{call} failed with {code}" + (f"; {advice}" if advice else ""))
        self.call = call
        self.code = code


class OutOfDeviceMemory(DeviceError):
    """The device has not the memory that was asked for."""


class CaptureFailed(DeviceError):
    """What was appended to a stream could not be recorded as a graph."""


class DeviceLost(DeviceError):
    """The device, or this process's hold on it, is gone: every further call would fail in the same way."""

    exit_code = EXIT_DEVICE_LOST


class SpoolError(EdgeRuntimeError):
    """The spool cannot be read or written."""


class SpoolLocked(SpoolError):
    """Another process holds the spool, or the role's place in it."""


class SpoolTooNew(SpoolError):
    """A newer runtime made the spool or its journal: starting again does not help."""

    exit_code = EXIT_CONFIGURATION


class StepRefused(SpoolError):
    """The item is no longer in a state where this step is possible; it stays what it is."""


class SpoolFull(SpoolError):
    """The disk is below its reserve or did not take the bytes; nothing was kept."""


class Refused(EdgeRuntimeError):
    """This input gets no answer. `reason` comes from a closed set and may be a metric label."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class DecodeRefused(Refused):
    """The pixels of one object cannot be had."""


class AssemblyRefused(Refused):
    """The objects make no volume and no frame sequence."""


class InferenceFailed(EdgeRuntimeError):
    """A stage failed on this job."""


class FrameDropped(EdgeRuntimeError):
    """A live frame was given up before a stage, because its answer would be late. `records`: of the stages before."""

    def __init__(self, reason: str, records: tuple[Any, ...]) -> None:
        super().__init__(reason)
        self.records = records


class ReportFailed(EdgeRuntimeError):
    """A result object could not be written."""


class DeliveryError(EdgeRuntimeError):
    """A destination did not take an object."""


class DeliveryDeferred(DeliveryError):
    """The destination may take the object later."""


class DeliveryParked(DeliveryError):
    """The destination will never take the object as it is."""
