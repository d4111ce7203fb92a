"""What a changed configuration asks for: every key is classified, and nothing changes that is not named."""

import dataclasses
import json
import typing
from dataclasses import dataclass, replace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.config import Caller, Config, Destination, Http, Match, Pipeline, SendTo, Spool, Stage, Video
from edge_runtime.reload import CONCERNS, DAEMON, LIVE, Plan, changes, concerned, drain_seconds, entry_of, plan
from edge_runtime.role import ROLES
from edge_runtime.yaml_schema import _without_none, read_schema

BASE = Config(
    spool=Spool("/spool"),
    pipelines=(
        Pipeline("head", (Stage("find", "bright"),), send_to=(SendTo("disk"),)),
        Pipeline("chest", (Stage("find", "dark"),), maximum_seconds=30.0),
    ),
    destinations=(
        Destination("disk", "folder", path="/out"),
        Destination("pacs", "dicom", ae_title="PACS", host="pacs", port=104),
    ),
)

CALLERS = (Caller("CT01", ("10.0.0.1",)),)


def leaves(kind: type, prefix: str = "") -> list[str]:
    """Every key of a schema as `changes` names it: items of named lists without their name."""
    found = []
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        inner, optional = _without_none(hints[field.name])
        item = typing.get_args(inner)[0] if typing.get_origin(inner) is tuple else inner
        named = typing.get_origin(inner) is tuple and not prefix and "name" in typing.get_type_hints(item)
        key = f"{prefix}{field.name}"
        section = dataclasses.is_dataclass(item) and (inner is item or named)
        if not section or optional or named:
            found.append(key)
        if section:
            found += leaves(item, f"{key}.")
    return found


def put(value: object, key: str, new: object) -> typing.Any:
    """A copy of a section with another value under `key`."""
    first, _, rest = key.partition(".")
    return replace(value, **{first: put(getattr(value, first), rest, new) if rest else new})


OTHER = {
    "spool.path": "/elsewhere",
    "spool.reserve_bytes": 1,
    "retention.originals_hours": 1.0,
    "receive.dicom.host": "127.0.0.1",
    "receive.dicom.port": 104,
    "receive.dicom.ae_title": "OTHER",
    "receive.dicom.callers": CALLERS,
    "receive.dicom.maximum_associations": 3,
    "engines.path": "/engines",
    "decode.workers": 5,
    "http.port": 80,
    "http.host": "::1",
    "http.thumbnails": "never",
    "destinations": BASE.destinations[:1],
    "pipelines": (BASE.pipelines[0],),
    "video": (Video("tower", "head", url="clip.mp4"),),
    "schedule.concurrency": 2,
}
"""Another value for some keys of every section."""


# -- the table -------------------------------------------------------------------------------------------------------


def test_every_key_of_the_configuration_has_a_place_in_the_table() -> None:
    keys = leaves(Config)
    assert len(keys) > 50 and "receive.dicom.port" in keys and "pipelines.match.modality" in keys
    assert [key for key in keys if entry_of(key) is None] == []


def test_a_section_without_a_place_is_noticed_and_waits_for_a_restart() -> None:
    @dataclass(frozen=True)
    class Later(Config):
        later: Spool = BASE.spool

    assert [key for key in leaves(Later) if entry_of(key) is None] == ["later.path", "later.reserve_bytes"]
    assert concerned("later.path") == (DAEMON,)


def test_every_entry_of_the_table_is_a_key_or_a_section() -> None:
    keys = leaves(Config)
    assert [e for e in CONCERNS if not any(key == e or key.startswith(f"{e}.") for key in keys)] == []


def test_the_table_names_roles_and_nothing_else() -> None:
    replaced_with_the_daemon_only = {"capture"}
    concerned_roles = {role for roles in CONCERNS.values() for role in roles}
    assert concerned_roles == {*ROLES, DAEMON} - replaced_with_the_daemon_only
    assert set(LIVE) < set(ROLES)


def test_the_samples_below_touch_every_section() -> None:
    assert {key.split(".")[0] for key in OTHER} == {field.name for field in dataclasses.fields(Config)}


# -- what is planned -------------------------------------------------------------------------------------------------


def test_the_same_configuration_asks_for_nothing() -> None:
    assert plan(BASE, BASE) == Plan(changed=())


