"""A bottleneck classifier started from Scenic's pretraining gets the layers that Scenic gives it.

And those that Scenic leaves fresh by mistake: the embedding of sound, the norms of separate
encoders.
"""

import dataclasses
import json

import golden_cases
import numpy as np
import pytest
from flax import nnx, traverse_util

from av_mae import config, modality, state, tasks
from av_mae.convert import scenic, scenic_rules, table
from av_mae.models import inherit

_FUSIONS = {
    "concat_and_encode": "early",
    "same_encoder": "shared",
    "separate_encoders": "separate",
    "separate_encoders_and_concat": "mid",
}
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
    recorded = golden_cases.arrays(golden_cases.at(f"scenic/init_surgery/pretrain_{strategy}.npz"))
    names = dict.fromkeys(recorded) | dict.fromkeys(f"embedding_{k}/kernel" for k in _KINDS)
    source = _source(names, strategy)
    target = _target(source, [_KINDS[kind] for kind in ("rgb", "spectrogram") if kind in kinds])
    trained = _fresh(source, seed=1)
    theirs = _named(trained, scenic_rules.rules(source, names))
    params, report = inherit.inherit(_fresh(target, seed=2), trained, source, target)
    spelt = {scenic._spelt(k): v for k, v in mapping.items()}
    ours = _named(params, scenic_rules.rules(target, dict.fromkeys(spelt)))
    compared = 0
    for to, origin in spelt.items():
        if origin is not None:
            assert np.array_equal(ours[to].ravel(), theirs[origin].ravel()), to
            compared += 1
    assert compared > 30
    new = [path for path in report.fresh if not path.startswith("head/")]
    assert [path for path in new if path != "encoders/bottleneck"] == []


def _source(names, strategy) -> config.Experiment:
    """A small model with the layers that the recorded names show."""
    stacks = scenic_rules.stack_names(names)
    upper = scenic_rules.depth(names, "Transformer_concat")
    c = config.Model(
        width=16,
        heads=2,
        mlp=32,
        decoder_width=8,
        decoder_heads=2,
        decoder_mlp=16,
        decoder_depth=scenic_rules.depth(names, "Decoder"),
        depth=scenic_rules.depth(names, stacks[0]) + upper,
        fusion=_FUSIONS[strategy],
        fusion_layers=upper,
    )
    kinds = {
        "video": modality.Video(frames=4, size=16, patch=(2, 8, 8)),
        "audio": modality.Audio(seconds=0.4, mels=16, patch=(8, 8)),
    }
    return config.Experiment(modalities=kinds, model=c)


def _target(source: config.Experiment, names: list[str]) -> config.Experiment:
    """MBT with one fused layer, as in Scenic's finetuning of these."""
    model = dataclasses.replace(
        source.model,
        fusion="bottleneck",
        fusion_layers=1 if len(names) > 1 else 0,
        fusion_norm=False,
        shared_norm=True,
    )
    kinds = {name: source.modalities[name] for name in names}
    return dataclasses.replace(source, task="classify", model=model, modalities=kinds)


def _fresh(e: config.Experiment, seed: int):
    """Parameters of which no two are alike, by path."""
    task = tasks.make(e, ("",) * 7)
    params = state.split(nnx.eval_shape(lambda: task.init(nnx.Rngs(0))))[1]
    rng = np.random.default_rng(seed)
    flat = traverse_util.flatten_dict(params)
    return {path: rng.normal(size=x.shape).astype(np.float32) for path, x in flat.items()}


def _named(params, rules) -> dict[str, np.ndarray]:
    return table.write(rules, {"/".join(path): x for path, x in params.items()})
