"""Our models built from Scenic's configs and golden parameters."""

import json

import foreign_params as foreign
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from av_mae import config
from av_mae import modality as modality_lib
from av_mae.models import classifier, mae

NAMES = {"video": "rgb", "audio": "spectrogram"}
FUSIONS = {
    "concat_and_encode": "early",
    "separate_encoders": "separate",
    "same_encoder": "shared",
    "separate_encoders_and_concat": "mid",
}
DECODERS = {"same_decoder": "shared", "separate_decoders": "separate", "concat_and_decode": "joint"}


def case(folder):
    if not folder.is_dir():
        pytest.skip(f"{folder.name} is not among the golden files")
    read = [dict(np.load(folder / f"{name}.npz")) for name in ("params", "arrays")]
    return json.loads((folder / "config.json").read_text()), *read


POSITIONS = {
    "sinusoidal_1d": "sincos",
    "sinusoidal_2d": "sincos3d",
    "sinusoidal_3d": "sincos3d",
    "learned_1d": "learned",
    "learned_space_time": "learned",
}


def one_video(theirs, ratio=0.0, strategy="random"):
    """A single-stream model's input; an image is a video of one frame."""
    _, *frames, height, width, _ = theirs["input_shape"]
    if height != width:
        pytest.skip("our videos are square")
    *patch, time = (theirs["model"]["patches"]["size"] + [1])[:3]
    return modality_lib.Video(
        frames=frames[0] if frames else 1,
        size=height,
        patch=(time, *patch),
        mask_ratio=ratio,
        masking=strategy,
    )


def single_values(params, model, video):
    values = {"mask_token/video": params["mask_token"][0, 0]}
    for theirs, ours in (
        ("embedding", "embed"),
        ("decoder_projection", "project"),
        ("output_projection", "predict"),
    ):
        values |= foreign.scenic_dense(params, theirs, f"{ours}/video")
    values |= foreign.scenic_encoder(params, "Transformer", "encoders/joint", model.depth)
    values |= foreign.scenic_encoder(params, "Decoder", "decoders/shared", model.decoder_depth)
    for part, ours, kind in (
        ("input", "positions", model.positions),
        ("decoder", "decoder_positions", model.decoder_positions),
    ):
        if kind == "learned":
            values[f"{ours}/video"] = _learned(params, f"posembed_{part}", video)
    if model.pool == "token":
        values["class_token/video"] = params["cls"][0, 0]
    return values


def _learned(params, name, video):
    """A table over tokens; separate tables of space and time add up to one."""
    if f"{name}/pos_embedding" in params:
        return params[f"{name}/pos_embedding"][0]
    table = params[f"{name}/pos_embedding_space"] + params[f"{name}/pos_embedding_time"]
    return table.reshape(video.tokens, -1)


def masked(modalities, model):
    return mae.MaskedAutoencoder(modalities, model, config.Compute(), rngs=nnx.Rngs(0))


def decoder_sizes(d):
    return {f"decoder_{key}": value for key, value in sizes(d).items()}


def make_classifier(modalities, model, classes):
    compute = config.Compute()
    return classifier.Classifier(modalities, model, compute, classes=classes, rngs=nnx.Rngs(0))


def sizes(m):
    return {
        "width": m["hidden_size"],
        "depth": m["num_layers"],
        "heads": m["num_heads"],
        "mlp": m["mlp_dim"],
    }


def make_modalities(m, shapes, ratios):
    height, width, time = m["patches"]["size"]
    assert height == width
    made = {}
    if "rgb" in shapes:
        shape = shapes["rgb"]
        made["video"] = modality_lib.Video(
            frames=shape[1],
            size=shape[2],
            patch=(time, height, width),
            mask_ratio=ratios.get("rgb", 0.0),
            weight=0.5,
        )
    if "spectrogram" in shapes:
        shape = shapes["spectrogram"]
        made["audio"] = modality_lib.Audio(
            seconds=shape[1] / 100,
            mels=shape[2],
            patch=(height, width),
            mask_ratio=ratios.get("spectrogram", 0.0),
            weight=0.5,
        )
    return made


def make_inputs(modalities, arrays):
    return {
        name: jnp.asarray(arrays[f"inputs/{NAMES[name]}"]).reshape(-1, *modality.input_shape)
        for name, modality in modalities.items()
    }


