from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ftx_weight_clustering import cluster
from ftx_weight_clustering.config import KmeansConfig
from ftx_weight_clustering.kmeans import kmeans, share
from safetensors.numpy import load_file

from ftx import FtxError


@pytest.fixture
def plugins(isolated_plugins):
    return isolated_plugins("ftx_weight_clustering.hooks")


@pytest.fixture
def clustered(make_context, tiny_checkpoint):
    """`clustered(**settings)`: the metrics, the tensors before, and the tensors after."""

    def run(**settings):
        context = make_context("cluster:kmeans")
        metrics = cluster.run(KmeansConfig(**settings), {"model": tiny_checkpoint}, context)
        return metrics, *(load_file(folder / "model.safetensors") for folder in (tiny_checkpoint.path, context.out))

    return run


def test_the_step_keeps_the_contract_of_steps(plugins, check_contract):
    check_contract(plugins.steps()["cluster:kmeans"], plugins)


@pytest.mark.parametrize("start", ["linear", "quantile"])
def test_each_matrix_has_few_values_and_its_old_shape(clustered, start):
    metrics, before, after = clustered(clusters=16, start=start)
    assert {name: values.shape for name, values in before.items()} == {name: v.shape for name, v in after.items()}
    matrices = [name for name, values in before.items() if values.ndim == 2 and values.size > 16]
    assert metrics["matrices"] == len(matrices)
    assert all(len(np.unique(after[name])) <= 16 < len(np.unique(before[name])) for name in matrices)
    assert metrics["most_values"] <= 16
    assert 4 < metrics["bits_per_weight"] < 6


def test_biases_and_norms_are_left_alone(clustered):
    _, before, after = clustered(clusters=2)
    vectors = [name for name, values in before.items() if values.ndim == 1]
    assert vectors
    assert all(np.array_equal(before[name], after[name]) for name in vectors)


def test_embeddings_can_be_left_alone(clustered):
    _, before, after = clustered(clusters=4, embeddings=False)
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed
    assert not [name for name in changed if "embeddings" in name]


def test_more_clusters_are_closer(clustered):
    errors = [clustered(clusters=clusters)[0]["relative_error"] for clusters in (2, 16, 128)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.05


def test_k_means_finds_the_groups_that_are_there():
    values = np.array([[-1.0, -1.1, 5.0], [0.0, 0.1, 5.2]], dtype=np.float32)
    centroids = kmeans(values, 3, "quantile", 50)
    assert centroids == pytest.approx([-1.05, 0.05, 5.1])
    assert share(values, centroids) == pytest.approx(np.array([[-1.05, -1.05, 5.1], [0.05, 0.05, 5.1]]))


def test_what_a_killed_run_found_is_not_searched_again(make_context, tiny_checkpoint, monkeypatch, tmp_path):
    work = tmp_path / "work"
    inputs = {"model": tiny_checkpoint}
    found = cluster.run(KmeansConfig(clusters=4), inputs, make_context("cluster:kmeans", work=work))
    monkeypatch.setattr(cluster, "kmeans", lambda *_: pytest.fail("searched again"))
    assert cluster.run(KmeansConfig(clusters=4), inputs, make_context("cluster:kmeans", work=work)) == found


def test_a_checkpoint_that_was_quantized_is_refused(make_context, tiny_checkpoint):
    manifest = replace(tiny_checkpoint.manifest, meta={"recipe": {"scheme": "dynamic"}})
    quantized = type(tiny_checkpoint)(tiny_checkpoint.path, manifest)
    with pytest.raises(FtxError, match="recipe") as raised:
        cluster.run(KmeansConfig(), {"model": quantized}, make_context())
    assert "ftx run train cluster quantize export" in raised.value.hints[-1]


def test_it_runs_between_train_and_quantize(make_project):
    project = make_project(plugins={"weight_clustering": "ftx_weight_clustering.hooks"})
    ran = project.ftx("run", "train", "cluster", "quantize", "--set", "cluster.clusters=32", "--json")
    assert ran.code == 0, ran.err
    steps = [step["step"] for step in ran.json["steps"] if not step["step"].startswith("evaluate")]
    assert steps == ["data:clean", "train:finetune", "cluster:kmeans", "quantize:auto"]
