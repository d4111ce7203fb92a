"""SIGHUP: what changes while the daemon works, what waits for a restart, and that nothing is lost on the way."""

import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from dataclasses import replace

import pytest
import yaml
from support.dicom_peers import RawPeer
from support.hostile import all_states, assert_log_is_clean, journal
from support.pacs import StubPacs, wait_until
from support.site import ball_series, build_engine, save_series, send_series, write_config

from benchmarks.daemon import Daemon
from edge_runtime.engines.passport import read_passport, write_passport

pytestmark = pytest.mark.peer


class Site:
    """A daemon whose configuration is edited while it runs."""

    def __init__(self, folder, engines, destinations=None, **pipeline):
        self.out = folder / "out"
        self.folder = folder
        destinations = destinations or [{"name": "disk", "type": "folder", "path": str(self.out)}]
        self.config = write_config(folder / "site.yaml", engines, destinations, **pipeline)
        self.daemon = Daemon(self.config, folder / "spool")
        self.sent = 0

    def __enter__(self):
        self.daemon.start()
        self.daemon.wait_ready()
        return self

    def __exit__(self, *_):
        self.daemon.stop()

    def edit(self, change):
        document = yaml.safe_load(self.config.read_text())
        change(document)
        part = self.config.with_suffix(".new")
        part.write_text(yaml.safe_dump(document))
        part.replace(self.config)

    def hup(self):
        os.kill(self.daemon.pid, signal.SIGHUP)

    def reloads(self, outcome):
        return self.daemon.metric("edge_configuration_reloads_total", outcome=outcome)

    def reload(self, outcome="applied", seconds=60):
        before = self.reloads(outcome)
        self.hup()
        wait_until(lambda: self.reloads(outcome) == before + 1, seconds)

    def send(self, name, **attributes):
        self.sent += 1
        send_series(ball_series(name, **attributes), self.folder / f"in-{self.sent}", self.daemon)

    def documents(self, folder=None):
        return [json.loads(path.read_text()) for path in sorted((folder or self.out).glob("*.json"))]

    def log(self):
        return self.daemon.log.read_text()

    def restarts(self):
        return self.daemon.metric("edge_role_restarts_total")


def stage_of(document):
    return document["pipelines"][0]["stages"][0]


# -- what is swapped while the daemon works --------------------------------------------------------------------------


def test_another_folder_and_other_callers_are_taken_without_touching_the_open_association(tmp_path, engines):
    with Site(tmp_path, engines) as site:
        before = site.daemon.role_pids()
        with RawPeer(site.daemon.dicom_port).associate(calling="OLD01") as peer:
            assert peer.echo() == 0

            def change(document):
                document["destinations"][0]["path"] = str(tmp_path / "other")
                callers = [{"ae_title": "CT01", "hosts": ["127.0.0.1"]}]
                document["receive"] = {"dicom": {"callers": callers, "maximum_associations": 5}}

            site.edit(change)
            site.reload()
            assert peer.echo() == 0, "an association that is open stays open"
            peer.release()
        after = site.daemon.role_pids()
        assert {role: after[role] for role in ("receive", "infer")} == {r: before[r] for r in ("receive", "infer")}
        assert after["deliver"] != before["deliver"]
        with RawPeer(site.daemon.dicom_port) as peer, pytest.raises(AssertionError, match="PDU type 3"):
            peer.associate(calling="OLD01")
        site.send("one")  # as CT01
        wait_until(lambda: site.documents(tmp_path / "other"), 30)
        assert site.documents() == []
        assert site.restarts() == 0
        assert site.daemon.get("/readyz")[0] == 200


