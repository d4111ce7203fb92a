"""What JSON gives, as a frozen dataclass: exactly its keys, exactly its types, and what it says of its values."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any, TypeVar, cast

T = TypeVar("T")

_LARGEST = 1 << 1000  # of an integer that becomes a floating-point number


class NotOfSchema(ValueError):
    """A value is not what the dataclass says. The message names its key."""


def build(kind: type[T], value: Any, key: str) -> T:
    """`value`, as JSON gives it, as `kind`: a dataclass, a tuple, a scalar, or None where allowed.

    Raises:
        NotOfSchema: it is something else.
    """
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        inner = next(k for k in typing.get_args(kind) if k is not type(None))
        return cast("T", None if value is None else build(inner, value, key))
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise NotOfSchema(f"{key} must be a list")
        item = typing.get_args(kind)[0]
        return cast("T", tuple(build(item, v, f"{key}[{i}]") for i, v in enumerate(value)))
    if dataclasses.is_dataclass(kind):
        return _dataclass(cast("type[T]", kind), value, key)
    if kind is float and type(value) is int and abs(value) < _LARGEST:
        return cast("T", float(value))
    if type(value) is not kind:
        raise NotOfSchema(f"{key} must be {kind.__name__}, got {type(value).__name__}")
    return value


def _dataclass(kind: type[T], value: Any, key: str) -> T:
    fields = {f.name: f for f in dataclasses.fields(cast("Any", kind))}
    if not isinstance(value, dict) or set(value) != set(fields):
        expected = ", ".join(sorted(fields))
        raise NotOfSchema(f"{key} must have exactly the keys {expected}")
    hints = typing.get_type_hints(kind)
    try:
        return kind(**{name: build(hints[name], value[name], f"{key}.{name}") for name in fields})
    except NotOfSchema:
        raise
    except ValueError as error:
        raise NotOfSchema(f"{key}: {error}") from error
