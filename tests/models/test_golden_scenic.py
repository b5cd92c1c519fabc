"""The arithmetic agrees with Scenic's av_mae, run on the same weights, inputs and masks."""

import functools

import foreign_params as foreign
import jax.numpy as jnp
import numpy as np
import pytest
import scenic_models as scenic
from flax import nnx

from av_mae import config, losses
from av_mae.models import masking

PRETRAIN = [
    "mm_concat_and_encode__same_decoder",
    "mm_concat_and_encode__separate_decoders",
    "mm_same_encoder__same_decoder",
    "mm_same_encoder__modality_tokens",
    "mm_separate_encoders__same_decoder",
    "mm_separate_encoders__no_output_norm",
    "mm_separate_encoders__inpainting",
    "mm_separate_encoders_and_concat__same_decoder",
    "mm_rgb_only",
    "mm_spectrogram_only",
]
MBT = [
    "mbt_av_bottleneck_fusion0",
    "mbt_av_bottleneck_multilabel",
    "mbt_av_bottleneck_no_test_bottlenecks",
    "mbt_av_bottleneck_softmax_modality_tokens",
    "mbt_av_full_fusion",
    "mbt_av_gmp_representation",
    "mbt_av_spec_nondivisible",
    "mbt_av_token",
    "mbt_rgb_only",
]


@pytest.mark.parametrize("case", PRETRAIN)
def test_pretraining_agrees(golden, case):
    theirs, params, arrays = scenic.case(golden / "scenic" / "pretrain" / case)
    model, inputs = scenic.autoencoder(theirs, params, arrays)
    masks = {
        name: masking.from_order(
            jnp.asarray(arrays[f"unmasked_indices/{scenic.NAMES[name]}"]),
            jnp.asarray(arrays[f"masked_indices/{scenic.NAMES[name]}"]),
        )
        for name in inputs
    }
    output, everything, encoded, scores = _run_autoencoder(model, inputs, masks)
    for name, other in scenic.NAMES.items():
        if name not in inputs:
            continue
        predictions = arrays[f"predictions/{other}"]
        _assert_close(everything[name], predictions)
        hidden = output.masks[name].hidden
        expected = np.take_along_axis(predictions, np.asarray(hidden)[..., None], 1)
        _assert_close(output.predictions[name], expected)
        _assert_close(encoded[name], arrays[f"eval_encoded/{other}"])
        assert np.array_equal(output.masks[name].as_bool(), arrays[f"token_mask/{other}"] > 0)
    _assert_close(scores[0], arrays["loss"])
    _assert_close(scores[1], arrays["loss_batch_mask_1_0"])


SINGLE = [
    "vivit_random",
    "vivit_random_sincos3d",
    "vivit_random_learned_space_time",
    "vivit_tube",
    "vit_sincos2d_token_std",
    "vit_learned_gap_nonsquare",
]


@pytest.mark.parametrize("case", SINGLE)
def test_pretraining_of_one_modality_agrees(golden, case):
    theirs, params, arrays = scenic.case(golden / "scenic" / "pretrain_single" / case)
    m, loss = theirs["model"], theirs["masked_feature_loss"]
    video = scenic.one_video(theirs, loss["token_mask_probability"], loss["masking_strategy"])
    model = config.Model(
        **scenic.sizes(m),
        **scenic.decoder_sizes(m["decoder_config"]),
        fusion="early",
        decoder="shared",
        pool="token" if m["classifier"] == "token" else "mean",
        positions=scenic.POSITIONS[m["positional_embedding"]],
        decoder_positions=scenic.POSITIONS[m["positional_embedding_decoder"]],
        normalise_targets="patch" if loss.get("standardise_per_patch") else "none",
    )
    values = scenic.single_values(params, model, video)
    built = foreign.load(lambda: scenic.masked({"video": video}, model), values)
    inputs = {"video": jnp.asarray(arrays["inputs"]).reshape(-1, *video.input_shape)}
    indices = [jnp.asarray(arrays[f"{kind}_indices"]) for kind in ("unmasked", "masked")]
    masks = {"video": masking.from_order(*indices)}
    output, everything, encoded, scores = _run_autoencoder(
        built, inputs, masks, model.normalise_targets
    )
    _assert_close(everything["video"], arrays["predictions"])
    _assert_close(encoded["video"], arrays["eval_encoded"][:, -video.tokens :])
    _assert_close(scores[0], arrays["loss"])
    assert np.array_equal(output.masks["video"].as_bool(), arrays["token_mask"] > 0)


