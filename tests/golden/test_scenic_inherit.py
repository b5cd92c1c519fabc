"""A bottleneck classifier started from Scenic's pretraining gets the layers that Scenic gives it.

And those that Scenic leaves fresh by mistake: the embedding of sound, the norms of separate
encoders.
"""

import dataclasses
import json

import golden_cases
import jax
import numpy as np
import pytest
from flax import nnx, traverse_util

from av_mae import config, state, tasks
from av_mae.convert import describe, scenic, scenic_rules, table
from av_mae.models import inherit

_FUSIONS = {"concat_and_encode": "early", "same_encoder": "shared"}
_KINDS = {"rgb": "video", "spectrogram": "audio"}


def _mappings():
    file = golden_cases.FOLDER / "scenic/init_surgery/mapping.json"
    found = json.loads(file.read_text()) if file.is_file() else {}
    # The released code with the name of the layer that it expects; tokens are not in the files.
    names = [k for k in found if k.startswith("spec_named__") and "modality_tokens" not in k]
    return [pytest.param(name, found[name]["mapping"], id=name) for name in names]


@pytest.mark.parametrize("name, mapping", _mappings())
def test_every_layer_comes_from_where_scenic_takes_it(name, mapping):
    _, strategy, kinds = name.split("__")
    found = golden_cases.arrays(golden_cases.at(f"scenic/init_surgery/pretrain_{strategy}.npz"))
    source, theirs = _source(found, strategy)
    target = _target(source, [_KINDS[kind] for kind in ("rgb", "spectrogram") if kind in kinds])
    fresh = _fresh(target)
    params, report = inherit.inherit(fresh, theirs, source, target)
    spelt = {scenic._spelt(k): v for k, v in mapping.items()}
    rules = scenic_rules.rules(target, dict.fromkeys(spelt))
    ours = table.write(rules, {"/".join(k): np.asarray(x) for k, x in params.items()})
    compared = 0
    for to, origin in spelt.items():
        if origin is not None:
            assert np.array_equal(ours[to], found[origin].ravel().reshape(ours[to].shape)), to
            compared += 1
    assert compared > 30
    heads = [path for path in report.fresh if not path.startswith("head/")]
    assert [path for path in heads if path != "encoders/bottleneck"] == []


def _source(found, strategy):
    description = scenic.of_params(found, strategy)
    known = {
        "model.fusion": _FUSIONS.get(strategy, "mid"),
        "modalities.video.frames": 4,
        "modalities.video.size": 16,
        "modalities.audio.seconds": 0.4,
        "modalities.audio.mels": 16,
    }
    source = describe.experiment(description, known, strategy)
    rules = description.rules(source)
    shapes = {"/".join(path): x.shape for path, x in _fresh(source).items()}
    values = table.read(rules, description.arrays, shapes, strategy)
    return source, {tuple(k.split("/")): x for k, x in values.items()}


def _target(source: config.Experiment, names: list[str]) -> config.Experiment:
    """MBT with one fused layer, as Scenic's finetuning has it."""
    model = dataclasses.replace(
        source.model,
        fusion="bottleneck",
        fusion_layers=1 if len(names) > 1 else 0,
        fusion_norm=False,
        shared_norm=True,
        final_norm=True,
    )
    kinds = {name: source.modalities[name] for name in names}
    return dataclasses.replace(source, task="classify", model=model, modalities=kinds)


def _fresh(e: config.Experiment):
    task = tasks.make(e, ("",) * 7)
    return traverse_util.flatten_dict(jax.device_get(state.split(task.init(nnx.Rngs(0)))[1]))