class Systemd:
    """Listens as systemd does (sd_notify(3)); `told` is what it heard, without the watchdog and the start."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self.told = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        while message := self._socket.recv(4096).decode():
            if not message.startswith(("WATCHDOG=1", "STATUS=preparing")):
                self.told.append(message)

    def readies(self):
        return [message for message in self.told if message.startswith("READY=1")]


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    return Systemd(tmp_path / "notify")


def test_another_threshold_holds_for_the_next_series_and_systemd_hears_of_every_step(tmp_path, engines, systemd):
    with Site(tmp_path, engines) as site:
        wait_until(lambda: len(systemd.readies()) == 1)
        site.send("first")
        wait_until(lambda: len(site.documents()) == 1, 60)
        site.edit(lambda document: stage_of(document).update(threshold=0.7))
        asked = time.monotonic_ns() // 1000
        site.hup()
        wait_until(lambda: len(systemd.readies()) == 2, 60)
        first, reloading, ready = systemd.told
        assert first.startswith("READY=1\n") and reloading.startswith("RELOADING=1\n")
        at = int(re.search(r"^MONOTONIC_USEC=(\d+)$", reloading, re.MULTILINE)[1])
        assert asked <= at <= time.monotonic_ns() // 1000
        assert ready == "READY=1\nSTATUS=ready"
        assert site.daemon.get("/readyz")[0] == 200, "ready is said when all roles are"
        site.send("second")
        wait_until(lambda: len(site.documents()) == 2, 60)
        assert sorted("0.7" in json.dumps(d["notes"]) for d in site.documents()) == [False, True]
        assert site.restarts() == 0


def test_what_needs_a_restart_is_named_and_all_the_rest_is_taken(tmp_path, engines, systemd):
    with Site(tmp_path, engines) as site:

        def change(document):
            document["http"] = {"metrics": {"host": "127.0.0.1", "port": 0}}
            stage_of(document)["threshold"] = 0.8

        site.edit(change)
        site.reload()
        assert systemd.readies()[-1] == "READY=1\nSTATUS=ready; restart the daemon for http.metrics"
        assert site.daemon.metric("edge_configuration_restart_needed") == 1
        assert "keys=http.metrics" in site.log()
        site.send("one")
        wait_until(lambda: any("0.8" in json.dumps(d["notes"]) for d in site.documents()), 60)
        site.edit(lambda document: document.pop("http"))
        site.reload()
        assert site.daemon.metric("edge_configuration_restart_needed") == 0
        assert systemd.readies()[-1] == "READY=1\nSTATUS=ready"


# -- what is refused -------------------------------------------------------------------------------------------------


def test_what_is_wrong_is_refused_with_file_line_and_key_and_the_old_configuration_stays(tmp_path, engines):
    own = tmp_path / "engines"
    shutil.copytree(engines, own)
    with Site(tmp_path, own) as site:
        before, good = site.daemon.role_pids(), site.config.read_text()
        frozen = {path.name for path in (site.daemon.spool / "run").glob("config*")}

        def refused(text, *said):
            offset = len(site.log())
            site.config.write_text(text)
            site.reload("refused")
            news = site.log()[offset:]
            for word in ("configuration refused", *said):
                assert word in news, (word, news)
            assert site.daemon.role_pids() == before
            assert site.daemon.get("/readyz")[0] == 200

        refused("pipelines: [", "site.yaml:1", "no YAML")
        refused(good.replace("complete_after_seconds", "complete_after_secs"), "site.yaml:", "complete_after_seconds")
        refused(good.replace("engine: bright", "engine: absent"), "engine absent", "model.yaml")
        site.config.unlink()
        site.reload("refused")
        site.config.write_text(good)
        engine = own / "bright" / "onnxruntime-fp32" / "engine.onnx"
        whole = engine.read_bytes()
        engine.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        refused(good.replace("complete_after_seconds: 0.5", "complete_after_seconds: 0.4"), "engine.onnx", "SHA-256")
        other_answer(own / "bright" / "onnxruntime-fp32", whole)
        refused(good, "golden")
        site.send("after")
        wait_until(site.documents, 30)
        assert len({path.name for path in (site.daemon.spool / "run").glob("config*")}) == len(frozen)
        assert site.restarts() == 0
    assert "Traceback" not in site.log()


def other_answer(build, network):
    """Make an engine that fits its passport in every hash, and answers something else."""
    import onnx

    model = onnx.load_from_string(network)
    for initializer in model.graph.initializer:
        if initializer.name == "half":
            initializer.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(initializer) + 0.3, "half"))
    replace_engine(build, model.SerializeToString())


def replace_engine(build, data):
    """Put another network in a build's place, with a passport that fits it."""
    passport, _ = read_passport((build / "passport.json").read_bytes())
    (build / passport.engine.file).write_bytes(data)
    record = replace(passport.engine, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))
    (build / "passport.json").write_bytes(write_passport(replace(passport, engine=record)))


