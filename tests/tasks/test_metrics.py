"""Metrics: against scikit-learn, padding, ties, any order and any split."""

import functools
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from av_mae.tasks import metrics

KINDS = {
    "accuracy": metrics.Accuracy.of,
    "class": metrics.MeanClassAccuracy.of,
    "map": metrics.MeanAveragePrecision.of,
    "mean": lambda s, y, v: metrics.Mean.of("x", (s * y).sum(1), v),
}


def _rows(count=40, classes=7, seed=0, multi=False):
    draw = np.random.default_rng(seed)
    labels = np.eye(classes, dtype=np.float32)[draw.integers(0, classes, count)]
    if multi:
        labels = (draw.random((count, classes)) < 0.3).astype(np.float32)
    # Rounded scores: many are equal.
    scores = np.round(draw.normal(size=(count, classes)) + labels, 1).astype(np.float32)
    return scores, labels, np.ones(count, bool)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_nothing(kind):
    scores, labels, valid = _rows()
    plain = KINDS[kind](scores, labels, valid).compute()
    pad = lambda x, value: np.concatenate([x[:11], np.full_like(x[:9], value), x[11:]])  # noqa: E731
    for junk in (0.0, 7.0, np.nan):
        padded = KINDS[kind](pad(scores, junk), pad(labels, 1.0), pad(valid, False)).compute()
        assert padded == pytest.approx(plain, rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_any_split_in_any_order_gives_the_same(kind):
    rows = _rows()
    plain = KINDS[kind](*rows).compute()
    cuts = np.random.default_rng(1).permutation(40).reshape(4, 10)
    parts = [KINDS[kind](*(x[cut] for x in rows)) for cut in cuts]
    left = functools.reduce(lambda a, b: a.merge(b), parts)
    right = functools.reduce(lambda a, b: b.merge(a), parts)
    assert left.compute() == pytest.approx(plain, rel=1e-6)
    assert right.compute() == pytest.approx(plain, rel=1e-6)


@pytest.mark.parametrize("kind", ["accuracy", "class", "mean"])
def test_the_same_under_jit(kind):
    rows = _rows()
    jitted = jax.jit(KINDS[kind])(*map(jnp.asarray, rows))
    assert jitted.compute() == pytest.approx(KINDS[kind](*rows).compute(), rel=1e-6)


def test_accuracy_is_scikit_learns():
    sklearn = pytest.importorskip("sklearn.metrics")
    scores, labels, valid = _rows()
    truth = labels.argmax(1)
    found = metrics.Accuracy.of(scores, labels, valid, top=(1, 3)).compute()
    assert found["accuracy"] == pytest.approx((scores.argmax(1) == truth).mean())
    scores = np.random.default_rng(0).normal(size=scores.shape).astype(np.float32)  # no ties
    found = metrics.Accuracy.of(scores, labels, valid, top=(1, 3)).compute()
    assert found["accuracy_top3"] == pytest.approx(
        sklearn.top_k_accuracy_score(truth, scores, k=3, labels=range(7))
    )


def test_equal_scores_are_no_hits():
    labels = np.eye(4, dtype=np.float32)
    found = metrics.Accuracy.of(np.zeros((4, 4), np.float32), labels, np.ones(4, bool), top=(1, 2))
    assert found.compute() == {"accuracy": 0.25, "accuracy_top2": 0.5}


def test_rows_with_nan_are_wrong_and_rows_without_label_are_left_out():
    scores = np.array([[9, np.nan, 0], [9, 0, 0], [9, 0, 0]], np.float32)
    labels = np.array([[1, 0, 0], [1, 0, 0], [0, 0, 0]], np.float32)
    valid = np.ones(3, bool)
    assert metrics.Accuracy.of(scores, labels, valid).compute() == {"accuracy": 0.5}
    assert metrics.MeanClassAccuracy.of(scores, labels, valid).compute() == {
        "mean_class_accuracy": 0.5,
        "chance_accuracy": 1.0,
    }


def test_a_top_k_that_every_row_reaches_is_not_reported():
    scores, labels, valid = _rows(classes=5)
    assert set(metrics.Accuracy.of(scores, labels, valid).compute()) == {"accuracy"}


def test_any_of_several_labels_counts():
    scores = np.array([[3, 2, 1, 0]], np.float32)
    labels = np.array([[0, 1, 1, 0]], np.float32)
    found = metrics.Accuracy.of(scores, labels, np.ones(1, bool), top=(1, 2)).compute()
    assert found == {"accuracy": 0.0, "accuracy_top2": 1.0}


def test_mean_class_accuracy_is_scikit_learns():
    sklearn = pytest.importorskip("sklearn.metrics")
    scores, labels, valid = _rows(classes=5)
    labels[:, 4] = 0  # a class that does not occur, and rows without a label
    kept = labels.any(1)
    expected = sklearn.recall_score(
        labels[kept].argmax(1), scores[kept].argmax(1), labels=range(4), average="macro"
    )
    found = metrics.MeanClassAccuracy.of(scores, labels, valid).compute()
    assert found["mean_class_accuracy"] == pytest.approx(expected)


def test_ranking_scores_are_scikit_learns():
    sklearn = pytest.importorskip("sklearn.metrics")
    stats = pytest.importorskip("scipy.stats")
    scores, labels, valid = _rows(count=60, multi=True)
    found = metrics.MeanAveragePrecision.of(scores, labels, valid).compute()
    assert found["mAP"] == pytest.approx(
        sklearn.average_precision_score(labels, scores, average="macro")
    )
    auc = sklearn.roc_auc_score(labels, scores, average="macro")
    assert found["AUC"] == pytest.approx(auc)
    assert found["dprime"] == pytest.approx(math.sqrt(2) * stats.norm.ppf(auc))
    assert found["mAP_all"] == found["mAP"]


def test_classes_without_positives_or_negatives():
    scores, labels, valid = _rows(count=60, multi=True)
    plain = metrics.MeanAveragePrecision.of(scores[:, 2:], labels[:, 2:], valid).compute()
    labels[:, 0], labels[:, 1] = 0, 1
    found = metrics.MeanAveragePrecision.of(scores, labels, valid).compute()
    assert found["AUC"] == pytest.approx(plain["AUC"])
    assert found["mAP"] == pytest.approx((plain["mAP"] * 5 + 1) / 6)
    assert found["mAP_all"] == pytest.approx((plain["mAP"] * 5 + 1) / 7)


def test_perfect_and_useless_rankings():
    labels = np.array([[1], [1], [0], [0]], np.float32)
    perfect = metrics.MeanAveragePrecision.of(labels, labels, np.ones(4, bool)).compute()
    half = {"chance_mAP": 0.5}
    assert perfect == {"mAP": 1.0, "mAP_all": 1.0, "AUC": 1.0, "dprime": math.inf} | half
    useless = metrics.MeanAveragePrecision.of(labels * 0, labels, np.ones(4, bool)).compute()
    assert useless == {"mAP": 0.5, "mAP_all": 0.5, "AUC": 0.5, "dprime": 0.0} | half


def test_nan_scores_cannot_be_ranked():
    scores, labels, valid = _rows()
    scores[3, 1] = np.nan
    with pytest.raises(metrics.Diverged, match="1 of 40 rows have NaN"):
        metrics.MeanAveragePrecision.of(scores, labels, valid).compute()


@pytest.mark.parametrize("case", ["normal", "ties", "class_without_positives"])
def test_ranking_agrees_with_scenic(case, golden):
    folder = golden / "scenic" / "helpers"
    stored = np.load(folder / "map_dprime.npz")
    expected = json.loads((folder / "map_dprime.json").read_text())[case]
    scores = stored["logits_ties" if case == "ties" else "logits"]
    labels = stored[f"labels_{case}" if f"labels_{case}" in stored else "labels"]
    found = metrics.MeanAveragePrecision.of(scores, labels, np.ones(40, bool)).compute()
    assert found["mAP_all"] == pytest.approx(expected["mAP"])
    if case != "class_without_positives":  # where Scenic's AUC is NaN
        assert found["AUC"] == pytest.approx(expected["AUC"])
        assert found["dprime"] == pytest.approx(expected["d-prime"])


def test_nothing_counted_is_nan():
    scores, labels, valid = _rows()
    for kind in KINDS.values():
        assert all(math.isnan(v) for v in kind(scores, labels, ~valid).compute().values())


def test_weights_are_shares():
    found = metrics.Mean.of("loss", np.array([1.0, 4.0]), np.array([3.0, 1.0])).compute()
    assert found == {"loss": pytest.approx(1.75)}
