"""Evaluators: neighbour votes, merging of views, and numbers that padding cannot change."""

import pathlib

import jax
import numpy as np
import pytest
import tiny
from flax import nnx

from av_mae import evaluators, parse, run
from av_mae.evaluators import classification, knn


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
    plan = run.build(parse.experiment(values))
    current, reporter = plan.init(), Silent()
    made = evaluators.make(plan, reporter)
    params = _without_zeros(current.params)
    return evaluators.evaluate(made, ["val"], 3, params, current.rest), reporter


def _without_zeros(params):
    """A fresh head answers 0 to everything; now every input has an effect."""
    draw = np.random.default_rng(0)
    return jax.tree.map(lambda x: x + draw.normal(0, 0.2, x.shape).astype(np.float32), params)


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


class Told:
    """A task whose logits are its input."""

    def predict(self, _, batch):
        return batch["video"]


@pytest.mark.parametrize("merge", ["logits", "softmax"])
def test_views_are_merged(merge):
    chances = np.array([[[0.9, 0.1], [0.3, 0.7]], [[0.5, 0.5], [0.2, 0.8]]], np.float32)
    batch = {"video": np.log(chances), "label": np.eye(2), "valid": np.ones(2, bool)}
    scores, *_ = classification.scores(Told(), nnx.graphdef(nnx.Dict()), merge, {}, {}, batch)
    merged = {"logits": np.log(chances).mean(1), "softmax": np.log(chances.mean(1))}
    assert np.allclose(scores, merged[merge], atol=1e-6)


def test_more_views_are_more_evidence(data):
    """One view or six, merged either way: three different losses on the same clips."""
    one, _ = _results(data, "classify", kind="classification")
    views = {"kind": "classification", "temporal_views": 2, "spatial_views": 3}
    six = [_results(data, "classify", merge=m, **views)[0] for m in ("logits", "softmax")]
    assert len({round(results["val/loss"], 6) for results in (one, *six)}) == 3


def test_subset_of_modalities(data):
    both, _ = _results(data, "classify", kind="classification")
    sound, _ = _results(data, "classify", kind="classification", modalities=("audio",))
    assert sound["val/loss"] != pytest.approx(both["val/loss"], rel=1e-4)


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
