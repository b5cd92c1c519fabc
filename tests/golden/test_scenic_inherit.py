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

from av_mae import tasks
from av_mae.config import modality, schema
from av_mae.convert import scenic_rules, table
from av_mae.experiment.step import split
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
    # `as_released` is the same with a layer's wrong name: its embedding of sound stays fresh, or
    # it fails. Of sound's kernels of three channels see docs/decisions.md.
    names = [k for k in found if "mapping" in found[k] and not k.startswith("as_released__")]
    return [pytest.param(name, found[name]["mapping"], id=name) for name in names]


@pytest.mark.parametrize("name, mapping", _mappings())
def test_every_layer_comes_from_where_scenic_takes_it(name, mapping):
    source, target, names = (_several if name.startswith("spec_") else _one)(name, mapping)
    trained = _fresh(source, seed=1)
    theirs = _named(trained, scenic_rules.rules(source, names))
    params, report = inherit.inherit(_fresh(target, seed=2), trained, source, target)
    ours = _named(params, scenic_rules.rules(target, dict.fromkeys(mapping)))
    compared = 0
    for to, origin in mapping.items():
        if origin is not None and "pos_embedding_" not in to:  # two tables, one of ours
            assert np.array_equal(ours[to].ravel(), theirs[origin].ravel()), to
            compared += 1
    assert compared > 30
    new = [path for path in report.fresh if not path.startswith("head/")]
    assert [path for path in new if path != "encoders/bottleneck"] == []


def test_a_finetuned_classifier_keeps_all_but_its_head():
    found = json.loads(golden_cases.at("scenic/init_surgery/mapping.json").read_text())
    both = _several("spec_named__separate_encoders__rgb_spectrogram", {})[1]
    _, report = inherit.inherit(_fresh(both, seed=1), _fresh(both, seed=2), both, both)
    theirs = {name.rsplit("/", 1)[1] for name in found["mbt_to_mbt"]["not_initialised"]}
    assert {path.removeprefix("head/") for path in report.fresh} == theirs


def _several(name, mapping):
    """(source, target, names of the source) of a multimodal pretraining."""
    del mapping
    _, strategy, kinds, *tokens = name.split("__")
    recorded = golden_cases.arrays(golden_cases.at(f"scenic/init_surgery/pretrain_{strategy}.npz"))
    names = dict.fromkeys(recorded) | dict.fromkeys(f"embedding_{k}/kernel" for k in _KINDS)
    source = _source(names, strategy, bool(tokens))
    wanted = [ours for theirs, ours in _KINDS.items() if theirs in kinds]
    return source, _target(source, wanted), names


def _one(name, mapping):
    """The same of one modality: what the classifier has is in the names of its layers."""
    kind, before, _, after = name.split("_")
    model = dataclasses.replace(
        _MODEL,
        depth=scenic_rules.depth(mapping, "Transformer"),
        positions="learned" if before == "learned" else "sincos",
    )
    frames = 1 if kind == "vit" else 2
    kinds = {"video": modality.Video(frames=2 * frames, size=16, patch=(frames, 8, 8))}
    token = before == "token" or kind == "vit"
    source = schema.Experiment(
        modalities=kinds, model=dataclasses.replace(model, pool="token" if token else "mean")
    )
    heads = dataclasses.replace(
        model,
        pool="mean" if after == "gap" else source.model.pool,
        final_norm="Transformer/encoder_norm/scale" in mapping,
        head_norm="encoder_norm/scale" in mapping,
    )
    target = dataclasses.replace(source, task="classify", model=heads)
    return source, target, dict.fromkeys(origin for origin in mapping.values() if origin)


# A small model; sizes make no difference to what goes where.
_MODEL = schema.Model(
    width=16, heads=2, mlp=32, decoder_width=8, decoder_depth=1, decoder_heads=2, decoder_mlp=16
)


def _source(names, strategy, tokens) -> schema.Experiment:
    """A multimodal autoencoder with the layers that the recorded names show."""
    stacks = scenic_rules.stack_names(names)
    upper = scenic_rules.depth(names, "Transformer_concat")
    c = dataclasses.replace(
        _MODEL,
        decoder_depth=scenic_rules.depth(names, "Decoder"),
        depth=scenic_rules.depth(names, stacks[0]) + upper,
        fusion=_FUSIONS[strategy],
        fusion_layers=upper,
        modality_tokens=tokens,
    )
    kinds = {
        "video": modality.Video(frames=4, size=16, patch=(2, 8, 8)),
        "audio": modality.Audio(seconds=0.4, mels=16, patch=(8, 8)),
    }
    return schema.Experiment(modalities=kinds, model=c)


def _target(source: schema.Experiment, names: list[str]) -> schema.Experiment:
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


def _fresh(e: schema.Experiment, seed: int):
    """Parameters of which no two are alike, by path."""
    task = tasks.make(e, ("",) * 7)
    params = split(nnx.eval_shape(lambda: task.init(nnx.Rngs(0))))[1]
    rng = np.random.default_rng(seed)
    flat = traverse_util.flatten_dict(params)
    return {path: rng.normal(size=x.shape).astype(np.float32) for path, x in flat.items()}


def _named(params, rules) -> dict[str, np.ndarray]:
    both_ways = [rule for rule in rules if rule.layout.theirs]
    return table.write(both_ways, {"/".join(path): x for path, x in params.items()})
