"""The arithmetic agrees with VideoMAE's own program, run on the same weights and clips."""

import json

import foreign_params as foreign
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from av_mae import config, losses
from av_mae import modality as modality_lib
from av_mae.models import classifier, mae

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FAMILY = {"gelu": "erf", "fusion": "early", "decoder": "shared", "project_bias": False}


@pytest.mark.parametrize(
    "case, normalise",
    [
        ("pretrain_normpix_tube", "patch_channel"),
        ("pretrain_normpix_random", "patch_channel"),
        ("pretrain_gamma_noqkvbias", "patch_channel"),
        ("pretrain_patch16", "patch_channel"),
        ("pretrain_raw_tube09", "raw"),
    ],
)
def test_pretraining_agrees(golden, case, normalise):
    theirs, state, io = _case(golden / "videomae" / "official" / case)
    video = _video(theirs, theirs["num_frames"], mask_ratio=_ratio(io))
    sizes = config.Model(
        **FAMILY,
        width=theirs["encoder_embed_dim"],
        depth=theirs["encoder_depth"],
        heads=theirs["encoder_num_heads"],
        mlp=theirs["encoder_embed_dim"] * theirs["mlp_ratio"],
        decoder_width=theirs["decoder_embed_dim"],
        decoder_depth=theirs["decoder_depth"],
        decoder_heads=theirs["decoder_num_heads"],
        decoder_mlp=theirs["decoder_embed_dim"] * theirs["mlp_ratio"],
        qkv_bias="qv" if theirs["qkv_bias"] else "none",
        layer_scale=theirs.get("init_values", 0.0),
        normalise_targets=normalise,
    )
    modalities = {"video": video}
    model = foreign.load(
        lambda: mae.MaskedAutoencoder(modalities, sizes, config.Compute(), rngs=nnx.Rngs(0)),
        _pretraining_values(state, sizes),
    )
    inputs = {"video": jnp.asarray(io["videos"]).transpose(0, 2, 3, 4, 1)}
    masks = {"video": jnp.asarray(io["bool_masked_pos"])}
    graphdef, params = nnx.split(model)

    @jax.jit
    def run(params):
        def loss(params):
            output = nnx.merge(graphdef, params)(inputs, masks=masks)
            hidden = {"video": output.masks["video"].hidden}
            everyone = jnp.ones(len(inputs["video"]), bool)
            score, _ = losses.reconstruction(
                output.predictions,
                inputs,
                hidden,
                modalities,
                normalise=normalise,
                valid_b=everyone,
            )
            return score, output

        (score, output), grads = jax.value_and_grad(loss, has_aux=True)(params)
        patches = jnp.take_along_axis(
            video.patchify(inputs["video"]), output.masks["video"].hidden[..., None], 1
        )
        return score, output, losses.targets(patches, video, normalise), nnx.to_pure_dict(grads)

    score, output, targets, grads = run(params)
    _close(output.predictions["video"], io["outputs"])
    _close(score, io["loss"])
    others = {  # recorded for some of the cases
        "labels": targets,
        "grad/mask_token": grads["mask_token"]["video"][None, None],
        "grad/encoder.patch_embed.proj.bias": grads["embed"]["video"]["bias"],
        "grad/encoder_to_decoder.weight": grads["project"]["video"]["kernel"].T,
    }
    for key, ours in others.items():
        if key in io:
            _close(ours, io[key], 1e-4)


@pytest.mark.parametrize(
    "case",
    ["finetune_meanpool", "finetune_use_cls", "finetune_gamma_learnpos", "finetune_meanpool_f16"],
)
def test_finetuning_agrees(golden, case):
    theirs, state, io = _case(golden / "videomae" / "official" / case)
    pooled = theirs.get("use_mean_pooling", True)
    learned = theirs.get("use_learnable_pos_emb", False)
    video = _video(theirs, theirs["all_frames"])
    sizes = config.Model(
        **FAMILY,
        width=theirs["embed_dim"],
        depth=theirs["depth"],
        heads=theirs["num_heads"],
        mlp=theirs["embed_dim"] * theirs["mlp_ratio"],
        qkv_bias="qv" if theirs["qkv_bias"] else "none",
        layer_scale=theirs.get("init_values", 0.0),
        positions="learned" if learned else "sincos",
        pool="mean" if pooled else "first",
        final_norm=not pooled,
        head_norm=pooled,
    )
    values = foreign.videomae_embedding(state, "") | {
        "head/kernel": state["head.weight"].T,
        "head/bias": state["head.bias"],
    }
    values |= _stack(state, "blocks", "encoders/joint", sizes.depth, sizes.heads)
    norm, ours = ("fc_norm", "head_norm") if pooled else ("norm", "encoders/joint/norm")
    values |= {f"{ours}/scale": state[f"{norm}.weight"], f"{ours}/bias": state[f"{norm}.bias"]}
    if learned:
        values["positions/video"] = state["pos_embed"][0]
    make = lambda: classifier.Classifier(  # noqa: E731
        {"video": video},
        sizes,
        config.Compute(),
        classes=theirs["num_classes"],
        rngs=nnx.Rngs(0),
    )
    model = foreign.load(make, values)
    inputs = {"video": jnp.asarray(io["videos"]).transpose(0, 2, 3, 4, 1)}
    logits = nnx.jit(lambda model, inputs: model(inputs)["video"])(model, inputs)
    _close(logits, io["logits"])
    labels = {"video": jax.nn.one_hot(io["targets"], theirs["num_classes"])}
    everyone = jnp.ones(len(logits), bool)
    loss, _ = losses.classification({"video": logits}, labels, multilabel=False, valid_b=everyone)
    _close(loss, io["ce_loss"])


def _pretraining_values(state, sizes):
    values = foreign.videomae_embedding(state, "encoder.") | {
        "project/video/kernel": state["encoder_to_decoder.weight"].T,
        "mask_token/video": state["mask_token"][0, 0],
        "predict/video/kernel": state["decoder.head.weight"].T,
        "predict/video/bias": state["decoder.head.bias"],
    }
    values |= _stack(state, "encoder.blocks", "encoders/joint", sizes.depth, sizes.heads)
    depth, heads = sizes.decoder_depth, sizes.decoder_heads
    values |= _stack(state, "decoder.blocks", "decoders/shared", depth, heads)
    for ours, theirs in (("encoders/joint", "encoder"), ("decoders/shared", "decoder")):
        values[f"{ours}/norm/scale"] = state[f"{theirs}.norm.weight"]
        values[f"{ours}/norm/bias"] = state[f"{theirs}.norm.bias"]
    return values


def _stack(state, theirs, ours, layers, heads):
    stacked = foreign.videomae_stack(state, theirs, layers, heads)
    return {f"{ours}/{name}": x for name, x in stacked.items()}


def _case(folder):
    if not folder.is_dir():
        pytest.skip(f"{folder.name} is not among the golden files")
    file = next(path for path in folder.iterdir() if path.suffix in (".pth", ".pt"))
    content = foreign.read_torch(file)
    state = content.get("model", content.get("module"))
    return json.loads((folder / "config.json").read_text()), state, dict(np.load(folder / "io.npz"))


def _video(theirs, frames, **changes):
    patch = theirs["patch_size"]
    return modality_lib.Video(
        frames=frames,
        size=theirs["img_size"],
        patch=(theirs.get("tubelet_size", 2), patch, patch),
        mean=MEAN,
        std=STD,
        **changes,
    )


def _ratio(io):
    return float(io["bool_masked_pos"][0].mean())


def _close(ours, theirs, tolerance=2e-5):
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)
