"""Starting from a trained model: what corresponds is taken over, the rest is reported."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
import toy_models

from av_mae.config import schema
from av_mae.models import inherit, positions

SIZES = {"depth": 3, "fusion_layers": 2}


def experiment(modalities=None, **changes):
    return schema.Experiment(
        modalities=modalities or toy_models.MODALITIES,
        model=dataclasses.replace(toy_models.MODEL, **(SIZES | changes)),
    )


def pair(source_changes, target_changes, modalities=None):
    """A classifier of the target's kind started from an autoencoder of the source's."""
    source, target = experiment(**source_changes), experiment(modalities, **target_changes)
    old = toy_models.autoencoder(**(SIZES | source_changes))
    new = toy_models.classify(modalities=modalities, **(SIZES | target_changes))
    return *toy_models.start(target, source, new, old), old


def close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("fusion", ["early", "separate", "shared", "mid"])
def test_the_same_fusion_computes_the_same_features(fusion):
    new, report, old = pair({"fusion": fusion}, {"fusion": fusion})
    inputs = toy_models.inputs()
    ours, theirs = new.features(inputs), old.features(inputs)
    for name in inputs:
        close(ours[name], theirs[name])
    assert set(report.fresh) == {"head/kernel", "head/bias"}
    assert all(p.split("/")[0] in DISCARDED for p in report.unused)
    assert not report.resized
    counted = f"loaded {len(report.loaded)} arrays; newly initialised: head (2 arrays); left over: "
    assert report.counts().startswith(counted)
    assert "mask_token (2 arrays)" in report.counts()


DISCARDED = {"project", "mask_token", "decoders", "predict"}


@pytest.mark.parametrize("name", ["video", "audio"])
@pytest.mark.parametrize("fusion", ["early", "separate", "shared", "mid"])
def test_one_modality_of_a_pretraining_of_two(fusion, name):
    single = {name: toy_models.MODALITIES[name]}
    changes = {"fusion": "bottleneck", "fusion_norm": fusion == "mid"}
    new, report, old = pair({"fusion": fusion}, changes, modalities=single)
    inputs = {name: toy_models.inputs()[name]}
    close(new.features(inputs)[name], old.features(inputs)[name])
    assert set(report.fresh) == {"head/kernel", "head/bias"}
    assert any(path.startswith("embed/") for path in report.unused)


def test_mid_to_bottleneck_gives_each_modality_its_own_copy_of_the_joint_layers():
    new, report, old = pair({"fusion": "mid"}, {"fusion": "bottleneck"})
    joint = old.encoders.joint
    for name in toy_models.MODALITIES:
        fused = new.encoders.fused[name]
        kernel = fused.blocks.attention.qkv.kernel[...]
        assert np.array_equal(kernel, joint.blocks.attention.qkv.kernel[...])
        assert np.array_equal(fused.norm.scale[...], joint.norm.scale[...])
        lower, source = getattr(new.encoders, name), getattr(old.encoders, name)
        assert np.array_equal(lower.norm.scale[...], source.norm.scale[...])
        assert np.array_equal(lower.blocks.mlp.up.kernel[...], source.blocks.mlp.up.kernel[...])
    assert set(report.fresh) == {"encoders/bottleneck", "head/kernel", "head/bias"}
    assert "encoders/fused/audio/blocks <- encoders/joint/blocks[0:2] (12 parameters)" in str(
        report
    )


def test_separate_to_bottleneck_splits_stacks_and_averages_norms_that_become_one():
    changes = {"fusion": "bottleneck", "fusion_norm": False, "shared_norm": True}
    new, report, old = pair({"fusion": "separate"}, changes)
    for name in toy_models.MODALITIES:
        whole = getattr(old.encoders, name).blocks.mlp.up.kernel[...]
        lower = getattr(new.encoders, name).blocks.mlp.up.kernel[...]
        upper = new.encoders.fused[name].blocks.mlp.up.kernel[...]
        assert np.array_equal(jnp.concatenate([lower, upper]), whole)
    scales = [getattr(old.encoders, name).norm.scale[...] for name in toy_models.MODALITIES]
    close(new.encoders.norm.scale[...], sum(scales) / 2)
    assert "mean of encoders/audio/norm, encoders/video/norm" in str(report)


@pytest.mark.parametrize("fusion", ["mid", "bottleneck"])
@pytest.mark.parametrize("fusion_layers", [0, 1, 3])
def test_another_boundary_keeps_the_norm_where_it_was_trained(fusion, fusion_layers):
    changes = {"fusion": fusion, "fusion_layers": fusion_layers, "fusion_norm_layer": 1}
    single = {"video": toy_models.MODALITIES["video"]}
    new, report, old = pair({"fusion": "mid"}, changes, modalities=single)
    inputs = {"video": toy_models.inputs()["video"]}
    close(new.features(inputs)["video"], old.features(inputs)["video"])
    assert set(report.fresh) == {"head/kernel", "head/bias"}


def test_another_boundary_without_the_norm_names_what_is_lost():
    changes = {"fusion": "bottleneck", "fusion_layers": 1, "fusion_norm": False}
    new, report, old = pair({"fusion": "mid"}, changes)
    video = new.encoders.video.blocks.mlp.up.kernel[...]
    sources = [getattr(old.encoders, part).blocks.mlp.up.kernel[...] for part in ("video", "joint")]
    assert np.array_equal(video, jnp.concatenate([sources[0], sources[1][:1]]))
    assert "encoders/video/norm/scale" in report.unused


@pytest.mark.parametrize(
    "source, advice",
    [
        ({"fusion": "separate"}, "set model.fusion_norm = False"),
        ({"fusion": "mid", "fusion_layers": 1}, "set model.fusion_norm_layer = 2"),
    ],
)
def test_a_norm_between_layers_that_was_not_trained_is_refused(source, advice):
    with pytest.raises(schema.ConfigError, match=advice):
        inherit.inherit({}, {}, experiment(**source), experiment(fusion="bottleneck"))


def test_a_pooled_norm_takes_the_final_norm():
    new, report, old = pair({"fusion": "early"}, {"final_norm": False, "head_norm": True})
    close(new.head_norm.scale[...], old.encoders.joint.norm.scale[...])
    assert report.sources["head_norm/scale"] == "encoders/joint/norm"


def test_a_modality_that_was_not_pretrained_stays_fresh():
    single = {"video": toy_models.MODALITIES["video"]}
    source, target = experiment(single, fusion="separate"), experiment(fusion="separate")
    old = toy_models.autoencoder(modalities=single, **SIZES, fusion="separate")
    new = toy_models.classify(**SIZES, fusion="separate")
    _, report = toy_models.start(target, source, new, old)
    fresh = {path.split("/blocks/")[0] for path in report.fresh}
    assert {"encoders/audio", "embed/audio/kernel", "head/kernel"} <= fresh
    assert not any("video" in path for path in fresh)


def test_an_autoencoder_continues_an_autoencoder():
    source = experiment(fusion="mid", decoder="shared")
    target = experiment(fusion="mid", decoder="joint")
    old = toy_models.autoencoder(**SIZES, fusion="mid", decoder="shared")
    new = toy_models.autoencoder(**SIZES, fusion="mid", decoder="joint")
    started, report = toy_models.start(target, source, new, old)
    close(started.project["video"].kernel[...], old.project["video"].kernel[...])
    assert {path.split("/")[1] for path in report.fresh} == {"joint"}
    assert {path.split("/")[1] for path in report.unused} == {"shared"}
    _, report = toy_models.start(source, source, old, old)
    assert not (report.fresh or report.unused or report.resized)


def test_a_classifier_continues_a_classifier_with_a_fresh_head():
    both = experiment(fusion="bottleneck")
    model = toy_models.classify(**SIZES, fusion="bottleneck")
    _, report = toy_models.start(both, both, model, model)
    assert report.fresh == report.unused == ["head/bias", "head/kernel"]


@pytest.mark.parametrize(
    "name, change, grid",
    [
        ("video", {"size": 16}, (2, 4, 4)),
        ("video", {"frames": 8}, (4, 2, 2)),
        ("audio", {"seconds": 0.24}, (6, 4)),
    ],
)
def test_learned_positions_are_interpolated_on_the_token_grid(name, change, grid):
    kinds = dict(toy_models.MODALITIES)
    old_grid = kinds[name].grid
    kinds[name] = dataclasses.replace(kinds[name], **change)
    assert kinds[name].grid == grid
    old = toy_models.autoencoder(**SIZES, positions="learned")
    new = toy_models.classify(modalities=kinds, **SIZES, positions="learned")
    source = experiment(positions="learned")
    started, report = toy_models.start(experiment(kinds, positions="learned"), source, new, old)
    assert report.resized == [f"positions/{name}"]
    before = np.asarray(old.positions[name][...])
    close(started.positions[name][...], positions.resize(before, old_grid, grid))
    other = {"video": "audio", "audio": "video"}[name]
    assert f"positions/{other}" in report.loaded


@pytest.mark.parametrize("name, change", [("video", {"size": 16}), ("audio", {"seconds": 0.24})])
def test_fixed_positions_are_those_of_the_new_grid(name, change):
    kinds = dict(toy_models.MODALITIES)
    kinds[name] = dataclasses.replace(kinds[name], **change)
    old, new = toy_models.autoencoder(**SIZES), toy_models.classify(modalities=kinds, **SIZES)
    started, report = toy_models.start(experiment(kinds), experiment(), new, old)
    assert set(report.fresh) == {"head/kernel", "head/bias"} and not report.resized
    nothing = {name: jnp.zeros((1, *kinds[name].input_shape))}
    table = positions.sincos(kinds[name].tokens, 16) + np.asarray(old.embed[name].bias[...])
    close(started.tokenise(nothing)[name][0], table)


@pytest.mark.parametrize(
    "source, target, message",
    [
        ({"depth": 12}, {"depth": 4}, "model.depth is 4, but .* trained with 12; set it to 12"),
        ({"width": 32}, {}, "model.width is 16, but .* trained with 32"),
        ({"gelu": "erf"}, {}, "model.gelu is 'tanh', but .* trained with 'erf'"),
        ({"layer_scale": 0.1}, {}, "model.layer_scale > 0 is False"),
        ({"fusion": "separate"}, {"fusion": "early"}, "layers 0 to 2 are several"),
    ],
)
def test_architectures_that_do_not_fit_are_refused(source, target, message):
    new = toy_models.classify(**(SIZES | {"fusion": "early"}))
    with pytest.raises(schema.ConfigError, match=message):
        inherit.inherit(toy_models.flat(new), {}, experiment(**source), experiment(**target))


def test_another_patch_or_no_common_modality_is_refused():
    video, audio = ({name: m} for name, m in toy_models.MODALITIES.items())
    with pytest.raises(schema.ConfigError, match="share no modality"):
        inherit.inherit({}, {}, experiment(video), experiment(audio))
    finer = {"video": dataclasses.replace(video["video"], patch=(2, 2, 2))}
    with pytest.raises(schema.ConfigError, match="modalities.video.patch is \\(2, 2, 2\\)"):
        inherit.inherit({}, {}, experiment(video), experiment(finer))


def test_inputs_that_are_prepared_otherwise_are_told():
    video = {"video": toy_models.MODALITIES["video"]}
    moving = {"video": dataclasses.replace(video["video"], remove_still=True)}
    ours = toy_models.flat(toy_models.classify(modalities=video, **SIZES))
    source = toy_models.flat(toy_models.autoencoder(modalities=video, **SIZES))
    _, report = inherit.inherit(ours, source, experiment(video), experiment(moving))
    assert report.inputs == ["modalities.video.remove_still is True, was False"]
    assert "inputs differ: modalities.video.remove_still" in str(report)
    _, report = inherit.inherit(ours, source, experiment(video), experiment(video))
    assert not report.inputs
