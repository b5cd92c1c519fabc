"""The masked autoencoder behaves as one, for every fusion, decoder and masking."""

import functools
import itertools
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy_models
from flax import nnx

from av_mae.config import schema
from av_mae.config.modality import AudioMasking, VideoMasking
from av_mae.models import masking

FUSIONS = ("early", "separate", "shared", "mid")
DECODERS = ("shared", "separate", "joint")
PAIRS = list(itertools.zip_longest(get_args(VideoMasking) * 2, get_args(AudioMasking)))
ARCHITECTURES = list(itertools.product(FUSIONS, DECODERS))


@functools.cache
def compiled(fusion, decoder):
    """run(inputs, masks, present): all that the tests below look at, compiled once."""
    graphdef, state = nnx.split(toy_models.autoencoder(fusion=fusion, decoder=decoder))

    @jax.jit
    def run(inputs, masks, present):
        model = nnx.merge(graphdef, state)
        given = {name: masking.from_bool(m, toy_models.MODALITIES[name].hidden)
                 for name, m in masks.items()}  # fmt: skip
        video = {"video": inputs["video"]}
        return {
            "all": model(inputs, masks=masks).predictions,
            "present": model(inputs, masks=masks, present=present).predictions,
            "video": model(video, masks=masks).predictions,
            "visible": model.encoders(model.tokenise(inputs, given)),
        }

    return run


def run(fusion, decoder, maskings, inputs=None, masks=None, present=None):
    inputs = inputs or toy_models.inputs()
    masks = masks or toy_models.draw(maskings)
    present = present or {"audio": jnp.array([True, False, True])}
    return compiled(fusion, decoder)(inputs, masks, present)


def cases(test):
    test = pytest.mark.parametrize("video, audio", PAIRS)(test)
    return pytest.mark.parametrize("fusion, decoder", ARCHITECTURES)(test)


def equal(ours, theirs, tolerance=2e-5):
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance), ours, theirs
    )


@cases
def test_hidden_tokens_influence_neither_encoder_nor_predictions(fusion, decoder, video, audio):
    maskings = {"video": video, "audio": audio}
    inputs, masks = toy_models.inputs(), toy_models.draw(maskings)
    before = run(fusion, decoder, maskings, inputs)
    changed = {}
    for name, x in inputs.items():
        spec = toy_models.MODALITIES[name]
        patches = spec.patchify(x)
        changed[name] = spec.unpatchify(jnp.where(masks[name][..., None], patches + 9.0, patches))
        assert not np.allclose(changed[name], x)
    after = run(fusion, decoder, maskings, changed)
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, before, after)))


@cases
def test_permuting_the_batch_permutes_the_output(fusion, decoder, video, audio):
    maskings = {"video": video, "audio": audio}
    turn = functools.partial(jax.tree.map, lambda x: jnp.roll(x, 1, axis=0))
    inputs, masks = toy_models.inputs(), toy_models.draw(maskings)
    present = {"audio": jnp.array([True, False, True])}
    before = run(fusion, decoder, maskings, inputs, masks, present)
    after = run(fusion, decoder, maskings, turn(inputs), turn(masks), turn(present))
    equal(after, turn(before))


@pytest.mark.parametrize("fusion, decoder", ARCHITECTURES)
def test_absent_sound_changes_nothing_for_video(fusion, decoder):
    maskings = {"video": "tube", "audio": "time_freq"}
    inputs = toy_models.inputs()
    before = run(fusion, decoder, maskings, inputs)
    louder = inputs | {"audio": inputs["audio"] * 3.0}
    after = run(fusion, decoder, maskings, louder)
    assert np.array_equal(before["present"]["video"][1], after["present"]["video"][1])
    equal(before["present"]["video"][1], before["video"]["video"][1])  # as if given alone
    equal(before["present"]["video"][::2], before["all"]["video"][::2])  # others see their sound
    fused = fusion in ("early", "mid") or decoder == "joint"
    influenced = not np.allclose(before["all"]["video"], after["all"]["video"], atol=1e-4)
    assert influenced == fused


@pytest.mark.parametrize("fusion, decoder", list(zip(FUSIONS, (*DECODERS, "shared"), strict=True)))
def test_predictions_are_about_the_hidden_tokens(fusion, decoder):
    model = toy_models.autoencoder(fusion=fusion, decoder=decoder)
    inputs = toy_models.inputs(2)
    output, everything = _draw_and_reconstruct(model, inputs, toy_models.keys(2))
    for name, spec in toy_models.MODALITIES.items():
        predicted = output.predictions[name]
        assert predicted.shape == (2, spec.hidden, spec.patch_dim)
        assert everything[name].shape == (2, spec.tokens, spec.patch_dim)
        equal(masking.take_hidden(everything[name], output.masks[name]), predicted)


@nnx.jit
def _draw_and_reconstruct(model, inputs, keys_b):
    output = model(inputs, keys_b=keys_b)
    return output, model.reconstruct(inputs, output.masks)


def test_masks_differ_between_modalities_keys_and_examples():
    model = toy_models.autoencoder(fusion="shared")
    inputs = toy_models.inputs()
    first, second, again = (
        _draw_and_reconstruct(model, inputs, toy_models.keys(seed=seed))[0] for seed in (0, 1, 0)
    )
    for name in inputs:
        mask = np.asarray(first.masks[name].as_bool())
        assert np.array_equal(mask, again.masks[name].as_bool())
        assert not np.array_equal(mask, second.masks[name].as_bool())
        assert len(np.unique(mask, axis=0)) > 1


