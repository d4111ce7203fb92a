"""Reading YAML into the schema: every problem has a place, a key and, where one is close, a suggestion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_runtime.config import Config
from edge_runtime.yaml_schema import ConfigurationInvalid, Problem, read_schema


@dataclass(frozen=True)
class Item:
    name: str
    size: int = 1
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError("size: must not be negative")


@dataclass(frozen=True)
class Inner:
    ratio: float = 0.5
    on: bool = False
    mode: str = field(default="fast", metadata={"choices": ("fast", "small")})


@dataclass(frozen=True)
class Root:
    title: str = "none"
    inner: Inner = Inner()
    other: Inner = Inner()
    items: tuple[Item, ...] = ()
    links: tuple[Item, ...] = field(default=(), metadata={"shorthand": "name"})
    note: str | None = "absent"


def read(tmp_path: Path, text: str | bytes, *overrides: str, schema: type = Root):
    path = tmp_path / "site.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_schema(schema, path, overrides)


def problems(tmp_path: Path, text: str | bytes, *overrides: str, schema: type = Root) -> list[Problem]:
    with pytest.raises(ConfigurationInvalid) as caught:
        read(tmp_path, text, *overrides, schema=schema)
    assert caught.value.exit_code == 78
    return list(caught.value.problems)


def only(found: list[Problem]) -> Problem:
    (problem,) = found
    return problem


def line_of(problem: Problem) -> int:
    return int(problem.place.rsplit(":", 1)[1])


def test_everything_that_fits_is_read(tmp_path: Path) -> None:
    text = """
title: a title
inner: {ratio: 2, on: true, mode: small}
items:
  - {name: one, size: 5_000, tags: [a, b]}
  - name: two
    tags: single