def test_class_token_of_one_modality_agrees(golden):
    theirs, params, arrays = scenic.case(golden / "scenic" / "finetune" / "vivit_token")
    video = scenic.one_video(theirs)
    model = config.Model(**scenic.sizes(theirs["model"]), fusion="early", pool="token")
    values = (
        foreign.scenic_dense(params, "embedding", "embed/video")
        | foreign.scenic_encoder(params, "Transformer", "encoders/joint", model.depth)
        | foreign.scenic_dense(params, "output_projection", "head")
        | {"class_token/video": params["cls"][0, 0]}
    )
    built = foreign.load(lambda: scenic.make_classifier({"video": video}, model, 7), values)
    inputs = {"video": jnp.asarray(arrays["inputs"])}
    _, _, logits = _run_classifier(built, inputs)
    _assert_close(logits, arrays["logits_eval"])


@functools.partial(nnx.jit, static_argnums=3)
def _run_autoencoder(model, inputs, masks, normalise="none"):
    output = model(inputs, masks=masks)
    modalities = {m.name: m for m in model.modalities}
    hidden = {name: mask.hidden for name, mask in output.masks.items()}
    scores = [
        losses.reconstruction(
            output.predictions, inputs, hidden, modalities, normalise=normalise, valid_b=valid_b
        )[0]
        for valid_b in (jnp.array([True, True]), jnp.array([True, False]))
    ]
    return output, model.reconstruct(inputs, masks), model.encode(inputs), scores


@pytest.mark.parametrize("case", MBT)
def test_bottleneck_finetuning_agrees(golden, case):
    theirs, params, arrays = scenic.case(golden / "scenic" / "finetune" / case)
    model, inputs = scenic.mbt(theirs, params, arrays)
    smoothing = theirs["label_smoothing"] or 0.0
    logits, features, merged = _run_classifier(model, inputs)
    for name in inputs:
        other = scenic.NAMES[name]
        _assert_close(logits[name], arrays[f"logits_train/{other}"])
        for mode, tokens in features.items():
            expected = arrays[f"tokens_{mode}/{other}"]
            _assert_close(tokens[name], expected)
    _assert_close(merged, arrays["logits_eval"])
    labels = {name: jnp.asarray(arrays[f"labels/{scenic.NAMES[name]}"]) for name in inputs}
    for valid, key in (((1, 1), "loss"), ((1, 0), "loss_batch_mask_1_0")):
        loss, _ = losses.classification(
            logits,
            labels,
            multilabel="Multilabel" in theirs["class"],
            smoothing=smoothing,
            valid_b=jnp.asarray(valid, bool),
        )
        _assert_close(loss, arrays[key])


@nnx.jit
def _run_classifier(model, inputs):
    tokens = model.tokenise(inputs)
    features = {
        mode: model.encode_tokens(tokens, train=mode == "train") for mode in ("train", "eval")
    }
    return model(inputs, train=True), features, model.predict(inputs)


def test_linear_probe_agrees(golden):
    theirs, params, arrays = scenic.case(golden / "scenic" / "finetune" / "vivit_gap_frozen_bn")
    m = theirs["model"]
    sizes = config.Model(**scenic.sizes(m), final_norm=False, head_norm=True, linear_probe=True)
    modalities = scenic.make_modalities(m, {"rgb": theirs["input_shape"]}, {})
    values = (
        foreign.scenic_dense(params, "embedding", "embed/video")
        | foreign.scenic_encoder(params, "Transformer", "encoders/joint", m["num_layers"])
        | foreign.scenic_dense(params, "output_projection", "head")
        | {f"head_norm/{k}": params[f"encoder_norm/{k}"] for k in ("scale", "bias")}
    )
    model = foreign.load(lambda: scenic.make_classifier(modalities, sizes, 7), values)
    statistics = model.standardise["video"]
    for key in ("mean", "var"):
        getattr(statistics, key)[...] = arrays[f"state/batch_stats/BatchNorm_0/{key}"]
    inputs = {"video": jnp.asarray(arrays["inputs"])}
    _assert_close(model.predict(inputs), arrays["logits_eval"], 1e-4)
    trained = model(inputs, train=True)["video"]
    _assert_close(trained, arrays["logits_train"], 1e-4)
    for key in ("mean", "var"):
        expected = arrays[f"new_state/batch_stats/BatchNorm_0/{key}"]
        _assert_close(getattr(statistics, key)[...], expected)


def _assert_close(ours, theirs, tolerance=2e-5):
    np.testing.assert_allclose(ours, theirs, atol=tolerance, rtol=tolerance)
