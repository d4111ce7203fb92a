"""What the page reads beside the daemon: the journal, results, pictures; and nothing else."""

import json
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from support.spools import KEY, add_matched, close, collect, conclude, delivered_series, report, store_instance, take

from edge_runtime.config import Config
from edge_runtime.errors import SpoolError
from edge_runtime.metrics import METRICS, label_values
from edge_runtime.page.journal import read_journal
from edge_runtime.page.live import LivePage
from edge_runtime.page.results import Results, picture_of, read_picture, summarise
from edge_runtime.spool.spool import Spool
from edge_runtime.telemetry.exposition import Exposition
from edge_runtime.telemetry.health import Reason, RoleState, Views

ID = "01234567890-89abcdef"
RESULT = {
    "schema_version": 1,
    "result": {
        "concluded_at": 12.0,
        "deadline_at": 11.0,
        "last_received_at": 10.0,
        "inputs": [{"sop_instance_uid": "1.2.3"}],
        "analysis": {"stages": [{"stage": "a", "outcome": "skipped", "reason": "r", "seconds": 0.5, "engine": {}}]},
    },
}


def test_the_journal_is_read_beside_its_writers(spool: Spool) -> None:
    delivered = delivered_series(spool, (1, 2))
    waiting = report(spool, conclude(spool, close(spool, collect(spool, (3, 4), "s" * 64))))
    unmatched = store_instance(spool, 9)
    spool.instances.add([unmatched])
    spool.instances.step(unmatched.id, "no_match", "head: modality")
    facts = read_journal(spool.layout.journal)
    assert facts.job_counts == {"delivered": 1, "reported": 1}
    assert [job["id"] for job in facts.jobs] == [waiting.id, delivered.id]
    assert facts.images == {waiting.id: 2, delivered.id: 2}
    assert facts.instances == {"matched": 4, "unmatched": 1}
    assert [(row["destination"], row["state"]) for row in facts.backlog] == [("disk", "queued"), ("pacs", "queued")]
    (left_out,) = facts.left_out
    assert (left_out["reason"], left_out["n"], left_out["caller_ae_title"]) == ("head: modality", 1, "CT01")


def test_an_older_revision_is_superseded(spool: Spool) -> None:
    first = delivered_series(spool)
    second = take(spool, add_matched(spool, 3))
    superseded = {job["id"]: job["superseded"] for job in read_journal(spool.layout.journal).jobs}
    assert superseded == {first.id: 1, second.id: 0}


def test_the_document_holds_no_identifier(spool: Spool) -> None:
    delivered_series(spool)
    said = repr(read_journal(spool.layout.journal))
    assert "1.2.3" not in said and "2.25." not in said and KEY not in said


def test_reading_never_writes_and_never_waits_long_for_a_writer(spool: Spool) -> None:
    with spool.journal.write() as db:
        db.execute("DELETE FROM jobs")
        began = time.monotonic()
        assert read_journal(spool.layout.journal).job_counts == {}
        assert time.monotonic() - began < 5.0


def test_a_journal_that_cannot_be_read_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(SpoolError, match="cannot be read"):
        read_journal(tmp_path / "none.sqlite")
    assert list(tmp_path.iterdir()) == []  # it was not made either
    (tmp_path / "broken.sqlite").write_bytes(b"x" * 10_000)
    with pytest.raises(SpoolError, match="cannot be read"):
        read_journal(tmp_path / "broken.sqlite")


def test_a_journal_in_a_folder_with_a_strange_name_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "a?b #%41"
    folder.mkdir()
    with sqlite3.connect(folder / "j") as db:
        db.execute("CREATE TABLE t (x)")
    db.close()
    with pytest.raises(SpoolError, match="no such table"):
        read_journal(folder / "j")


def test_a_result_says_what_was_left_out_and_that_it_is_late() -> None:
    summary = summarise(RESULT)
    assert not summary.complete and summary.late
    assert [stage.stage for stage in summary.left_out] == ["a"]
    assert summary.study_seconds == 2.0
    assert "1.2.3" not in repr(summary)


def test_a_result_is_read_once_and_only_where_it_is_the_answer(tmp_path: Path) -> None:
    (tmp_path / ID).mkdir()
    file = tmp_path / ID / "result.json"
    results = Results(tmp_path)
    assert results.get(ID, "delivered") is None
    file.write_text(json.dumps(RESULT))
    first = results.get(ID, "delivered")
    assert first is not None and results.get(ID, "reported") is first
    for state in ("running", "pending", "parked", "refused", "cancelled"):
        assert results.get(ID, state) is None
    assert results.get("../" + ID, "delivered") is None


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"result": null}', '{"result": {"analysis": {"stages": 1}}}']
)
def test_a_broken_result_is_no_answer(tmp_path: Path, content: str) -> None:
    (tmp_path / ID).mkdir()
    (tmp_path / ID / "result.json").write_text(content)
    assert Results(tmp_path).get(ID, "delivered") is None


