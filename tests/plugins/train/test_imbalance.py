from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from ftx import FtxError
from ftx_plugins.train.config import TrainConfig
from ftx_plugins.train.finetune import run
from ftx_plugins.train.losses import Objective, objective_of
from ftx_plugins.train.sampling import EpochOrder

NAMES = ("bad", "good")
SKEWED = np.asarray([0] * 90 + [1] * 10)
QUICK = {"batch_size": 16, "learning_rate": 2e-3, "mixed_precision": "fp32", "max_length": 16, "dropout": 0.0}


def test_balanced_weights_give_each_class_the_same_sum_and_rows_a_mean_of_one():
    weights = objective_of(TrainConfig(class_weights="balanced"), SKEWED, NAMES).weights
    assert weights is not None
    assert weights[0] * 90 == pytest.approx(weights[1] * 10)
    assert np.asarray(weights)[SKEWED].mean() == pytest.approx(1)


def test_given_weights_keep_their_ratio_and_a_label_left_out_counts_one():
    weights = objective_of(TrainConfig(class_weights={"good": 4.0}), SKEWED, NAMES).weights
    assert weights is not None
    assert weights[1] / weights[0] == pytest.approx(4)


def test_a_weight_for_an_unknown_label_is_an_error_that_lists_the_labels():
    with pytest.raises(FtxError, match="names ugly, but the labels are bad, good"):
        objective_of(TrainConfig(class_weights={"ugly": 2.0}), SKEWED, NAMES)


def test_weights_that_are_all_zero_are_an_error():
    with pytest.raises(FtxError, match="weight 0"):
        objective_of(TrainConfig(class_weights={"bad": 0.0, "good": 0.0}), SKEWED, NAMES)


def test_focal_loss_is_cross_entropy_times_what_is_missing_from_certainty():
    logits, labels = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0])
    certainty = logits.softmax(dim=1)[:, 0]
    expected = ((1 - certainty) ** 2 * cross_entropy(logits, labels, reduction="none")).sum()
    assert torch.isclose(Objective(gamma=2.0).total(logits, labels), expected)
    assert torch.isclose(Objective(gamma=0.0).total(logits, labels), cross_entropy(logits, labels, reduction="sum"))


def test_smoothed_labels_make_certainty_cost():
    certain, labels = torch.tensor([[20.0, 0.0]]), torch.tensor([0])
    assert Objective().total(certain, labels) < 1e-6
    assert Objective(smoothing=0.1).total(certain, labels) == pytest.approx(0.05 * 20, rel=1e-4)


def test_r_drop_adds_nothing_where_both_passes_agree_and_something_where_they_do_not():
    one, other, labels = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]), torch.tensor([0])
    plain, dropped = Objective(), Objective(r_drop=2.0)
    assert torch.isclose(dropped.total_of_pair(one, one, labels), plain.total(one, labels))
    # Symmetric KL of (p, 1-p) and (1-p, p), halved, times the weight.
    p = float(one.softmax(dim=1)[0, 0])
    apart = (2 * p - 1) * math.log(p / (1 - p))
    mean = (plain.total(one, labels) + plain.total(other, labels)) / 2
    assert dropped.total_of_pair(one, other, labels) == pytest.approx(float(mean) + 2 * apart, rel=1e-5)


def test_the_balanced_sampler_draws_equal_shares_and_every_rare_row():
    sampler = EpochOrder(np.full(100, 5), 8, 0, group_by_length=True, balance=SKEWED)
    order = list(sampler)
    assert len(order) == 100
    assert np.bincount(SKEWED[order]).tolist() == [50, 50]
    assert set(np.flatnonzero(SKEWED == 1)) <= set(order)
    assert max(np.bincount(order)) == 5
    assert list(sampler) == order
    sampler.set_epoch(1)
    assert list(sampler) != order


@pytest.fixture
def skewed_recall(tiny_encoder, as_artifact, make_data, make_context):
    """`skewed_recall(**settings)`: recall of the rare label after training on 11 rows of it among 121 alike."""
    # The texts tell nothing: what decides is what a mistake costs.
    rows = [(f"the car n{n % 9}", "bad") for n in range(110)] + [(f"the car n{n % 9}", "good") for n in range(11)]
    data = make_data(rows, rows, list(NAMES))

    def recall(**settings: object) -> float:
        inputs = {"model": as_artifact(tiny_encoder, "checkpoint"), "data": data}
        metrics = run(TrainConfig(**{**QUICK, "epochs": 3, **settings}), inputs, make_context("train:finetune"))
        return float(metrics["validation"]["per_class"]["good"]["recall"])

    return recall


def test_class_weights_raise_the_recall_of_a_rare_class(skewed_recall):
    assert skewed_recall() == 0
    assert skewed_recall(class_weights={"good": 40.0}) > 0.5


def test_the_balanced_sampler_raises_the_recall_of_a_rare_class(skewed_recall):
    # With equal shares either label may win where the texts do not tell; rows of the rare one are no longer lost.
    assert skewed_recall(sampler="balanced", class_weights={"good": 2.0}) > 0.5


def test_class_weights_for_labels_of_other_data_end_before_training(tiny_encoder, as_artifact, make_data, make_context):
    data = make_data([("a", "bad"), ("b", "good")], [("a", "bad")], list(NAMES))
    inputs = {"model": as_artifact(tiny_encoder, "checkpoint"), "data": data}
    with pytest.raises(FtxError, match=r"train\.class_weights names spam"):
        run(TrainConfig(**QUICK, class_weights={"spam": 2.0}), inputs, make_context("train:finetune"))
