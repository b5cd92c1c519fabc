"""Scores of each class agree with scikit-learn's, and are undefined where nothing was counted."""

import numpy as np
import pytest

from av_mae.tasks import by_class

sklearn = pytest.importorskip("sklearn.metrics")


def test_single_labels_are_scored_as_by_scikit_learn():
    draw = np.random.default_rng(0)
    truth, guess = draw.integers(0, 5, 60), draw.integers(0, 5, 60)
    found = by_class.of_one_label(truth, guess, 5)
    expected = sklearn.precision_recall_fscore_support(truth, guess, labels=range(5))
    for name, values in zip(("precision", "recall", "f1", "clips"), expected, strict=True):
        np.testing.assert_allclose(found[name], values)
    matrix = sklearn.confusion_matrix(truth, guess, labels=range(5))
    assert np.array_equal(by_class.confusion(truth, guess, 5), matrix)


def test_what_has_no_label_or_no_guess():
    """Class 2 has no clip; class 1 is never guessed; one clip has no label, one no guess."""
    truth, guess = np.array([0, 0, 1, by_class.NONE]), np.array([0, by_class.NONE, 0, 1])
    found = by_class.of_one_label(truth, guess, 3)
    assert found["clips"].tolist() == [2, 1, 0]
    np.testing.assert_array_equal(found["recall"], [0.5, 0.0, np.nan])
    np.testing.assert_array_equal(found["precision"], [0.5, np.nan, np.nan])
    np.testing.assert_array_equal(found["f1"], [0.5, 0.0, np.nan])
    assert by_class.confusion(truth, guess, 3).tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 0]]


def test_several_labels_are_scored_as_by_scikit_learn():
    draw = np.random.default_rng(1)
    scores, labels = draw.normal(size=(40, 3)), draw.random((40, 3)) < 0.3
    labels[:, 2] = False
    found = by_class.of_several_labels(scores, labels)
    assert found["clips"].tolist() == labels.sum(0).tolist()
    for k in range(2):
        ap = sklearn.average_precision_score(labels[:, k], scores[:, k])
        auc = sklearn.roc_auc_score(labels[:, k], scores[:, k])
        np.testing.assert_allclose([found["average_precision"][k], found["auc"][k]], [ap, auc])
    assert np.isnan(found["average_precision"][2]) and np.isnan(found["auc"][2])
