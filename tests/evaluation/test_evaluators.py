"""Evaluators: neighbour votes, merging of views, and numbers that padding cannot change."""

import dataclasses
import pathlib
import tracemalloc
import types
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax import nnx

from av_mae import evaluation
from av_mae.config import parse, schema
from av_mae.evaluation import batches, classification, knn
from av_mae.experiment.run import Run
from av_mae.input import pipeline
from av_mae.tasks import losses, metrics


class Silent:
    """A reporter that keeps the galleries it is given."""

    def __init__(self):
        self.galleries = []

    def wants_clips(self, step):
        return False

    def gallery(self, step, name, examples):
        self.galleries.append((step, name, examples))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> pathlib.Path:
    return tiny.write_records(tmp_path_factory.mktemp("records"))


@dataclasses.dataclass(frozen=True)
class Model:
    """An experiment and variables that make every input count."""

    run: Run
    params: dict
    rest: dict

    def score(self, reporter) -> dict[str, float]:
        made = evaluation.make(self.run, reporter)
        return evaluation.score(made, ["val"], 3, self.params, self.rest)

    def of_clips(self, method: str, split: str, *modalities: str) -> tuple[Any, dict]:
        """What a method of the task gives for all clips of a split at once, and their batch."""
        e = self.run.experiment
        known = {k: v for k, v in e.modalities.items() if k in modalities}
        clips = self.run.info.split(split).clips
        batch = next(pipeline.eval_batches(e.dataset.path, split, known, batch_size=clips))
        function: Callable[..., Any] = getattr(self.run.task, method)
        model = nnx.merge(self.run.graphdef, self.params, self.rest)
        return nnx.jit(function)(model, batches.fold_views(batch)), batch


def _model(data, task, batch_size=8, dataset=None, alone=None, **evaluator) -> Model:
    values = tiny.alone(data, task, alone) if alone else tiny.experiment(data, task)
    values["dataset"] |= dataset or {}
    values["evaluators"] = {"val": {"split": "val", "batch_size": batch_size} | evaluator}
    run = Run.build(parse.experiment(values))
    current = run.init()
    return Model(run, _without_zeros(current.params), current.rest)


def _results(data, task, batch_size=8, **kwargs):
    reporter = Silent()
    return _model(data, task, batch_size, **kwargs).score(reporter), reporter


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


def _plain_votes(x_d, known_md, labels_mk, neighbours):
    nearest = sorted(range(len(known_md)), key=lambda i: -x_d @ known_md[i])[:neighbours]
    return sum(np.exp(x_d @ known_md[i] / knn.TEMPERATURE) * labels_mk[i] for i in nearest)


def test_more_asked_rows_than_vote_at_once(monkeypatch):
    draw = np.random.default_rng(0)
    asked, known = (knn.unit(draw.normal(size=(n, 5))) for n in (7, 20))
    labels = np.eye(3)[draw.integers(0, 3, 20)]
    monkeypatch.setattr(knn, "BLOCK", 3)
    expected = [_plain_votes(x_d, known, labels, 4) for x_d in asked]
    np.testing.assert_allclose(knn.vote(asked, known, labels, neighbours=4), expected)


