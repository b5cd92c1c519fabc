"""A way of fusing is a class and a name: models, counts and inheritance follow from its stacks."""

import dataclasses

import numpy as np
import pytest
import toy_models
from flax import nnx

from av_mae import tasks
from av_mae.config import parse, schema
from av_mae.models import fusion, inherit

SIZES = {"depth": 3, "fusion_layers": 2, "fusion_norm": False}


class Late(fusion.Fusion):
    """Each modality has its own first layers and shares the others; they never meet."""

    @classmethod
    def stacks(cls, model, names):
        split = model.depth - model.fusion_layers
        own = [fusion.Stack(f"own/{name}", (name,), 0, split) for name in names]
        return [*own, fusion.Stack("top", names, split, model.depth, norm=cls.own_norms(model))]


@pytest.fixture(autouse=True)
def late(monkeypatch):
    monkeypatch.setitem(fusion.FUSIONS, "late", Late)


def experiment(**changes):
    model = dataclasses.replace(toy_models.MODEL, **(SIZES | changes))
    return schema.Experiment(modalities=toy_models.MODALITIES, model=model)


def test_every_way_of_fusing_is_a_choice_of_the_config():
    for name in fusion.FUSIONS.keys() - {"late"}:
        parse.experiment({"modalities": {"video": {}}, "model": {"fusion": name}})


def test_both_models_are_built_and_run():
    inputs = toy_models.inputs()
    pretrained = toy_models.autoencoder(fusion="late", **SIZES)
    run = nnx.jit(lambda model, keys_b=None: model(inputs, keys_b=keys_b))
    for name, x in run(pretrained, toy_models.keys()).predictions.items():
        assert x.shape == (3, toy_models.MODALITIES[name].hidden, x.shape[-1])
    logits = run(toy_models.classify(fusion="late", **SIZES))
    assert {name: x.shape for name, x in logits.items()} == dict.fromkeys(inputs, (3, 3))


def test_its_products_and_tokens_are_counted():
    """Each modality passes through as many layers as with separate encoders."""
    late, separate = experiment(fusion="late"), experiment(fusion="separate")
    for task in tasks.names():
        counted = [
            tasks.make(dataclasses.replace(e, task=task), ("a", "b", "c")).flops()
            for e in (late, separate)
        ]
        assert counted[0] == counted[1]
    passed = [
        sum(p.layers * p.tokens * p.width for p in tasks.make(e).passes()) for e in (late, separate)
    ]
    assert passed[0] == passed[1]


def test_it_starts_from_another_and_another_from_it():
    inputs = toy_models.inputs()
    shared = toy_models.autoencoder(fusion="shared", **SIZES)
    late = toy_models.classify(fusion="late", **SIZES)
    mbt = toy_models.classify(fusion="bottleneck", **SIZES)
    source, target = experiment(fusion="shared"), experiment(fusion="late")
    started, report = toy_models.start(target, source, late, shared)
    ours, theirs = started.features(inputs), shared.features(inputs)
    for name in inputs:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5, atol=1e-5)
    assert set(report.fresh) == {"head/kernel", "head/bias"}

    _, report = toy_models.start(experiment(fusion="bottleneck"), target, mbt, late)
    assert "encoders/fused/audio/blocks <- encoders/top/blocks[0:2]" in str(report)
    assert inherit.route(target.model, "audio").last_norm == "encoders/top/norm"