def picture(folder: Path, made: bool = True, unburned: bool = True) -> Path:
    (folder / ID).mkdir()
    (folder / ID / "thumbnail.png").write_bytes(b"PNG")
    note = {"made": made, "burned_in_annotation_no": unburned, "reason": "" if made else "why"}
    (folder / ID / "thumbnail.json").write_text(json.dumps(note))
    return folder


@pytest.mark.parametrize(
    ("policy", "made", "unburned", "shown"),
    [("never", True, True, False), ("burned_in_annotation_no", True, True, True), ("always", True, False, True),
     ("burned_in_annotation_no", True, False, False), ("always", False, True, False)],
)  # fmt: skip
def test_a_picture_is_shown_as_the_configuration_says_now(
    tmp_path: Path, policy: str, made: bool, unburned: bool, shown: bool
) -> None:
    picture(tmp_path, made, unburned)
    found = picture_of(tmp_path, ID, policy)
    assert found.shown is shown and bool(found.reason) is not shown
    assert read_picture(tmp_path, f"{ID}.png", policy) == (b"PNG" if shown else None)


@pytest.mark.parametrize(
    "name",
    ["", ".png", ID, f"{ID}.jpg", f"../{ID}.png", f"{ID}/../{ID}.png", f"{ID}.png.png", f"{ID}\n.png",
     f"{ID.upper()}.png", "..png", "%2e%2e.png", f"{ID}\x00.png"],
)  # fmt: skip
def test_no_other_file_can_be_named(tmp_path: Path, name: str) -> None:
    picture(tmp_path)
    assert read_picture(tmp_path, name, "always") is None


def test_without_a_note_there_is_no_picture(tmp_path: Path) -> None:
    (picture(tmp_path) / ID / "thumbnail.json").unlink()
    assert not picture_of(tmp_path, ID, "always").shown
    (tmp_path / ID / "thumbnail.json").write_text("{")
    assert "cannot be read" in picture_of(tmp_path, ID, "always").reason


def views(config: Config) -> tuple[Views, Exposition]:
    roles = [RoleState("infer", ready=True, reason="", process=1)]
    exposition = Exposition(METRICS, label_values(config))
    return Views(
        lambda: 0.0, lambda: True, lambda: [Reason("infer", "x")], exposition.render, lambda: roles
    ), exposition


def test_the_page_goes_on_with_what_it_knew_and_says_so_when_the_journal_is_gone(spool: Spool, config: Config) -> None:
    delivered_series(spool)
    said, exposition = views(config)
    page = LivePage(lambda: config, said, lambda: exposition)
    first = json.loads(page.status())
    assert first["job_counts"] == {"delivered": 1} and first["stale"] == []
    page._good_until = 0.0
    spool.layout.journal.rename(spool.layout.journal.with_name("away"))
    second = json.loads(page.status())
    assert second["job_counts"] == {"delivered": 1}
    assert "cannot be read" in second["stale"][0]


def test_many_who_look_at_once_read_the_journal_once(
    spool: Spool, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []

    def counted(path: Path):
        reads.append(path)
        time.sleep(0.1)
        return read_journal(path)

    monkeypatch.setattr("edge_runtime.page.live.read_journal", counted)
    said, exposition = views(config)
    page = LivePage(lambda: config, said, lambda: exposition)
    threads = [threading.Thread(target=page.status) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(reads) == 1


def test_a_destination_is_known_by_what_was_counted(spool: Spool, config: Config) -> None:
    said, exposition = views(config)
    page = LivePage(lambda: config, said, lambda: exposition)
    exposition.update("deliver", [("edge_destination_up", ("pacs",), 0.0),
                                  ("edge_deliveries_total", ("pacs", "deferred", "away"), 2.0),
                                  ("edge_deliveries_total", ("disk", "done", "stored"), 1.0)])  # fmt: skip
    disk, pacs = json.loads(page.status())["destinations"]
    assert (disk["up"], disk["last_failure"]) == (None, "") and disk["last_success_seconds"] is not None
    assert (pacs["up"], pacs["last_failure"], pacs["last_success_seconds"]) == (False, "away", None)
