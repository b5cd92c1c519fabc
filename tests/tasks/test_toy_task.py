"""A task with a model of its own is a module of tasks/: it trains, is scored, loaded and shown."""

import json
import sys
import textwrap

import pytest
import tiny

from av_mae import api, tasks
from av_mae.config import parse, schema
from av_mae.report import page
from av_mae.training import loop

TOY = '''
"""Loudness: how loud a clip is, guessed from its pictures."""

import jax.numpy as jnp
from flax import nnx

from av_mae import tasks
from av_mae.config import schema
from av_mae.models.flops import Flops
from av_mae.preprocess import inputs


class Guess(nnx.Module):
    def __init__(self, rngs):
        self.dense = nnx.Linear(3, 1, rngs=rngs)


class Loudness(tasks.Task):
    title = "Guessing the volume"

    @classmethod
    def check(cls, e):
        super().check(e)
        if "audio" not in e.modalities:
            raise schema.ConfigError("task loudness listens; add modalities.audio")

    @staticmethod
    def instead(source, start):
        return "it guesses nothing"

    def flops(self):
        return Flops(6.0, 12.0)

    def passes(self):
        return []

    def init(self, rngs):
        return Guess(rngs)

    def features(self, model, batch, layer=None):
        return {"video": inputs.prepare(batch, self.experiment.modalities)["video"][:, :, 0, 0]}

    def loss(self, model, batch, key, keys_b):
        x = inputs.prepare(batch, self.experiment.modalities)
        guess_b = model.dense(x["video"].mean((1, 2, 3)))[:, 0]
        loss = jnp.square(guess_b - x["audio"].mean((1, 2))).mean()
        return loss, {"loss": loss}
'''


@pytest.fixture
def loudness(tmp_path, monkeypatch):
    (tmp_path / "loudness.py").write_text(textwrap.dedent(TOY))
    monkeypatch.setattr(tasks, "__path__", [*tasks.__path__, str(tmp_path)])
    yield
    sys.modules.pop("av_mae.tasks.loudness", None)


def test_a_module_with_a_task_is_all_there_is_to_it(loudness, tmp_path):
    assert "loudness" in tasks.names()
    data = tiny.write_records(tmp_path / "records")
    values = tiny.experiment(data, "loudness", total="2 steps", evaluators={})
    assert loop.train(parse.experiment(values), tmp_path / "run") == 0
    lines = map(json.loads, (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    assert [e["step"] for e in lines if e["kind"] == "train"] == [1, 2]
    assert "Guessing the volume" in page.write(tmp_path / "run").read_text()
    model = api.load(tmp_path / "run")
    assert model.step == 2
    with pytest.raises(ValueError, match="is a loudness model: it has no classifier"):
        model.expect("classify")


def test_its_own_check_comes_first(loudness):
    values = tiny.experiment("nowhere", "loudness", modalities={"video": {}})
    with pytest.raises(schema.ConfigError, match="add modalities.audio"):
        loop.train(parse.experiment(values), "nowhere")
