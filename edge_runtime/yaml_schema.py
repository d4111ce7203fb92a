"""Read a YAML file into a dataclass schema, and name file, line, key and a suggestion for everything that is wrong.

Accepted field types: str, int, float, bool, another dataclass, `tuple[T, ...]`, `T | None`, and `Mapping[str, Any]`,
which takes any mapping as it stands.
A field's metadata may hold `choices` (for a string or the items of a tuple) and `shorthand` (the field that a bare
string stands for). A dataclass reports what is wrong with its values as `ValueError("key: message")`.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml

from edge_runtime.errors import ConfigurationError

T = TypeVar("T")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, where, and what was probably meant."""

    place: str  # "site.yaml:12" or "--set spool.path"
    key: str
    message: str
    suggestion: str | None = None

    def __str__(self) -> str:
        hint = f" (did you mean {self.suggestion!r}?)" if self.suggestion else ""
        return f"{self.place}: {self.key}: {self.message}{hint}" if self.key else f"{self.place}: {self.message}{hint}"


class ConfigurationInvalid(ConfigurationError):
    """The file does not fit the schema; `problems` holds every place."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(p) for p in problems))
        self.problems = tuple(problems)


class _Loader(yaml.SafeLoader):
    """A safe loader that also reads 1e3 and 1_000.5 as numbers."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def read_schema(schema: type[T], path: Path, overrides: Sequence[str] = ()) -> T:
    """Read `path` into `schema` after applying `key.path=value` overrides.

    Raises:
        ConfigurationInvalid: the file cannot be read, is no YAML, or does not fit; with every problem found.
    """
    root = _compose(path)
    for text in overrides:
        _override(root, text, path)
    reader = _Reader(path)
    value = reader.build(schema, root, "")
    if reader.problems:
        raise ConfigurationInvalid(reader.problems)
    return cast("T", value)


