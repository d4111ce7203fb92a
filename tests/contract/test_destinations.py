"""What every destination promises, over all of them and real peers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from support.hooks import StubHook, hook_settings
from support.pacs import StubPacs, StubWeb, free_port, orthanc, storescp
from support.parcels import data_set_bytes, make_parcel

from edge_runtime import config
from edge_runtime.deliver.base import Destination, Outcome, Parcel, Reason
from edge_runtime.deliver.registry import accepted_kinds, build_destination
from edge_runtime.result_objects import ResultKind

KINDS = (ResultKind.SEG, ResultKind.SR, ResultKind.OVERLAY)
TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True)
class Kit:
    """A destination, the same one when its peer is away, and the data sets (or files) that the peer holds."""

    there: config.Destination
    away: config.Destination
    held: Callable[[], list[bytes]] | None  # None: the peer keeps its own encoding


def dicom(port: int, ae_title: str = "PACS") -> config.Destination:
    return config.Destination(
        "pacs", "dicom", ae_title=ae_title, host="127.0.0.1", port=port, timeout_seconds=TIMEOUT_SECONDS
    )


def web(url: str) -> config.Destination:
    return config.Destination("web", "dicomweb", url=url, timeout_seconds=TIMEOUT_SECONDS)


@pytest.fixture(scope="module")
def one_orthanc(tmp_path_factory):
    with orthanc(tmp_path_factory.mktemp("orthanc")) as peer:
        yield peer


@contextlib.contextmanager
def stub_pacs(_request, _folder: Path) -> Iterator[Kit]:
    with StubPacs().running() as peer:
        yield Kit(dicom(peer.port), dicom(free_port()), lambda: [data for _, data in peer.received])


@contextlib.contextmanager
def dcmtk(_request, folder: Path) -> Iterator[Kit]:
    kept = folder / "kept"
    with storescp(kept) as port:
        yield Kit(dicom(port), dicom(free_port()), lambda: [data_set_bytes(path) for path in kept.iterdir()])


@contextlib.contextmanager
def orthanc_dicom(request, _folder: Path) -> Iterator[Kit]:
    peer = request.getfixturevalue("one_orthanc")
    yield Kit(dicom(peer.dicom_port, peer.ae_title), dicom(free_port()), None)


@contextlib.contextmanager
def orthanc_web(request, _folder: Path) -> Iterator[Kit]:
    peer = request.getfixturevalue("one_orthanc")
    yield Kit(web(peer.url), web(f"http://127.0.0.1:{free_port()}/dicom-web"), None)


@contextlib.contextmanager
def stub_web(_request, _folder: Path) -> Iterator[Kit]:
    with StubWeb().running() as peer:
        yield Kit(web(peer.url), web(f"http://127.0.0.1:{free_port()}/dicom-web"), lambda: list(peer.received))


@contextlib.contextmanager
def disk(_request, folder: Path) -> Iterator[Kit]:
    out, blocked = folder / "new" / "out", folder / "a-file"
    blocked.write_bytes(b"")
    there = config.Destination("disk", "folder", path=str(out))
    away = config.Destination("disk", "folder", path=str(blocked / "out"))
    yield Kit(there, away, lambda: [path.read_bytes() for path in out.iterdir()])


@contextlib.contextmanager
def webhook(_request, folder: Path) -> Iterator[Kit]:
    with StubHook().running() as peer:
        there, away = (hook_settings(folder, f"http://127.0.0.1:{port}/edge") for port in (peer.port, free_port()))
        yield Kit(there, away, lambda: [post.body for post in peer.posts])


PEER = pytest.mark.peer


@pytest.fixture(
    params=[
        stub_pacs,
        pytest.param(dcmtk, marks=PEER),
        pytest.param(orthanc_dicom, marks=PEER),
        stub_web,
        pytest.param(orthanc_web, marks=PEER),
        disk,
        webhook,
    ],
    ids=lambda kit: kit.__name__,
)
def kit(request, tmp_path):
    with request.param(request, tmp_path) as made:
        yield made


def built(settings: config.Destination) -> Destination:
    return build_destination(settings, "EDGE")


def made(kit: Kit, folder: Path, count: int = 3, extra_bytes: int = 0) -> list[Parcel]:
    """Parcels, each with other bytes, of kinds that the destination takes."""
    kinds = [kind for kind in KINDS if kind in accepted_kinds(kit.there)] or [ResultKind.EVENT] * 3
    return [make_parcel(folder / str(n), kinds[n], extra_bytes=extra_bytes + n) for n in range(count)]


def test_what_is_sent_is_done_and_sent_again_is_the_same_object(kit, tmp_path):
    """All objects of a job arrive; a second send is done too; what the peer holds is byte for byte ours, both times."""
    parcels = made(kit, tmp_path / "spool", extra_bytes=50_001)
    destination = built(kit.there)
    first = list(destination.send_many(parcels))
    again = list(destination.send_many(parcels))
    assert [d.outcome for d in first + again] == [Outcome.DONE] * 6
    assert {d.reason for d in first} == {Reason.STORED}
    assert {d.reason for d in again} <= {Reason.STORED, Reason.DUPLICATE}
    if kit.held is not None:
        whole = kit.there.type != "dicom"
        ours = {p.path.read_bytes() if whole else data_set_bytes(p.path) for p in parcels}
        assert set(kit.held()) == ours
        assert len(kit.held()) in (3, 6)


def test_an_altered_file_is_parked_and_the_others_go_on(kit, tmp_path):
    """One changed bit keeps an object back, and nothing of it reaches the peer."""
    good, bad = made(kit, tmp_path / "spool", 2)
    content = bytearray(bad.path.read_bytes())
    content[-1] ^= 1
    bad.path.write_bytes(content)
    deliveries = list(built(kit.there).send_many([bad, good]))
    assert [(d.outcome, d.reason) for d in deliveries] == [
        (Outcome.PARKED, Reason.ALTERED),
        (Outcome.DONE, Reason.STORED),
    ]
    if kit.held is not None:
        assert len(kit.held()) == 1


def test_a_missing_file_is_parked_and_the_others_go_on(kit, tmp_path):
    """A result that is no longer in the spool is said to be missing."""
    good, gone = made(kit, tmp_path / "spool", 2)
    gone.path.unlink()
    deliveries = list(built(kit.there).send_many([gone, good]))
    assert [d.reason for d in deliveries] == [Reason.MISSING, Reason.STORED]
    assert deliveries[0].outcome is Outcome.PARKED


def test_an_absent_destination_defers_everything(kit, tmp_path):
    """Nothing is lost and nothing parked while the peer is away, and the round ends."""
    parcels = made(kit, tmp_path / "spool")
    deliveries = list(built(kit.away).send_many(parcels))
    assert [(d.outcome, d.reason) for d in deliveries] == [(Outcome.DEFERRED, Reason.AWAY)] * 3
    assert deliveries[0].away


def test_a_kind_that_the_destination_does_not_take_is_never_sent(kit, tmp_path):
    """JSON goes to folders only; if the caller did not filter it, it is parked and the others go on."""
    json_parcel, (other,) = make_parcel(tmp_path / "spool", ResultKind.JSON), made(kit, tmp_path / "spool", 1)
    takes_json = ResultKind.JSON in accepted_kinds(kit.there)
    assert takes_json == (kit.there.type == "folder")
    first, second = built(kit.there).send_many([json_parcel, other])
    expected = (Outcome.DONE, Reason.STORED) if takes_json else (Outcome.PARKED, Reason.WRONG_KIND)
    assert (first.outcome, first.reason) == expected
    assert second.outcome is Outcome.DONE


def test_a_send_that_is_given_up_can_be_begun_again(kit, tmp_path):
    """A sender closed after its first object leaves the destination fit for the next send."""
    parcels = made(kit, tmp_path / "spool")
    destination = built(kit.there)
    sending = destination.send_many(parcels)
    assert next(sending).outcome is Outcome.DONE
    sending.close()
    assert [d.outcome for d in destination.send_many(parcels)] == [Outcome.DONE] * 3


def test_every_destination_declares_a_bound_that_grows_with_the_object(kit):
    """A supervisor can tell a slow send from one that hangs."""
    destination = built(kit.there)
    assert 0 < destination.bound_seconds(0) < destination.bound_seconds(10**9) < 10**6


def test_no_detail_for_the_log_names_the_object(kit, tmp_path):
    """What a Delivery says may be logged: no instance UID, no patient, no path."""
    parcels = made(kit, tmp_path / "spool")
    altered = replace(parcels[0], sha256="0" * 64)
    settings = (kit.there, kit.away)
    details = [d.detail for s in settings for d in built(s).send_many([*parcels, altered])]
    assert len(details) == 8
    for text in details:
        assert not any((p.sop_instance_uid or p.sha256) in text or str(p.path) in text for p in parcels)
        assert "Nobody" not in text
