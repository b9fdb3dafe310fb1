from __future__ import annotations

import pytest

mlflow = pytest.importorskip("mlflow")

from ftx_mlflow.tracking import figures  # noqa: E402

PLUGINS = {"mlflow": "ftx_mlflow.hooks"}


@pytest.fixture(scope="module")
def tracked(make_project, tmp_path_factory):
    """`tracked(*words)`: how `ftx run` ended, and the newest run in a file store of MLflow."""
    runs = tmp_path_factory.mktemp("mlruns")
    # MLflow keeps its file store for those who ask for it; a server would do the same behind a socket.
    environment = {"MLFLOW_TRACKING_URI": runs.as_uri(), "MLFLOW_ALLOW_FILE_STORE": "true"}
    project = make_project(plugins=PLUGINS)
    client_environment = pytest.MonkeyPatch()
    client_environment.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = mlflow.MlflowClient(tracking_uri=runs.as_uri())

    def run(*words, **changed):
        ended = project.ftx("run", *words, "--quiet", environment=environment | changed)
        experiment = client.get_experiment_by_name("ftx")
        found = client.search_runs([experiment.experiment_id]) if experiment else []
        return ended, found[0] if found else None, client

    yield run
    client_environment.undo()


def test_a_run_is_logged_with_its_metrics_tags_and_bundle(tracked):
    ended, run, client = tracked("train", "quantize:dynamic", "export:onnx")
    assert ended.code == 0, ended.err
    assert run.info.status == "FINISHED"
    assert "train:finetune quantize:dynamic" in run.data.tags["ftx.steps"].replace("evaluate:validation ", "")
    metrics = run.data.metrics
    assert 0 <= metrics["evaluate/validation/onnx-int8/accuracy"] <= 1
    assert metrics["train/finetune/rows"] > 0
    files = {file.path for file in client.list_artifacts(run.info.run_id, "bundle")}
    assert {"bundle/manifest.json", "bundle/tokenizer.json"} <= files
    assert len(run.data.tags["ftx.bundle"]) == 64


def test_a_run_of_hits_is_logged_whole(tracked):
    _, first, _ = tracked("train")
    ended, second, _ = tracked("train")
    assert ended.code == 0
    assert second.info.run_id != first.info.run_id
    assert second.data.metrics["train/finetune/rows"] == first.data.metrics["train/finetune/rows"]
    assert any("a hit" in value for value in second.data.tags.values())


def test_a_failed_run_is_closed_as_failed_with_its_message(tracked):
    ended, run, _ = tracked("train", "--set", "train.unfreeze_last=40")
    assert ended.code != 0
    assert run.info.status == "FAILED"
    assert "unfreeze_last" in run.data.tags["ftx.error"]


def test_a_tracking_server_that_is_not_there_fails_no_run(tracked):
    ended, _, _ = tracked("train", MLFLOW_TRACKING_URI="http://127.0.0.1:9", MLFLOW_HTTP_REQUEST_MAX_RETRIES="0")
    assert ended.code == 0, ended.err


def test_figures_are_named_by_their_path_and_lists_of_models_by_their_variant():
    metrics = {"rows": 3, "fine": True, "models": [{"variant": "onnx-int8", "accuracy": 0.5}], "notes": ["a"]}
    assert dict(figures(metrics, "evaluate/test")) == {
        "evaluate/test/rows": 3.0,
        "evaluate/test/onnx-int8/accuracy": 0.5,
    }
