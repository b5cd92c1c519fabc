"""Evaluators: neighbour votes, merging of views, and numbers that padding cannot change."""

import pathlib

import numpy as np
import pytest
import tiny

from av_mae import config, evaluators, run
from av_mae.evaluators import knn


class Silent:
    """A reporter that keeps the galleries it is given."""

    def __init__(self):
        self.galleries = []

    def gallery(self, step, name, examples):
        self.galleries.append((step, name, examples))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> pathlib.Path:
    return tiny.write_records(tmp_path_factory.mktemp("records"))


def _results(data, task, batch_size=8, **evaluator):
    values = tiny.experiment(data, task)
    values["evaluators"] = {"val": {"split": "val", "batch_size": batch_size} | evaluator}
    plan = run.build(config.parse(values))
    current, reporter = plan.init(), Silent()
    made = evaluators.make(plan, reporter)
    return evaluators.evaluate(made, ["val"], 3, current.params, current.rest), reporter


def test_vote_follows_the_nearest():
    known = knn.unit(np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]))
    labels = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    votes = knn.vote(knn.unit(np.array([[1.0, 0.05], [0.1, 1.0]])), known, labels, neighbours=2)
    assert votes.argmax(1).tolist() == [0, 1]


def test_more_neighbours_than_clips_take_all():
    known, labels = np.eye(2), np.eye(2)
    assert knn.vote(np.eye(2), known, labels, neighbours=99).shape == (2, 2)


def test_padding_changes_no_number(data):
    """Ten clips in batches of 8 (six padding rows) and of 40 (thirty)."""
    few, _ = _results(data, "classify", 8, kind="classification")
    many, _ = _results(data, "classify", 40, kind="classification")
    assert few == pytest.approx(many, rel=1e-5)


def test_views_are_merged(data):
    views = {"kind": "classification", "temporal_views": 2, "spatial_views": 3}
    for merge in ("logits", "softmax"):
        results, _ = _results(data, "classify", merge=merge, **views)
        assert 0.0 <= results["val/accuracy"] <= 1.0 and results["val/loss"] > 0.0


def test_unknown_merge_is_refused(data):
    with pytest.raises(config.ConfigError, match="merge is 'max', expected logits or softmax"):
        _results(data, "classify", kind="classification", merge="max")


def test_subset_of_modalities(data):
    results, _ = _results(data, "classify", kind="classification", modalities=("audio",))
    assert 0.0 <= results["val/accuracy"] <= 1.0


def test_reconstruction_scores_every_clip_once_and_shows_some(data):
    few, reporter = _results(data, "pretrain", 8, kind="reconstruction")
    many, _ = _results(data, "pretrain", 40, kind="reconstruction")
    assert few == pytest.approx(many, rel=1e-4)
    step, name, examples = reporter.galleries[0]
    assert (step, name, len(examples)) == (3, "val", 4)
    assert examples[0].frames["predicted"].shape == (4, 32, 32, 3)
    assert examples[0].frames["predicted"].dtype == np.uint8
    assert np.isfinite(examples[0].waves["predicted"]).all()


def test_neighbours_are_scored_by_modality(data):
    results, _ = _results(data, "pretrain", kind="knn", train_split="train", neighbours=3)
    assert set(results) == {"val/accuracy_video", "val/accuracy_audio", "val/accuracy_all"}