# -- engines ---------------------------------------------------------------------------------------------------------


def engine_hashes(document):
    return {stage["engine"]["sha256"] for stage in document["stages"]}


def test_an_engine_is_exchanged_between_two_jobs_and_every_result_names_the_one_that_made_it(tmp_path, slow_engines):
    own = tmp_path / "engines"
    shutil.copytree(slow_engines, own)
    build = own / "bright" / "onnxruntime-fp32"
    old = hashlib.sha256((build / "engine.onnx").read_bytes()).hexdigest()
    with Site(tmp_path, own) as site:
        for n in range(3):
            site.send(f"before-{n}")
        wait_until(lambda: "running" in all_states(site.daemon), 30)
        import onnx

        model = onnx.load(build / "engine.onnx")
        model.doc_string = "a later build"
        replace_engine(build, model.SerializeToString())
        new = hashlib.sha256((build / "engine.onnx").read_bytes()).hexdigest()
        running = {row["id"] for row in journal(site.daemon.spool, "SELECT id FROM jobs WHERE state = 'running'")}
        receive = site.daemon.role_pids()["receive"]
        site.hup()
        wait_until(lambda: "engines' files" in site.log(), 60)
        wait_until(lambda: '"reloading"' in site.daemon.get("/readyz")[1].decode() or site.reloads("applied") == 1, 60)
        site.send("meanwhile")
        wait_until(lambda: site.reloads("applied") == 1, 120)
        site.send("after")
        wait_until(lambda: len(site.documents()) == 5, 120)
        found = {document["job"]: engine_hashes(document) for document in site.documents()}
        assert all(len(hashes) == 1 for hashes in found.values())
        assert set().union(*found.values()) == {old, new}
        assert {frozenset(found[job]) for job in running if job in found} <= {frozenset({old})}
        assert found[max(found)] == {new}, "the last one"
        jobs = journal(site.daemon.spool, "SELECT attempts, interruptions FROM jobs")
        assert {(job["attempts"], job["interruptions"]) for job in jobs} == {(1, 0)}
        assert site.daemon.role_pids()["receive"] == receive
        assert site.restarts() == 0


def test_when_a_role_cannot_start_with_the_new_configuration_all_go_back_to_the_old_one(tmp_path, slow_engines):
    own = tmp_path / "engines"
    shutil.copytree(slow_engines, own)
    build_engine(own, name="second")
    with Site(tmp_path, own) as site:
        site.send("running")
        wait_until(lambda: "running" in all_states(site.daemon), 30)
        pipeline = {"name": "other", "match": {"modality": "MR"}, "stages": [{"name": "find", "engine": "second"}]}
        site.edit(lambda document: document["pipelines"].append(pipeline))
        os.kill(site.daemon.role_pids()["infer"], signal.SIGSTOP)  # a job that takes its time
        site.hup()
        wait_until(lambda: "configuration taken over" in site.log(), 60)
        engine = own / "second" / "onnxruntime-fp32" / "engine.onnx"
        engine.write_bytes(engine.read_bytes()[:-1])  # after it was tried
        os.kill(site.daemon.role_pids()["infer"], signal.SIGCONT)
        wait_until(lambda: site.reloads("rolled_back") == 1, 120)
        assert "engine second" in site.log() and "going back" in site.log()
        wait_until(lambda: len(site.documents()) == 1, 60)
        site.daemon.wait_ready()
        site.send("after")
        wait_until(lambda: len(site.documents()) == 2, 60)
        assert site.reloads("applied") == 0


def test_once_an_engine_is_mended_a_reload_starts_infer_at_once(tmp_path, engines):
    own = tmp_path / "engines"
    shutil.copytree(engines, own)
    engine = own / "bright" / "onnxruntime-fp32" / "engine.onnx"
    whole = engine.read_bytes()
    with Site(tmp_path, own) as site:
        engine.write_bytes(whole[:-1])
        os.kill(site.daemon.role_pids()["infer"], signal.SIGKILL)
        wait_until(lambda: "budget spent" in site.log(), 60)
        site.send("kept")
        site.reload("refused")
        assert {reason["role"] for reason in json.loads(site.daemon.get("/readyz")[1])} == {"infer"}
        engine.write_bytes(whole)
        site.reload()
        site.daemon.wait_ready()
        wait_until(lambda: len(site.documents()) == 1, 60)