def autoencoder(theirs, params, arrays):
    m, d, loss = theirs["model"], theirs["model"]["decoder_config"], theirs["masked_feature_loss"]
    weights = loss["modality_weight"]
    modalities = make_modalities(m, theirs["input_shapes"], loss["token_mask_probability_dict"])
    modalities = {
        name: modality.__class__(**(vars(modality) | {"weight": weights[NAMES[name]]}))
        for name, modality in modalities.items()
    }
    norm = m.get("normalise_encoder_output", True)
    model = config.Model(
        **sizes(m),
        fusion=FUSIONS[m["encoder_strategy"]],
        fusion_layers=m.get("fusion_layers", 0),
        decoder=DECODERS[m["decoder_strategy"]],
        **decoder_sizes(d),
        final_norm=norm,
        decoder_norm=norm,
        modality_tokens=m.get("use_modality_tokens", False),
        inpainting=m.get("use_inpainting", False),
    )
    values = _stacks(params, model, list(modalities))
    for name in modalities:
        other = NAMES[name]
        values |= foreign.scenic_dense(params, f"embedding_{other}", f"embed/{name}")
        values |= foreign.scenic_dense(params, f"decoder_projection_{other}", f"project/{name}")
        values |= foreign.scenic_dense(params, f"output_projection_{other}", f"predict/{name}")
        values[f"mask_token/{name}"] = params[f"mask_token_{other}"][0, 0]
        for ours, part in (("modality_token", "Encoder"), ("decoder_modality_token", "Decoder")):
            if model.modality_tokens:
                values[f"{ours}/{name}"] = params[f"{part}_modality_token_{other}"][0, 0]
    return foreign.load(lambda: masked(modalities, model), values), make_inputs(modalities, arrays)


def _stacks(params, model, names):
    values = {}
    lower = model.depth - (model.fusion_layers if model.fusion == "mid" else 0)
    for name in names if model.fusion in ("separate", "mid") else ():
        ours, theirs = f"encoders/{name}", f"Transformer_{NAMES[name]}"
        values |= foreign.scenic_encoder(params, theirs, ours, lower)
    match model.fusion:
        case "mid":
            layers = model.fusion_layers
            values |= foreign.scenic_encoder(params, "Transformer_concat", "encoders/joint", layers)
        case "early":
            values |= foreign.scenic_encoder(params, "Transformer", "encoders/joint", model.depth)
        case "shared":
            values |= foreign.scenic_encoder(params, "Transformer", "encoders/shared", model.depth)
    for name in names if model.decoder == "separate" else (model.decoder,):
        theirs = f"Decoder_{NAMES[name]}" if model.decoder == "separate" else "Decoder"
        values |= foreign.scenic_encoder(params, theirs, f"decoders/{name}", model.decoder_depth)
    return values


def mbt(theirs, params, arrays):
    m = theirs["model"]
    shapes = {k: theirs["input_shapes"][k] for k in m["modality_fusion"]}
    modalities = make_modalities(m, shapes, {})
    token = m["classifier"] == "token"
    model = config.Model(
        **sizes(m),
        fusion="bottleneck",
        fusion_layers=m["num_layers"] - m["fusion_layer"],
        fusion_norm=False,
        shared_norm=True,
        bottlenecks=(m["n_bottlenecks"] + token) * m["use_bottleneck"],
        bottlenecks_at_test=m["test_with_bottlenecks"],
        modality_tokens=m.get("use_modality_tokens", False),
        positions="learned" if token else "sincos",
        pool={"gap": "mean", "gmp": "max", "token": "token"}[m["classifier"]],
        head_width=m["representation_size"] or 0,
    )
    head = "ProjectionHeadAndClassifier_0"
    values = foreign.scenic_dense(params, f"{head}/output_projection", "head")
    if model.head_width:
        values |= foreign.scenic_dense(params, f"{head}/pre_logits", "head/hidden")
    for name in modalities:
        values |= _mbt_modality(params, model, name, first=name == next(iter(modalities)))
    if len(modalities) > 1 and model.bottlenecks:
        values["encoders/bottleneck"] = params["bottleneck"][0]
    for key in ("scale", "bias"):
        values[f"encoders/norm/{key}"] = params[f"Transformer/encoder_norm/{key}"]
    classes = theirs["num_classes"]
    result = foreign.load(lambda: make_classifier(modalities, model, classes), values)
    return result, make_inputs(modalities, arrays)


def _mbt_modality(params, model, name, first):
    """MBT gives class tokens position 0 and others the next ones: learned positions hold those."""
    embedding = {"video": "embedding", "audio": "embedding_spectrogram"}[name]
    values = foreign.scenic_dense(params, embedding, f"embed/{name}")
    suffix = "" if first else "_spec"
    lower = model.depth - model.fusion_layers
    for ours, layers, start in (
        (f"encoders/{name}", lower, 0),
        (f"encoders/fused/{name}", model.fusion_layers, lower),
    ):
        blocks = [f"Transformer/encoderblock_{start + i}{suffix}" for i in range(layers)]
        if blocks:
            stack = foreign.scenic_stack(params, blocks)
            values |= {f"{ours}/{key}": x for key, x in stack.items()}
    if model.modality_tokens:
        values[f"modality_token/{name}"] = params[f"Encoder_modality_token_{NAMES[name]}"][0, 0]
    if model.pool == "token":
        table = _interleaved({"video": 9, "audio": 11}[name], model.width)
        cls = params["cls" if first else f"cls{NAMES[name]}"][0, 0]
        values[f"class_token/{name}"] = cls + table[0]
        values[f"positions/{name}"] = table[1:]
    return values


def _interleaved(n, width):
    angles = np.arange(n)[:, None] / 10000.0 ** (np.arange(0, width, 2) / width)
    return np.stack([np.sin(angles), np.cos(angles)], -1).reshape(n, width).astype(np.float32)