links: [plain, {name: full, size: 3}]
note: null
"""
    assert read(tmp_path, text) == Root(
        title="a title",
        inner=Inner(2.0, on=True, mode="small"),
        items=(Item("one", 5000, ("a", "b")), Item("two", tags=("single",))),
        links=(Item("plain"), Item("full", 3)),
        note=None,
    )


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    assert read(tmp_path, "{}") == Root()


def test_an_unknown_key_is_refused_with_line_key_and_suggestion(tmp_path: Path) -> None:
    problem = only(problems(tmp_path, "title: a\ninner:\n  on: true\n  ratoi: 1\n"))
    assert (line_of(problem), problem.key, problem.suggestion) == (4, "inner.ratoi", "ratio")
    assert "known here: ratio, on, mode" in problem.message
    assert str(problem).startswith(f"{tmp_path}/site.yaml:4: inner.ratoi: ")
    assert str(problem).endswith("(did you mean 'ratio'?)")


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    text = "titel: a\ninner: {ratio: high, mode: fst}\nitems:\n  - {size: 1}\n  - {name: b, size: -1}\n"
    found = problems(tmp_path, text)
    assert [(line_of(p), p.key) for p in found] == [
        (1, "titel"), (2, "inner.ratio"), (2, "inner.mode"), (4, "items[0].name"), (5, "items[1].size"),
    ]  # fmt: skip
    assert found[2].suggestion == "fast"


@pytest.mark.parametrize(
    ("text", "key", "says"),
    [
        ("title: 12", "title", "put it in quotes"),
        ("title: NO", "title", "put it in quotes"),
        ("title: 10.1", "title", "put it in quotes"),
        ("title: 2026-11-23", "title", "put it in quotes"),
        ("title: 2026-13-45", "title", "put it in quotes"),
        ("title: !secret door", "title", "put it in quotes"),
        ("title: !!python/name:os.system x", "title", "put it in quotes"),
        ("title: !!timestamp x", "title", "put it in quotes"),
        ("title: !!binary é", "title", "put it in quotes"),
        ("title: [a]", "title", "must be text"),
        ("title: {a: b}", "title", "must be text"),
        ("title:", "title", "needs a value"),
        ("inner: 3", "inner", "mapping"),
        ("inner: [1]", "inner", "mapping"),
        ("inner: {ratio: '1'}", "inner.ratio", "a number"),
        ("inner: {ratio: true}", "inner.ratio", "a number"),
        ("inner: {ratio: .nan}", "inner.ratio", "a number"),
        ("inner: {ratio: .inf}", "inner.ratio", "a number"),
        ("inner: {ratio: -1e999}", "inner.ratio", "a number"),
        ("inner: {ratio: 1" + "0" * 400 + "}", "inner.ratio", "a number"),
        ("inner: {on: 1}", "inner.on", "true or false"),
        ("inner: {on: 'yes'}", "inner.on", "true or false"),
        ("inner: {on: !!bool maybe}", "inner.on", "true or false"),
        ("items: {name: a}", "items", "must be a list"),
        ("items: a", "items", "must be a list"),
        ("items: [a]", "items[0]", "mapping"),
        ("items: [null]", "items[0]", "needs a value"),
        ("items: [{name: a, size: 1.5}]", "items[0].size", "a whole number"),
        ("items: [{name: a, size: 1" + "0" * 5000 + "}]", "items[0].size", "a whole number"),
        ("items: [{name: a, size: !!int ''}]", "items[0].size", "a whole number"),
        ("items: [{name: a, tags: [1]}]", "items[0].tags[0]", "put it in quotes"),
    ],
)
def test_a_wrong_type_is_refused_at_its_place(tmp_path: Path, text: str, key: str, says: str) -> None:
    problem = only(problems(tmp_path, "# a comment\n" + text))
    assert (line_of(problem), problem.key) == (2, key)
    assert says in problem.message


@pytest.mark.parametrize(("text", "value"), [("1e3", 1000.0), ("1_000.5", 1000.5), ("2", 2.0), ("-1.5E-2", -0.015)])
def test_numbers_may_be_written_as_people_do(tmp_path: Path, text: str, value: float) -> None:
    assert read(tmp_path, f"inner: {{ratio: {text}}}").inner.ratio == value


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    problem = only(problems(tmp_path, "inner:\n  on: true\n  on: false\n"))
    assert (line_of(problem), problem.key) == (3, "inner.on")
    assert "twice" in problem.message


def test_an_alias_stands_for_its_anchor(tmp_path: Path) -> None:
    both = read(tmp_path, "inner: &same {ratio: 3}\nother: *same\n")
    assert both.inner == both.other == Inner(3.0)


def test_an_override_of_an_anchor_leaves_its_aliases_alone(tmp_path: Path) -> None:
    both = read(tmp_path, "inner: &same {ratio: 3}\nother: *same\n", "other.ratio=4")
    assert (both.inner.ratio, both.other.ratio) == (3.0, 4.0)


@pytest.mark.parametrize("text", ["inner: {<<: {on: true}}", "inner: &a {on: true}\nother: {<<: *a}"])
def test_a_merge_key_is_refused_by_name(tmp_path: Path, text: str) -> None:
    assert "merge keys (<<) are not supported" in only(problems(tmp_path, text)).message


@pytest.mark.parametrize("text", ["? [a, b]\n: c", "? {a: b}\n: c"])
def test_a_key_that_is_no_text_is_refused(tmp_path: Path, text: str) -> None:
    assert only(problems(tmp_path, text)).message == "a key must be text"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"title: \xff\xfe", "not UTF-8"),
        (b"[" * 1500, "nested too deeply"),
        (b"a: {b", "is no YAML"),
        (b"a: b\n\tc: d", "is no YAML"),
        (b"a: \x00", "special characters"),
        (b"a: *nothing", "undefined alias"),
        (b"--- {}\n--- {}", "single document"),
        (b"", "mapping of keys"),
        (b"- a", "mapping of keys"),
        (b"just text", "mapping of keys"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused_in_one_line(tmp_path: Path, content: bytes, says: str) -> None:
    problem = only(problems(tmp_path, content))
    assert says in str(problem)
    assert "\n" not in str(problem)
    assert "None" not in str(problem)


def test_a_file_that_is_not_there_or_a_folder_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.yaml", tmp_path):
        with pytest.raises(ConfigurationInvalid, match="cannot be read"):
            read_schema(Root, path)


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    assert read(tmp_path, b"\xef\xbb\xbftitle: a").title == "a"


# -- --set -----------------------------------------------------------------------------------------------

ITEMS = "items:\n  - {name: one}\n  - {name: two.x, size: 2}\n"


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("title=other", Root(title="other", items=(Item("one"), Item("two.x", 2)))),
        ("title=a=b", Root(title="a=b", items=(Item("one"), Item("two.x", 2)))),
        ("inner.on=true", Root(inner=Inner(on=True), items=(Item("one"), Item("two.x", 2)))),
        ("inner={ratio: 2, mode: small}", Root(inner=Inner(2.0, mode="small"), items=(Item("one"), Item("two.x", 2)))),
        ("items.one.size=7", Root(items=(Item("one", 7), Item("two.x", 2)))),
        ("items.two.x.size=7", Root(items=(Item("one"), Item("two.x", 7)))),
        ("items.one.tags=[a, b]", Root(items=(Item("one", tags=("a", "b")), Item("two.x", 2)))),
        ("items=[]", Root()),
        ("note=null", Root(note=None, items=(Item("one"), Item("two.x", 2)))),
    ],
)
def test_set_overrides_one_key_and_reaches_items_by_name(tmp_path: Path, override: str, value: Root) -> None:
    assert read(tmp_path, ITEMS, override) == value


def test_the_last_of_several_overrides_counts(tmp_path: Path) -> None:
    assert read(tmp_path, "title: a", "title=b", "inner.ratio=1", "title=c") == Root(title="c", inner=Inner(1.0))


@pytest.mark.parametrize(
    ("override", "place", "says", "suggestion"),
    [
        ("title", "--set title", "key.path=value", None),
        ("=3", "--set =3", "key.path=value", None),
        ("inner..on=1", "--set inner..on=1", "key.path=value", None),
        ("inner.onn=true", "--set inner.onn", "unknown key", "on"),
        ("inner.on=maybe", "--set inner.on", "true or false", None),
        ("inner.on=", "--set inner.on", "needs a value", None),
        ("title=[", "--set title", "no YAML", None),
        ("title=&a [*a]", "--set title", "no YAML", None),
        ("title=" + "[" * 1500, "--set title", "no YAML", None),
        ("items.on.size=1", "--set items.on.size", "there are: one, two.x", "one"),
        ("items.one=1", "--set items.one", "write the key", None),
        ("items.one.tags.x=1", "--set items.one.tags.x", "", None),
        ("title.x=1", "--set title.x", "", None),
    ],
)
def test_a_wrong_override_names_the_command_line(
    tmp_path: Path, override: str, place: str, says: str, suggestion: str | None
) -> None:
    problem = only(problems(tmp_path, ITEMS, override))
    assert problem.place == place
    assert says in problem.message
    assert problem.suggestion == suggestion


def test_an_item_whose_name_is_no_text_does_not_break_set(tmp_path: Path) -> None:
    found = problems(tmp_path, "items: [{name: [a]}]", "items.a.size=1")
    assert "there are: none" in only(found).message


# -- anything at all -------------------------------------------------------------------------------------

WORDS = (
    "spool", "path", "pipelines", "stages", "name", "when", "match", "callers", "hosts", "destinations", "type",
    "{", "}", "[", "]", "&a", "*a", "<<", "null", "1e9", ".inf", "a.b.positive", "x{99999999999}", "|", ">", "#", "é",
    "?", "2026-13-45", "0x", "1:30", "'", '"', ": ", "\n", "\n  ", "- ", ", ", "!!int ", "!x ", "\t",
)  # fmt: skip
FRAGMENTS = st.sampled_from(WORDS)
TEXTS = st.lists(FRAGMENTS, max_size=25).map("".join) | st.text(max_size=60)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(
    st.lists(FRAGMENTS, max_size=25).map("".join) | st.text(max_size=60), st.lists(FRAGMENTS, max_size=6).map("".join)
)
def test_whatever_stands_in_the_file_or_the_command_line_is_read_or_refused(
    tmp_path: Path, text: str, override: str
) -> None:
    for overrides in ((), (override,)):
        try:
            read(tmp_path, text.encode("utf-8", "surrogatepass"), *overrides, schema=Config)
        except ConfigurationInvalid as error:
            assert error.problems


@dataclass(frozen=True)
class Free:
    arguments: Mapping[str, Any] = field(default_factory=dict)


def test_a_free_mapping_is_taken_as_it_stands(tmp_path: Path) -> None:
    text = "arguments: {depth: 3, sizes: [1, 2.5], name: unet, deep: {flag: true}}"
    expected = {"depth": 3, "sizes": [1, 2.5], "name": "unet", "deep": {"flag": True}}
    assert read(tmp_path, text, schema=Free) == Free(expected)


NO_MAPPINGS = ("[1]", "3", "{a: !!python/object:os.system {}}", "{a: 2024-99-99}", "{a: !!int zz}", "{a: &a [*a]}")


@pytest.mark.parametrize("text", [f"arguments: {text}" for text in NO_MAPPINGS])
def test_a_free_mapping_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    problem = only(problems(tmp_path, text, schema=Free))
    assert problem.key == "arguments" and "\n" not in problem.message
