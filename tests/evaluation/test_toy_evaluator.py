"""An evaluator is one file: that of CONTRIBUTING.md is found by its name, checked and run."""

import re
import sys

import jax
import numpy as np
import pytest
import tiny
from flax import nnx

from av_mae import evaluation
from av_mae.config import parse, schema
from av_mae.evaluation import batches
from av_mae.experiment.run import Run
from av_mae.input import pipeline

KIND = "lengths"


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """The recipe's file, in a folder that counts as the package's."""
    recipe = (tiny.ROOT / "CONTRIBUTING.md").read_text().split("## An evaluator")[1]
    code = re.search(r"```python\n(.*?)```", recipe, re.DOTALL)
    assert code
    (tmp_path / f"{KIND}.py").write_text(code[1])
    monkeypatch.setattr(evaluation, "__path__", [*evaluation.__path__, str(tmp_path)])
    yield
    sys.modules.pop(f"{evaluation.__name__}.{KIND}", None)


def experiment(data="nowhere", **evaluator):
    values = {"val": {"kind": KIND, "split": "train", "batch_size": 8} | evaluator}
    return parse.experiment(tiny.experiment(data, evaluators=values))


def test_its_file_is_all_that_it_takes(toy, tmp_path):
    """Every third training clip is silent; 24 clips make three batches."""
    run = Run.build(experiment(tiny.write_records(tmp_path / "records")))
    state = run.init()
    made = evaluation.make(run, reporter=None)
    found = evaluation.score(made, ["val"], 1, state.params, state.rest)

    e = run.experiment
    (batch,) = pipeline.eval_batches(e.dataset.path, "train", e.modalities, batch_size=24)
    model = nnx.merge(run.graphdef, state.params, state.rest)
    tokens = nnx.jit(run.task.features)(model, batches.fold_views(batch))
    length = {k: np.linalg.norm(jax.device_get(x).mean(1), axis=1) for k, x in tokens.items()}
    length["audio"] = length["audio"][batch["index"] % 3 != 2]
    expected = {f"val/length_{k}": x.mean() for k, x in length.items()}
    assert found == pytest.approx(expected, rel=1e-5)


def test_kinds_are_the_files_with_an_evaluator(toy):
    assert evaluation.names() == ["classification", "knn", "reconstruction", KIND]


def test_an_unknown_kind_is_answered_by_the_nearest():
    for kind, answer in {"clasification": "; did you mean 'classification'?", "zzz": ""}.items():
        with pytest.raises(schema.ConfigError) as error:
            evaluation.check(experiment(kind=kind))
        known = "classification, knn, reconstruction"
        expected = f"evaluators.val.kind is {kind!r}, expected one of {known}{answer}"
        assert str(error.value) == expected


def test_an_evaluator_of_another_task_is_refused():
    with pytest.raises(schema.ConfigError, match="is for classify runs, but the task is pretrain"):
        evaluation.check(experiment(kind="classification"))