def test_similarities_of_all_to_all_are_never_in_memory():
    asked, known = (np.ones((n, 1)) for n in (8 * knn.BLOCK, 1000))
    tracemalloc.start()
    knn.vote(asked, known, np.ones((1000, 1)), neighbours=1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < asked.size * known.size * 8 / 2


def test_padding_changes_no_number(data):
    """Ten clips in batches of 8 (six padding rows) and of 40 (thirty)."""
    few, _ = _results(data, "classify", 8, alone="video", kind="classification")
    many, _ = _results(data, "classify", 40, alone="video", kind="classification")
    assert few == pytest.approx(many, rel=1e-5)


class Told:
    """A task whose logits are its first input."""

    def predict(self, _, batch):
        return batch.get("video", batch.get("audio"))

    def features(self, _, batch):
        return {name: batch[name] for name in ("audio", "video")}


def _scores(batch, merge="logits"):
    batch = {name: jnp.asarray(x) for name, x in batch.items()}
    return classification.scores(Told(), merge, None, batch)


@pytest.mark.parametrize("merge", ["logits", "softmax"])
def test_views_are_merged(merge):
    chances = np.array([[[0.9, 0.1], [0.3, 0.7]], [[0.5, 0.5], [0.2, 0.8]]], np.float32)
    batch = {"video": np.log(chances), "label": np.eye(2), "valid": np.ones(2, bool)}
    scores, *_ = _scores(batch, merge)
    merged = {"logits": np.log(chances).mean(1), "softmax": np.log(chances.mean(1))}
    assert np.allclose(scores, merged[merge], atol=1e-6)


def test_merging_gives_videomaes_accuracy(golden):
    """15 views a clip by the mean of their probabilities; by that of their logits it is another."""
    stored = np.load(golden / "videomae" / "official_data" / "merge.npz")
    clips = np.unique(stored["names"])
    rows = [np.flatnonzero(stored["names"] == name) for name in clips]
    batch = {
        "video": np.stack([stored["logits"][row] for row in rows]),
        "label": np.eye(7, dtype=np.float32)[[stored["labels"][row[0]] for row in rows]],
        "valid": np.ones(len(clips), bool),
    }
    accuracy = {
        merge: metrics.Accuracy.of(*map(np.asarray, _scores(batch, merge))).compute()
        for merge in ("softmax", "logits")
    }
    assert accuracy["softmax"]["accuracy"] == pytest.approx(stored["top1"] / 100)
    assert accuracy["softmax"]["accuracy_top5"] == pytest.approx(stored["top5"] / 100)
    assert accuracy["logits"]["accuracy"] == pytest.approx(0.25)


def test_many_labels_are_scored_by_mean_precision(data):
    many = {"kind": "classification", "temporal_views": 2, "dataset": {"multilabel": True}}
    results, _ = _results(data, "classify", alone="video", **many)
    assert "val/mAP" in results and "val/accuracy" not in results


def test_clips_without_the_asked_modality_have_no_score():
    batch = {
        "audio": np.zeros((4, 1, 2)),
        "label": np.eye(2)[[0, 0, 1, 1]],
        "valid": np.array([True, True, True, False]),
        "audio_present": np.array([True, False, True, True]),
    }
    assert _scores(batch)[2].tolist() == [True, False, True, False]
    assert _scores(batch | {"video": batch["audio"]})[2].tolist() == batch["valid"].tolist()


def test_sound_alone_is_scored_on_clips_with_sound(data, caplog):
    """Every third training clip is silent."""
    sound = {"kind": "classification", "split": "train", "modalities": ("audio",)}
    model = _model(data, "classify", **sound)
    results = model.score(Silent())
    logits, batch = model.of_clips("predict", "train", "audio")
    heard = batch["index"] % 3 != 2
    logits, labels = jnp.asarray(logits[heard]), jnp.asarray(batch["label"][heard])
    error = losses.softmax_cross_entropy(logits, labels).mean()
    assert results["val/loss"] == pytest.approx(float(error), rel=1e-5)
    right = logits.argmax(1) == labels.argmax(1)
    assert results["val/accuracy"] == pytest.approx(float(right.mean()))
    told = [m for m in caplog.messages if "leaves out the 8 of 24 clips of train" in m]
    assert len(told) == 1


def test_more_views_are_more_evidence(data):
    """One view or six, merged either way: three different losses on the same clips."""
    one, _ = _results(data, "classify", alone="video", kind="classification")
    views = {"alone": "video", "kind": "classification", "temporal_views": 2, "spatial_views": 3}
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
    assert (step, name) == (3, "val")
    titles = [f"val{i} · {tiny.LABELS[i % 2]}" for i in range(4)]
    assert [example.title for example in examples] == titles
    assert examples[0].frames["predicted"].shape == (4, 32, 32, 3)
    assert examples[0].frames["predicted"].dtype == np.uint8
    assert np.isfinite(examples[0].waves["predicted"]).all()


def test_reconstruction_counts_sound_where_there_is_some(data):
    """Every third training clip is silent: 6, 5 and 5 of the batches of 8 have sound."""
    sound = {"alone": "audio", "kind": "reconstruction", "split": "train"}
    few, _ = _results(data, "pretrain", 8, **sound)
    many, _ = _results(data, "pretrain", 24, **sound)
    assert few == pytest.approx(many, rel=2e-6)


def _neighbours_by_hand(model: Model, split: str, train_split: str) -> dict[str, float]:
    """Accuracy of three neighbours, clip by clip; every third training clip is silent."""
    sides = []
    for name in (split, train_split):
        tokens, batch = model.of_clips("features", name, "video", "audio")
        unit = {k: knn.unit(np.asarray(x).mean(1)) for k, x in tokens.items()}
        heard = (batch["index"] % 3 != 2) | (name != "train")
        unit["all"] = np.concatenate([unit["audio"] * heard[:, None], unit["video"]], axis=1)
        unit["all"] = knn.unit(unit["all"])
        kept = {"audio": heard, "video": heard | True, "all": heard | True}
        sides.append({k: (x[kept[k]], batch["label"][kept[k]]) for k, x in unit.items()})
    accuracy = {}
    for name, (asked, truth) in sides[0].items():
        votes = np.stack([_plain_votes(x_d, *sides[1][name], 3) for x_d in asked])
        accuracy[f"val/accuracy_{name}"] = (votes.argmax(1) == truth.argmax(1)).mean()
        accuracy[f"val/clips_{name}"] = len(asked)
    return accuracy


def test_neighbours_are_scored_by_modality(data):
    model = _model(data, "pretrain", kind="knn", split="train", train_split="val", neighbours=3)
    assert model.score(Silent()) == pytest.approx(_neighbours_by_hand(model, "train", "val"))


def _two_clips(audio):
    return {
        "video": np.ones((2, 1, 1, 2), np.float32),
        "audio": np.array(audio, np.float32).reshape(2, 1, 1, 2),
        "audio_present": np.array([True, False]),
        "label": np.eye(2),
        "valid": np.ones(2, bool),
    }


class Heard(list):
    """Batches of sound."""

    modalities = ("audio",)


def test_silent_clips_have_no_vote_on_sound(monkeypatch):
    """The second clip of each split is silent; as a voter it would be the nearest one."""
    made = {
        "train": Heard([_two_clips([[1, 0], [0, 1]])]),
        "val": Heard([_two_clips([[0.1, 1], [1, 0]])]),
    }
    monkeypatch.setattr(batches, "Batches", lambda _, __, ___, split: made[split])
    run: Any = types.SimpleNamespace(
        task=Told(), eval_step=lambda function: lambda params, rest, batch: function(None, batch)
    )
    config = schema.Evaluator(kind="knn", neighbours=1)
    reporter: Any = Silent()
    scored = knn.Evaluator("val", config, run, reporter).run({}, {}, 0)
    assert dict(scored)["accuracy_audio"] == 1.0


class Mute:
    """A classifier that knows the first class from sound, and is wrong about silent clips."""

    def __call__(self, inputs, **_):
        return {
            "video": jnp.array([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]),
            "audio": jnp.array([[5.0, 0.0], [0.0, 5.0], [5.0, 0.0]]),
        }


def test_training_accuracy_is_of_the_modalities_a_clip_has(data):
    """The second clip is silent and recognised by its pictures; the third is padding."""
    values = tiny.experiment(data, "classify", augment={})
    task = Run.build(parse.experiment(values)).task
    batch = {
        "video": jnp.zeros((3, 4, 32, 32, 3), jnp.uint8),
        "audio": jnp.zeros((3, 10_240), jnp.int16),
        "label": jnp.eye(2)[jnp.array([0, 0, 1])],
        "valid": jnp.array([True, True, False]),
        "audio_present": jnp.array([True, False, False]),
    }
    key = jax.random.key(0)
    _, metrics = task.loss(Mute(), batch, key, jax.random.split(key, 3))
    assert metrics["accuracy"] == 1.0