def test_a_shared_encoder_sums_the_gradients_of_both_modalities():
    model = toy_models.autoencoder(fusion="shared", decoder="separate", depth=1)
    inputs = toy_models.inputs()
    both, *single = (
        _gradients(model, {name: inputs[name] for name in subset})["encoders"]["shared"]
        for subset in (("video", "audio"), ("video",), ("audio",))
    )
    equal(both, jax.tree.map(jnp.add, *single), tolerance=1e-4)


def _gradients(model, inputs):
    graphdef, params = nnx.split(model)
    masks = toy_models.draw({"video": "random", "audio": "random"})

    def loss(params):
        predictions = nnx.merge(graphdef, params)(inputs, masks=masks).predictions
        return sum(jnp.sin(x).sum() for x in predictions.values())

    return nnx.to_pure_dict(jax.jit(jax.grad(loss))(params))


@pytest.mark.parametrize("fusion", ["separate", "mid"])
def test_every_parameter_gets_a_gradient(fusion):
    model = toy_models.autoencoder(fusion=fusion, modality_tokens=True, positions="learned")
    grads = _gradients(model, toy_models.inputs())
    zero = [jax.tree_util.keystr(path) for path, g in jax.tree_util.tree_leaves_with_path(grads)
            if not np.abs(g).max()]  # fmt: skip
    assert not zero


def test_inpainting_decodes_each_modality_from_the_other():
    model = toy_models.autoencoder(fusion="separate", inpainting=True)
    maskings = {"video": "random", "audio": "random"}
    inputs, masks = toy_models.inputs(), toy_models.draw(maskings)
    before = model(inputs, masks=masks)
    quiet = model(inputs | {"audio": inputs["audio"] * 0.0}, masks=masks)
    assert np.array_equal(quiet.predictions["audio"], before.predictions["audio"])
    assert not np.allclose(quiet.predictions["video"], before.predictions["video"], atol=1e-3)
    specs = toy_models.MODALITIES
    for name, other in (("video", "audio"), ("audio", "video")):
        hidden = np.arange(specs[other].visible, specs[name].tokens)
        assert np.array_equal(before.masks[name].hidden, np.tile(hidden, (3, 1)))
        assert before.predictions[name].shape[1] == len(hidden)
    lacking = model(inputs, masks=masks, present={"audio": jnp.array([True, False, True])})
    assert lacking.present is not None
    assert lacking.present["video"].tolist() == [True, False, True]
    with pytest.raises(ValueError, match="give both"):
        model({"video": inputs["video"]}, masks=masks)


def test_loss_on_visible_predicts_all_tokens():
    model = toy_models.autoencoder(loss_on_visible=True)
    output = model(toy_models.inputs(), keys_b=toy_models.keys())
    for name, spec in toy_models.MODALITIES.items():
        assert output.predictions[name].shape == (3, spec.tokens, spec.patch_dim)


def test_encode_takes_any_subset_and_class_tokens_stay_inside():
    model = toy_models.autoencoder(fusion="mid", pool="token")
    inputs = toy_models.inputs()
    encode = nnx.jit(lambda model, inputs, present=None: model.features(inputs, present=present))
    both, video = encode(model, inputs), encode(model, {"video": inputs["video"]})
    assert {name: x.shape for name, x in both.items()} == {
        name: (3, spec.tokens, 16) for name, spec in toy_models.MODALITIES.items()
    }
    absent = encode(model, inputs, {"audio": jnp.zeros(3, bool)})
    equal(absent["video"], video["video"])
    assert not np.allclose(both["video"], video["video"], atol=1e-3)


@pytest.mark.parametrize("positions", ["sincos3d", "learned"])
def test_positions_tell_tokens_apart(positions):
    model = toy_models.autoencoder(width=24, positions=positions, decoder_positions=positions,
                                    decoder_width=12)  # fmt: skip
    x = {"video": jnp.ones((1, 4, 8, 8, 3)), "audio": jnp.ones((1, 16, 16))}
    for tokens in model.tokenise(x).values():
        assert len(np.unique(np.asarray(tokens[0]).round(4), axis=0)) == tokens.shape[1]


def test_bfloat16_predictions_are_float32_and_close():
    masks = toy_models.draw({"video": "random", "audio": "random"})
    run = nnx.jit(lambda model, inputs, masks: model(inputs, masks=masks))
    exact = run(toy_models.autoencoder(fusion="mid"), toy_models.inputs(), masks)
    compute = schema.Compute(dtype="bfloat16")
    half = run(toy_models.autoencoder(compute, fusion="mid"), toy_models.inputs(), masks)
    for name, x in exact.predictions.items():
        y = half.predictions[name]
        assert y.dtype == jnp.float32
        assert 0 < np.abs(x - y).max() < 0.1 * np.abs(x).max()


def test_wrong_inputs_say_what_to_do():
    model = toy_models.autoencoder()
    inputs = toy_models.inputs()
    with pytest.raises(ValueError, match="inputs hold nothing; this model takes video, audio"):
        model({}, keys_b=toy_models.keys())
    with pytest.raises(ValueError, match="'smell'"):
        model({"smell": inputs["audio"]}, keys_b=toy_models.keys())
    with pytest.raises(ValueError, match="audio input has shape"):
        model.features({"audio": inputs["audio"][:, :-1]})
    with pytest.raises(ValueError, match="pass keys_b"):
        model(inputs)
    with pytest.raises(ValueError, match="expected 4 in every row"):
        model(inputs, masks={name: jnp.zeros((3, 16), bool) for name in inputs})
    single = {"video": toy_models.MODALITIES["video"]}
    with pytest.raises(ValueError, match="inpainting needs two modalities"):
        toy_models.autoencoder(modalities=single, inpainting=True)