# -- what the configuration no longer has ----------------------------------------------------------------------------


def test_what_waits_for_a_pipeline_or_destination_that_is_gone_says_so_until_it_is_back(tmp_path, engines):
    away = {"name": "away", "type": "dicom", "ae_title": "GONE", "host": "127.0.0.1", "port": 9, "retry_seconds": 0.2}
    disk = {"name": "disk", "type": "folder", "path": str(tmp_path / "out")}
    with Site(tmp_path, engines, [disk, away], match={"description": "first"}) as site:
        # The second pipeline waits a minute for more, so that its job is there when the pipeline goes.
        def with_second(document, seconds=60.0):
            second = {**document["pipelines"][0], "name": "second", "match": {"description": "later"}}
            document["pipelines"][1:] = [{**second, "complete_after_seconds": seconds, "send_to": ["disk"]}]

        site.edit(with_second)
        site.reload()
        site.send("one", SeriesDescription="first")
        site.send("two", SeriesDescription="later")
        wait_until(lambda: all_states(site.daemon) == ["collecting", "reported"], 60)
        wait_until(lambda: len(site.documents()) == 1, 60)

        def without(document):
            del document["pipelines"][1], document["destinations"][1]
            document["pipelines"][0]["send_to"] = ["disk"]

        site.edit(without)
        site.reload()
        wait_until(lambda: site.daemon.metric("edge_jobs_without_pipeline") == 1, 60)
        wait_until(lambda: site.daemon.metric("edge_deliveries_without_destination") >= 3, 60)
        assert {(job["state"], job["reason"].partition(":")[0]) for job in site.daemon.jobs()} == {
            ("pending", "its pipeline is no longer configured"),
            ("reported", "waits for a destination that is no longer configured"),
        }
        assert site.daemon.get("/readyz")[0] == 200
        assert "no longer configured" in site.log()

        def back(document):
            with_second(document, 0.5)
            document["destinations"].append({**disk, "name": "away", "path": str(tmp_path / "away")})

        site.edit(back)
        site.reload()
        wait_until(lambda: all_states(site.daemon) == ["delivered"] * 2, 60)
        assert len(site.documents()) == 2 and list((tmp_path / "away").glob("*-sr*.dcm"))
        wait_until(lambda: site.daemon.metric("edge_jobs_without_pipeline") == 0, 60)
        assert {job["reason"] for job in site.daemon.jobs()} == {""}


# -- nothing is lost -------------------------------------------------------------------------------------------------


def test_ten_reloads_while_images_arrive_lose_nothing_and_send_nothing_twice(tmp_path, engines):
    with StubPacs().running() as pacs:
        peer = {"name": "pacs", "type": "dicom", "ae_title": "ANY", "host": "127.0.0.1", "port": pacs.port}
        with Site(tmp_path, engines, [peer]) as site:
            receive = site.daemon.role_pids()["receive"]
            senders = []
            for n in range(10):
                folder = tmp_path / f"storm-{n}"
                save_series(ball_series(f"storm-{n}"), folder)
                command = ["storescu", "-aet", "CT01", "-aec", "EDGE", "+sd", "127.0.0.1", str(site.daemon.dicom_port)]
                senders.append(subprocess.Popen([*command, str(folder)], stderr=subprocess.DEVNULL))

                def change(document, n=n):
                    stage_of(document)["threshold"] = 0.5 + n / 100
                    document["destinations"][0]["timeout_seconds"] = 20 + n
                    document["receive"] = {"dicom": {"maximum_associations": 20 + n}}

                site.edit(change)
                site.hup()
                time.sleep(0.3)
            assert [sender.wait(60) for sender in senders] == [0] * 10, "every image was acknowledged"
            wait_until(lambda: site.reloads("applied") >= 2, 60)
            wait_until(lambda: len(journal(site.daemon.spool, "SELECT 1 FROM jobs")) == 10, 60)
            wait_until(lambda: all_states(site.daemon) == ["delivered"] * 10, 120)
            wait_until(lambda: not reloading(site), 60)
            assert site.daemon.role_pids()["receive"] == receive
            assert site.restarts() == 0
            assert site.reloads("refused") == site.reloads("rolled_back") == 0
            uids = [uid for uid, _ in pacs.received]
            assert len(uids) == len(set(uids)), "an object was sent twice"
            assert len(uids) == len(journal(site.daemon.spool, "SELECT 1 FROM deliveries"))
            jobs = journal(site.daemon.spool, "SELECT attempts, report_attempts, interruptions FROM jobs")
            assert {tuple(job.values()) for job in jobs} == {(1, 1, 0)}
        assert_log_is_clean(site.daemon)
        assert not re.search(r" (ERROR|CRITICAL) ", site.log())