@pytest.mark.parametrize(
    ("new", "key", "replaced", "configured"),
    [
        (put(BASE, "receive.dicom.callers", CALLERS), "receive.dicom.callers", (), ("receive",)),
        (put(BASE, "retention.results_days", 1.0), "retention.results_days", (), ("receive",)),
        (put(BASE, "receive.dicom.ae_title", "X"), "receive.dicom.ae_title", ("deliver", "report"), ("receive",)),
        (put(BASE, "decode.workers", 7), "decode.workers", ("infer",), ()),
        (put(BASE, "destinations", BASE.destinations[:1]), "destinations", ("deliver", "report"), ()),
        (put(BASE, "http.thumbnails", "never"), "http.thumbnails", ("report",), ()),
    ],
)  # fmt: skip
def test_a_changed_key_concerns_the_roles_of_its_section(
    new: Config, key: str, replaced: tuple[str, ...], configured: tuple[str, ...]
) -> None:
    assert plan(BASE, new) == Plan((key,), replaced, configured)


def test_a_changed_item_is_named_and_only_what_changed_in_it_counts() -> None:
    head = replace(BASE.pipelines[0], send_to=(SendTo("disk"), SendTo("pacs")))
    assert plan(BASE, put(BASE, "pipelines", (head, BASE.pipelines[1]))) == Plan(
        ("pipelines[head].send_to",), ("report",)
    )
    head = replace(BASE.pipelines[0], match=Match(modality=("CT",)), deadline_seconds=3.0)
    assert plan(BASE, put(BASE, "pipelines", (head, BASE.pipelines[1]))) == Plan(
        ("pipelines[head].match", "pipelines[head].deadline_seconds"), ("infer", "report")
    )
    disk = replace(BASE.destinations[0], path="/other")
    assert plan(BASE, put(BASE, "destinations", (disk, BASE.destinations[1]))).changed == ("destinations[disk].path",)


def test_other_builds_of_the_engines_replace_infer_alone() -> None:
    assert plan(BASE, BASE, other_engines=True) == Plan(("engines' files",), ("infer",))


def test_beside_video_studies_and_live_outputs_are_replaced_too() -> None:
    base = put(BASE, "video", OTHER["video"])
    assert plan(base, base, other_engines=True).replaced == ("infer", "studies")
    assert plan(base, put(base, "destinations", base.destinations[:1])).replaced == ("deliver", "live", "report")
    assert plan(base, put(base, "video", ())).needs_restart == ("video",)


def test_what_the_daemon_holds_open_is_kept_and_named() -> None:
    new = put(put(BASE, "http", Http(port=80)), "receive.dicom.port", 104)
    found = plan(BASE, put(new, "spool.path", "/elsewhere"))
    assert found == Plan(
        changed=(),
        needs_restart=("spool.path", "receive.dicom.port", "http.port"),
        kept=('spool.path="/spool"', "receive.dicom.port=11112", "http.port=9464"),
    )


@given(st.sets(st.sampled_from(sorted(OTHER))))
def test_with_the_kept_keys_nothing_needs_a_restart_and_all_the_rest_is_as_wanted(
    tmp_path_factory: pytest.TempPathFactory, keys: set[str]
) -> None:
    """The overrides of a plan, read from a file as the roles do, leave the daemon's keys as they are and no others."""
    wanted = BASE
    for key in sorted(keys):
        wanted = put(wanted, key, OTHER[key])
    found = plan(BASE, wanted)
    file = tmp_path_factory.mktemp("reload") / "site.yaml"
    file.write_text(yaml.safe_dump(json.loads(json.dumps(without_none(dataclasses.asdict(wanted))))))
    effective = read_schema(Config, file, found.kept)
    again = plan(BASE, effective)
    assert again == replace(found, needs_restart=(), kept=())
    assert set(changes(effective, wanted)) == set(found.needs_restart)
    assert all(DAEMON not in concerned(key) for key in found.changed)


def without_none(value: typing.Any) -> typing.Any:
    if isinstance(value, dict):
        return {key: without_none(item) for key, item in value.items() if item is not None}
    return [without_none(item) for item in value] if isinstance(value, list | tuple) else value


@given(st.sampled_from(sorted(OTHER)))
def test_there_and_back_again_concern_the_same_roles(key: str) -> None:
    there, back = plan(BASE, put(BASE, key, OTHER[key])), plan(put(BASE, key, OTHER[key]), BASE)
    assert (there.replaced, there.configured, there.needs_restart) == (
        back.replaced,
        back.configured,
        back.needs_restart,
    )


def test_a_running_job_may_end_within_the_bound_of_the_longest_pipeline() -> None:
    assert drain_seconds("infer", BASE) == 600.0
    assert drain_seconds("infer", put(BASE, "pipelines", BASE.pipelines[1:])) == 30.0
    assert drain_seconds("infer", put(BASE, "pipelines", ())) == 0.0
    assert all(drain_seconds(role, BASE) > 0 for role in ROLES if role not in (*LIVE, "capture"))
