"""A checkpoint comes from a model registry, and what was built goes back to it, by a local file store."""

import hashlib
import importlib
import sys

import pytest
from support import models

from converters.checkpoints.base import quiet
from converters.fetch import FetchFailed
from converters.tracking import TrackingFailed, fetch_model, log_build, log_engine
from edge_runtime.errors import BackendUnavailable, ConfigurationError

pytest.importorskip("mlflow")
SHAPE = (1, 1, 4, 4, 4)
WEIGHTS = models.segmenter(SHAPE)
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()


@pytest.fixture
def client(tmp_path, monkeypatch):
    """MLflow's client of a file store, which MLflow 3 opens only where it is told to."""
    store = (tmp_path / "mlruns").as_uri()
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", store)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    with quiet():
        return importlib.import_module("mlflow").MlflowClient()


@pytest.fixture
def register(client, tmp_path):
    """Register a version of the model `net` that holds these files; returns the run it came from."""

    def register(**files):
        folder = tmp_path / f"files-{len(list(tmp_path.iterdir()))}"
        for name, data in files.items():
            file = folder / name.replace("__", ".")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        with quiet():
            experiment = client.get_experiment_by_name("training")
            made = experiment.experiment_id if experiment else client.create_experiment("training")
            run = client.create_run(made)
            client.log_artifacts(run.info.run_id, str(folder), "model")
            if not client.search_registered_models():
                client.create_registered_model("net")
            client.create_model_version("net", f"{run.info.artifact_uri}/model", run.info.run_id)
        return run.info.run_id

    return register


def test_the_file_with_the_card_s_hash_is_the_checkpoint(register, tmp_path, capfd):
    register(a__onnx=b"other", b__onnx=WEIGHTS, README__md=b"text")
    file = fetch_model("models:/net/1", SHA256, tmp_path)
    assert file.name == "b.onnx" and file.read_bytes() == WEIGHTS
    assert capfd.readouterr() == ("", "")


def test_without_it_the_only_file_of_a_checkpoint_s_suffix_is_taken(register, client, tmp_path):
    register(MLmodel=b"text", weights__ckpt=b"another")
    assert fetch_model("models:/net/1", SHA256, tmp_path).name == "weights.ckpt"
    with quiet():
        client.set_registered_model_alias("net", "champion", "1")
    assert fetch_model("models:/net@champion", SHA256, tmp_path).read_bytes() == b"another"


def test_a_version_whose_checkpoint_cannot_be_told_is_refused_with_what_it_holds(register, tmp_path):
    register(a__pt=b"1", b__pt=b"2")
    with pytest.raises(ConfigurationError, match=r"models:/net/1 holds a\.pt, b\.pt: .* and 2 could be a checkpoint"):
        fetch_model("models:/net/1", SHA256, tmp_path)
    register(notes__txt=b"1")
    with pytest.raises(ConfigurationError, match=r"holds notes\.txt: .* and 0 could be"):
        fetch_model("models:/net/2", SHA256, tmp_path)


def test_a_version_that_is_not_there_and_a_wrong_address_are_named(client, tmp_path):
    with pytest.raises(FetchFailed, match="could not find models:/net/7: MlflowException"):
        fetch_model("models:/net/7", SHA256, tmp_path)
    for address in ("models:/net", "models:/net/latest", "runs:/1/model", "models:/../../etc/1"):
        with pytest.raises(ConfigurationError, match="is no model's address; write models:/NAME/VERSION"):
            fetch_model(address, SHA256, tmp_path)


def test_an_engine_is_logged_with_its_figures_and_a_link_to_its_source(register, client, tmp_path, capfd):
    source = register(a__onnx=WEIGHTS)
    output = models.build_engine(tmp_path / "engines", models.card("segmentation", SHAPE), WEIGHTS)
    run = client.get_run(log_engine(output, "night build", "models:/net/1"))
    assert (run.info.run_name, run.info.status) == ("night build", "FINISHED")
    assert run.data.tags["edge_runtime.source_model"] == "models:/net/1"
    assert run.data.tags["edge_runtime.source_run"] == source
    assert run.data.params["precision"] == "fp32" and run.data.params["target"].startswith("onnxruntime")
    assert run.data.metrics["engine_bytes"] == (output / "engine.onnx").stat().st_size
    logged = {entry.path for entry in client.list_artifacts(run.info.run_id, "engine")}
    assert logged == {f"engine/{file.name}" for file in output.iterdir()} and "engine/passport.json" in logged
    assert client.get_experiment(run.info.experiment_id).name == "edge-runtime"
    assert capfd.readouterr() == ("", "")


def test_an_engine_of_a_local_checkpoint_has_no_link(client, tmp_path):
    output = models.build_engine(tmp_path / "engines", models.card("segmentation", SHAPE), WEIGHTS)
    tags = client.get_run(log_engine(output, "run", None)).data.tags
    assert "edge_runtime.source_model" not in tags


def test_what_mlflow_does_not_take_is_named_and_the_run_is_marked_failed(client, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(TrackingFailed, match=r"did not take .*out, which stays as it is: MlflowException"):
        log_build(tmp_path / "out", "run", {"no/such:name?": 1.0}, {}, {})
    experiment = client.get_experiment_by_name("edge-runtime").experiment_id
    assert [run.info.status for run in client.search_runs([experiment])] == ["FAILED"]


def test_without_mlflow_its_extra_is_named(tmp_path, monkeypatch):
    for name in [n for n in sys.modules if n == "mlflow" or n.startswith("mlflow.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(BackendUnavailable, match=r"edge-runtime\[mlflow\]"):
        log_build(tmp_path, "run", {}, {}, {})