def reloading(site):
    told = re.findall(r"reload ended|configuration taken over", site.log())
    return not told or told[-1] != "reload ended"


def test_a_role_killed_during_a_reload_comes_back_with_the_new_configuration(tmp_path, slow_engines):
    with Site(tmp_path, slow_engines) as site:
        site.send("first")
        wait_until(lambda: "running" in all_states(site.daemon), 30)
        site.edit(lambda document: stage_of(document).update(threshold=0.7))
        old = site.daemon.role_pids()
        site.hup()
        wait_until(lambda: "configuration taken over" in site.log(), 60)
        for role in ("infer", "report"):
            pid = site.daemon.role_pids().get(role)
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: site.reloads("applied") == 1, 60)
        site.daemon.wait_ready()
        assert site.daemon.role_pids()["infer"] != old["infer"]
        wait_until(lambda: all_states(site.daemon) == ["delivered"], 60)
        site.send("second")
        wait_until(lambda: len(site.documents()) == 2, 60)
        assert any("0.7" in json.dumps(d["notes"]) for d in site.documents())


def test_sigterm_during_a_reload_ends_in_order_and_leaves_no_process(tmp_path, slow_engines):
    with Site(tmp_path, slow_engines) as site:
        for n in range(2):
            site.send(f"open-{n}")
        wait_until(lambda: "running" in all_states(site.daemon), 30)
        site.edit(lambda document: stage_of(document).update(threshold=0.7))
        site.hup()
        wait_until(lambda: trials_of(site.daemon.pid), 30)
        site.hup()
        assert site.daemon.stop(40) == 0  # with the trial under way
        assert group_of(site.daemon.pid) == []
        site.daemon.start()
        site.daemon.wait_ready()
        site.edit(lambda document: stage_of(document).update(threshold=0.6))
        site.hup()
        wait_until(lambda: site.log().count("configuration taken over") == 1, 60)
        assert site.daemon.stop(40) == 0  # with roles on their way out
        assert group_of(site.daemon.pid) == []
        assert "Traceback" not in site.log()
        site.daemon.start()
        site.daemon.wait_ready()
        wait_until(lambda: all_states(site.daemon) == ["delivered"] * 2, 90)


def processes(condition):
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                with open(f"/proc/{entry.name}/stat") as stat, open(f"/proc/{entry.name}/cmdline", "rb") as command:
                    fields = stat.read().rpartition(")")[2].split()
                    if condition(int(fields[1]), int(fields[2]), command.read()):
                        found.append(int(entry.name))
            except OSError:
                continue
    return found


def trials_of(supervisor):
    return processes(lambda parent, _group, command: parent == supervisor and b"edge_runtime.roles.trial" in command)


def group_of(supervisor):
    """The processes that are left of a daemon, which is the leader of its group."""
    return processes(lambda _parent, group, command: group == supervisor and command != b"")


def test_a_trial_that_is_killed_refuses_the_configuration_and_says_that_memory_may_be_short(tmp_path, slow_engines):
    with Site(tmp_path, slow_engines) as site:
        before = site.daemon.role_pids()
        site.edit(lambda document: stage_of(document).update(threshold=0.7))
        site.hup()
        wait_until(lambda: trials_of(site.daemon.pid), 30)
        os.kill(trials_of(site.daemon.pid)[0], signal.SIGKILL)
        wait_until(lambda: site.reloads("refused") == 1, 30)
        assert "memory" in site.log()
        assert site.daemon.role_pids() == before
