"""Figures, flips, divergences and thresholds of each task."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, precision_recall_fscore_support
from transformers import BertConfig, BertForSequenceClassification

from ftx_plugins.metrics.counts import ClassCounts
from ftx_plugins.tasks import learning
from ftx_plugins.tasks.scaling import Scale
from ftx_plugins.tasks.scoring import Scoring, scoring_of
from ftx_plugins.tasks.thresholds import choose_thresholds
from ftx_serving.decoding import decoder_of

NAMES = ("a", "b", "c")
TASKS = ("text-classification", "multi-label-classification", "regression")


def random_logits(seed: int, outputs: int = 3, rows: int = 200) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, outputs)).astype(np.float32)


def scoring(task: str) -> Scoring:
    return scoring_of(task, NAMES[:1] if task == "regression" else NAMES, tolerance=0.5)


def logits_for(task: str, seed: int) -> np.ndarray:
    return random_logits(seed, 1 if task == "regression" else 3)


def test_multi_label_figures_are_those_of_scikit_learn() -> None:
    labels = (random_logits(1) > 0.3).astype(np.int64)
    logits = random_logits(2) + labels
    thresholds = (0.3, 0.5, 0.7)
    found = scoring_of("multi-label-classification", NAMES, thresholds=thresholds).compute(labels, logits)
    predicted = 1 / (1 + np.exp(-logits.astype(np.float64))) >= np.array(thresholds)
    assert found["f1_micro"] == pytest.approx(f1_score(labels, predicted, average="micro"))
    assert found["f1_macro"] == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert found["subset_accuracy"] == pytest.approx((predicted == labels).all(axis=1).mean())
    precision, recall, _, support = precision_recall_fscore_support(labels, predicted)
    assert [found["per_class"][name]["precision"] for name in NAMES] == pytest.approx(precision.tolist())
    assert [found["per_class"][name]["recall"] for name in NAMES] == pytest.approx(recall.tolist())
    assert [found["per_class"][name]["support"] for name in NAMES] == support.tolist()


def test_counts_of_multi_label_rows_add_up_to_the_same_f1() -> None:
    labels = (random_logits(1) > 0).astype(np.int64)
    logits = random_logits(2)
    own = scoring("multi-label-classification")
    features = own.features(labels, logits)
    assert features is not None
    counts = ClassCounts.of(features.sum(axis=0, dtype=float)[None])
    f1 = 2 * counts.right.sum() / (counts.actual + counts.predicted).sum()
    assert own.compute(labels, logits)["f1_micro"] == pytest.approx(f1)


def test_regression_figures_are_those_of_their_definitions() -> None:
    labels = np.array([1.0, 2.0, 3.0, 10.0])
    logits = np.array([[1.5], [2.5], [2.0], [6.0]], dtype=np.float32)
    found = scoring("regression").compute(labels, logits)
    assert found["mae"] == pytest.approx(1.5)
    assert found["rmse"] == pytest.approx(np.sqrt((0.25 + 0.25 + 1 + 16) / 4))
    assert found["pearson"] == pytest.approx(np.corrcoef(labels, logits[:, 0])[0, 1])
    assert found["spearman"] == pytest.approx(0.8)  # ranks 1 3 2 4 wanted in the order 2 1: two neighbours exchanged


def test_a_prediction_that_never_varies_correlates_with_nothing() -> None:
    found = scoring("regression").compute(np.array([1.0, 2.0]), np.ones((2, 1), dtype=np.float32))
    assert (found["pearson"], found["spearman"]) == (0.0, 0.0)


@pytest.mark.parametrize("task", TASKS)
def test_divergence_is_zero_of_the_same_predictions_and_grows_with_the_distance(task: str) -> None:
    logits, noise = logits_for(task, 3), logits_for(task, 4)
    own = scoring(task)
    distances = [own.divergence(logits, logits + share * noise) for share in (0.0, 0.1, 1.0)]
    assert distances[0] == pytest.approx(0.0, abs=1e-12)
    assert 0 < distances[1] < distances[2]


@pytest.mark.parametrize("task", TASKS[:2])
def test_the_divergence_that_is_learnt_from_is_the_one_that_is_measured(task: str) -> None:
    logits, wanted = logits_for(task, 3), logits_for(task, 4)
    learnt = float(learning.divergence(task, torch.from_numpy(logits), torch.from_numpy(wanted)))
    share = 3 if task == "multi-label-classification" else 1  # there the mean over labels, here their sum
    assert share * learnt == pytest.approx(scoring(task).divergence(wanted, logits), rel=1e-4)


def test_a_row_of_labels_changes_where_any_of_them_crosses_its_threshold() -> None:
    decoder = decoder_of("multi-label-classification", NAMES, thresholds=(0.5, 0.5, 0.9))
    before = np.array([[1.0, -1.0, 0.0], [1.0, -1.0, 0.0], [1.0, -1.0, 0.0]], dtype=np.float32)
    after = before + np.array([[0, 0, 0], [0, 1.5, 0], [0, 0, 1.5]], dtype=np.float32)
    assert decoder.changed(before, after).tolist() == [False, True, False]


def test_a_number_changes_where_it_moves_by_more_than_the_tolerance() -> None:
    decoder = decoder_of("regression", ("stars",), tolerance=0.25)
    before = np.array([[1.0], [1.0], [1.0]], dtype=np.float32)
    after = np.array([[1.25], [1.5], [0.5]], dtype=np.float32)
    assert decoder.changed(before, after).tolist() == [False, True, True]


def test_a_threshold_is_where_f1_is_best_and_one_half_where_rows_are_few() -> None:
    probability = np.array([0.05, 0.1, 0.15, 0.2, 0.22, 0.3, 0.32, 0.34, 0.36, 0.4, 0.45, 0.5])
    logits = np.log(probability / (1 - probability))[:, None].repeat(2, axis=1)
    has = (probability >= 0.3).astype(np.int64)
    rare = np.zeros_like(has)
    rare[-2:] = 1
    first, second = choose_thresholds(np.stack([has, rare], axis=1), logits)
    assert first == pytest.approx(0.26)
    assert second == 0.5


def test_a_scale_that_is_folded_into_the_head_gives_units_of_the_target_and_comes_out_again() -> None:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, num_labels=1
    )
    model = BertForSequenceClassification(config).eval()
    ids = torch.randint(0, 20, (4, 6))
    scale = Scale(mean=50.0, std=20.0)
    with torch.inference_mode():
        standardised = model(ids).logits.numpy()
        scale.fold(model)
        assert np.allclose(model(ids).logits.numpy(), scale.restore(standardised), atol=1e-4)
        scale.unfold(model)
        assert np.allclose(model(ids).logits.numpy(), standardised, atol=1e-5)


@pytest.mark.parametrize("task", TASKS)
def test_labels_that_are_drawn_have_the_shape_that_the_loss_takes(task: str) -> None:
    logits = torch.from_numpy(logits_for(task, 5))
    drawn = learning.draw_labels(task, logits, torch.Generator().manual_seed(0))
    assert torch.isfinite(learning.total_loss(task, logits, drawn))