def _compose(path: Path) -> yaml.MappingNode:
    def fail(message: str, line: int | None = None) -> typing.NoReturn:
        place = str(path) if line is None else f"{path}:{line}"
        raise ConfigurationInvalid([Problem(place, "", message)])

    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as error:
        fail(f"cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        fail("is not UTF-8 text")
    except RecursionError:
        fail("is nested too deeply")
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        causes = (getattr(error, name, None) for name in ("context", "problem", "reason"))
        fail(f"is no YAML: {', '.join(c for c in causes if c)}", None if mark is None else mark.line + 1)
    if not isinstance(node, yaml.MappingNode):
        fail("must hold a mapping of keys to values", 1)
    return node


def _override(root: yaml.MappingNode, text: str, path: Path) -> None:
    """Put the value of `key.path=value` into the node tree. List items are reached by their `name`."""
    keys, separator, value = text.partition("=")
    place = f"--set {keys}"
    if not separator or not all(keys.split(".")):
        raise ConfigurationInvalid([Problem(f"--set {text}", "", "write key.path=value")])
    try:
        leaf = yaml.compose(value, Loader=_Loader) or yaml.ScalarNode("tag:yaml.org,2002:null", "")
        _mark(leaf, place)
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigurationInvalid([Problem(place, "", f"the value is no YAML: {value[:80]!r}")]) from error
    *parents, last = _named_parts(root, keys, place)
    node: yaml.Node = root
    for key in parents:
        node = _step(node, key, place, path)
    if not isinstance(node, yaml.MappingNode):
        raise ConfigurationInvalid([Problem(place, "", f"{last!r} is no key there")])
    _put(node, last, leaf, place)


def _named_parts(root: yaml.MappingNode, keys: str, place: str) -> list[str]:
    """Split a key path at dots, except the dots inside the name of a list's item."""
    parts = keys.split(".")
    items = next((v for k, v in root.value if k.value == parts[0]), None)
    if not isinstance(items, yaml.SequenceNode) or len(parts) == 1:
        return parts
    names = [name for item in items.value if (name := _name_of(item)) is not None]
    rest = keys[len(parts[0]) + 1 :]
    for name in sorted(names, key=len, reverse=True):
        if rest.startswith(name + "."):
            return [parts[0], name, *rest[len(name) + 1 :].split(".")]
    if rest in names:
        raise ConfigurationInvalid([Problem(place, "", f"write the key of {rest!r} that gets the value")])
    close = difflib.get_close_matches(parts[1], names, n=1)
    message = f"{parts[0]} has no item named {parts[1]!r}; there are: {', '.join(names) or 'none'}"
    raise ConfigurationInvalid([Problem(place, "", message, close[0] if close else None)])


def _name_of(node: yaml.Node) -> str | None:
    if isinstance(node, yaml.MappingNode):
        return next((v.value for k, v in node.value if k.value == "name" and isinstance(v, yaml.ScalarNode)), None)
    return None


def _step(node: yaml.Node, key: str, place: str, path: Path) -> yaml.Node:
    """The child of that key or name; a copy of its own, for anchors let other places share the same node."""
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            if _name_of(item) == key:
                node.value[index] = _copy(item)
                return cast("yaml.Node", node.value[index])
    elif isinstance(node, yaml.MappingNode):
        for index, (name, item) in enumerate(node.value):
            if name.value == key:
                node.value[index] = (name, _copy(item))
                return cast("yaml.Node", node.value[index][1])
        child = yaml.MappingNode("tag:yaml.org,2002:map", [])
        _mark(child, place)
        _put(node, key, child, place)
        return child
    raise ConfigurationInvalid([Problem(place, "", f"there is nothing named {key!r} in {path}")])


def _copy(node: yaml.Node) -> yaml.Node:
    twin = copy.copy(node)
    twin.value = copy.copy(node.value)
    return twin


def _put(node: yaml.MappingNode, key: str, value: yaml.Node, place: str) -> None:
    name = yaml.ScalarNode("tag:yaml.org,2002:str", key)
    _mark(name, place)
    node.value = [(k, v) for k, v in node.value if k.value != key] + [(name, value)]


def _mark(node: yaml.Node, place: str) -> None:
    """Make errors below this node name the command line instead of a line of the file."""
    node.start_mark = yaml.Mark(place, 0, -1, 0, None, 0)
    children: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        children = node.value
    elif isinstance(node, yaml.MappingNode):
        children = [part for pair in node.value for part in pair]
    for child in children:
        _mark(child, place)


class _Reader:
    """Builds values from nodes and collects every problem on the way."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[Problem] = []

    def problem(self, node: yaml.Node, key: str, message: str, suggestion: str | None = None) -> None:
        mark = node.start_mark
        place = f"{self.path}:{mark.line + 1}" if mark.line >= 0 else str(mark.name)
        self.problems.append(Problem(place, key, message, suggestion))

    def build(self, kind: Any, node: yaml.Node, key: str, metadata: Mapping[str, Any] | None = None) -> Any:
        """The value of `node` as `kind`, or None after a problem was noted."""
        metadata = metadata or {}
        kind, optional = _without_none(kind)
        if node.tag == "tag:yaml.org,2002:null":
            if not optional:
                self.problem(node, key, "needs a value; leave the key out to take the default")
            return None
        if dataclasses.is_dataclass(kind):
            return self._dataclass(cast("type[Any]", kind), node, key, metadata)
        if typing.get_origin(kind) is tuple:
            return self._tuple(typing.get_args(kind)[0], node, key, metadata)
        if typing.get_origin(kind) is Mapping:
            return self._mapping(node, key)
        return self._scalar(kind, node, key, metadata.get("choices"))

    def _dataclass(self, kind: type[Any], node: yaml.Node, key: str, metadata: Mapping[str, Any]) -> Any:
        shorthand = metadata.get("shorthand")
        if shorthand and isinstance(node, yaml.ScalarNode):
            short = yaml.ScalarNode("tag:yaml.org,2002:str", shorthand, node.start_mark, node.end_mark)
            node = yaml.MappingNode("tag:yaml.org,2002:map", [(short, node)], node.start_mark, node.end_mark)
        if not isinstance(node, yaml.MappingNode):
            self.problem(node, key, "must be a mapping of keys to values")
            return None
        fields = {f.name: f for f in dataclasses.fields(kind)}
        hints = typing.get_type_hints(kind)
        before = len(self.problems)
        values: dict[str, Any] = {}
        places: dict[str, yaml.Node] = {}
        for name, child, name_node in self._items(node, key):
            path = f"{key}.{name}" if key else name
            if name not in fields:
                close = difflib.get_close_matches(name, fields, n=1)
                message = f"unknown key; known here: {', '.join(fields)}"
                self.problem(name_node, path, message, close[0] if close else None)
                continue
            places[name] = child
            values[name] = self.build(hints[name], child, path, fields[name].metadata)
        for name, f in fields.items():
            required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
            if required and name not in places:
                self.problem(node, f"{key}.{name}" if key else name, "is required and missing")
        if len(self.problems) > before:
            return None
        return self._construct(kind, values, node, key, places)

    def _construct(
        self, kind: type[Any], values: dict[str, Any], node: yaml.Node, key: str, places: dict[str, yaml.Node]
    ) -> Any:
        try:
            return kind(**values)
        except ValueError as error:
            name, separator, message = str(error).partition(": ")
            first = re.split(r"[.\[]", name)[0]
            if not separator or first not in {f.name for f in dataclasses.fields(kind)}:
                name, message = "", str(error)
            where = _node_at(places.get(first, node), name)
            self.problem(where, ".".join(part for part in (key, name) if part), message)
            return None

    def _items(self, node: yaml.MappingNode, key: str) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
        seen: set[str] = set()
        for name_node, child in node.value:
            if not isinstance(name_node, yaml.ScalarNode):
                self.problem(name_node, key, "a key must be text")
                continue
            if name_node.tag == "tag:yaml.org,2002:merge":
                self.problem(name_node, key, "merge keys (<<) are not supported; write the keys out")
                continue
            name = str(name_node.value)
            if name in seen:
                self.problem(name_node, f"{key}.{name}" if key else name, "stands twice; keep one of the two")
                continue
            seen.add(name)
            yield name, child, name_node

    def _tuple(self, item: Any, node: yaml.Node, key: str, metadata: Mapping[str, Any]) -> tuple[Any, ...]:
        if isinstance(node, yaml.ScalarNode) and not dataclasses.is_dataclass(item):
            return (self.build(item, node, key, metadata),)
        if not isinstance(node, yaml.SequenceNode):
            self.problem(node, key, "must be a list")
            return ()
        return tuple(self.build(item, child, f"{key}[{i}]", metadata) for i, child in enumerate(node.value))

    def _mapping(self, node: yaml.Node, key: str) -> dict[str, Any]:
        if not isinstance(node, yaml.MappingNode):
            self.problem(node, key, "must be a mapping of keys to values")
            return {}
        loader = _Loader("")
        try:
            return {name: loader.construct_object(child, deep=True) for name, child, _ in self._items(node, key)}
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            self.problem(node, key, f"is no YAML: {getattr(error, 'problem', None) or error}")
            return {}
        finally:
            loader.dispose()

    def _scalar(self, kind: type[Any], node: yaml.Node, key: str, choices: Sequence[str] | None) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            self.problem(node, key, f"must be {_KIND_NAMES[kind]}")
            return None
        value = _constructed(node)
        if kind is float and type(value) is int and abs(value) < _LARGEST:
            value = float(value)
        if kind is str and not isinstance(value, str):
            self.problem(node, key, "must be text; put it in quotes", f'"{node.value}"')
            return None
        if type(value) is not kind or (isinstance(value, float) and not abs(value) < _LARGEST):
            self.problem(node, key, f"must be {_KIND_NAMES[kind]}, got {node.value!r}")
            return None
        if choices is not None and value not in choices:
            close = difflib.get_close_matches(str(value), choices, n=1)
            self.problem(node, key, f"must be one of {', '.join(choices)}, got {value!r}", close[0] if close else None)
            return None
        return value


def _constructed(node: yaml.ScalarNode) -> object:
    """The value that YAML gives a scalar; None for one that is not what its tag says, or whose tag is not YAML's."""
    loader = _Loader("")
    try:
        return cast("object", loader.construct_object(node))
    except (yaml.YAMLError, ValueError, LookupError, AttributeError):
        return None
    finally:
        loader.dispose()


_LARGEST = 1e300
_KIND_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def _without_none(kind: Any) -> tuple[Any, bool]:
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        rest = [k for k in typing.get_args(kind) if k is not type(None)]
        return rest[0], len(rest) < len(typing.get_args(kind))
    return kind, False


def _node_at(node: yaml.Node, key: str) -> yaml.Node:
    """The node that `pipelines[0].send_to[1]` names, as deep as the tree goes; `node` is that of the first key."""
    for step in re.findall(r"\[(\d+)\]|\.(\w+)", key):
        index, name = step
        if index and isinstance(node, yaml.SequenceNode) and int(index) < len(node.value):
            node = node.value[int(index)]
        elif name and isinstance(node, yaml.MappingNode):
            node = next((v for k, v in node.value if k.value == name), node)
    return node
