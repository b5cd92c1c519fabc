"""Models of ours read from VideoMAE's golden files, whatever program wrote them."""

import dataclasses
import pathlib
from typing import Any

import golden_cases
import jax
import jax.numpy as jnp
import numpy as np
import optax
import scenic_cases
from flax import nnx, traverse_util

from av_mae import tasks
from av_mae.convert import describe, mmaction2, read, table, videomae
from av_mae.experiment import checkpoint
from av_mae.experiment.step import split
from av_mae.models import masking
from av_mae.tasks import losses


def model(saved: checkpoint.Saved) -> tuple[Any, Any, Any]:
    """(graph definition, parameters, other variables) of the task's model."""
    task = tasks.make(saved.experiment, saved.labels)
    graphdef, _, rest = split(task.init(nnx.Rngs(0)))
    return graphdef, jax.tree.map(jnp.asarray, saved.params), rest


def known(settings: dict[str, Any]) -> dict[str, Any]:
    """What the constructor's arguments tell beyond the file."""
    names = {
        "model.heads": ("num_heads", "encoder_num_heads"),
        "model.decoder_heads": ("decoder_num_heads",),
        "modalities.video.size": ("img_size",),
        "modalities.video.frames": ("all_frames", "num_frames"),
    }
    found = {
        ours: settings[theirs]
        for ours, each in names.items()
        for theirs in each
        if theirs in settings
    }
    if "normlize_target" in settings:
        kind = "patch_channel" if settings["normlize_target"] else "raw"
        found["model.normalise_targets"] = kind
    return found


def load(source: pathlib.Path, more: dict[str, Any], masks: np.ndarray | None = None):
    """Reads a file; the mask ratio is that of the golden masks."""
    if masks is not None:
        ratio = {"modalities.video.mask_ratio": (masks[0].sum() + 0.5) / masks[0].size}
        more = more | ratio | {"modalities.video.masking": "random"}
    return read.read(source, more | golden_cases.QUICK)


def resized(file: pathlib.Path, more: dict[str, Any], size: tuple[int, ...]) -> checkpoint.Saved:
    """A file of mmaction2 at a picture size that may be another one, and need not be square."""
    found = mmaction2.describe_file(file)
    assert found
    height, width = size
    if size != (more["modalities.video.size"],) * 2:
        more = more | {"modalities.video.size": height, "model.positions": "learned"}
    e = describe.experiment(found, more, str(file))
    video = scenic_cases.Oblong(**vars(e.modalities["video"]), width=width)
    e = dataclasses.replace(e, modalities={"video": video})
    return read.assemble(found, e, str(file))


def pretrain(
    saved: checkpoint.Saved, video_bfhwc: np.ndarray, masks: np.ndarray, *, gradients: bool = True
) -> dict[str, Any]:
    """Everything that is recorded of a pretraining step, gradients under the official names."""
    e = saved.experiment
    graphdef, params, rest = model(saved)
    inputs, hidden = {"video": jnp.asarray(video_bfhwc)}, {"video": jnp.asarray(masks)}
    normalise = e.model.normalise_targets

    def step(params):
        output = nnx.merge(graphdef, params, rest)(inputs, masks=hidden)
        index = {"video": output.masks["video"].hidden}
        loss, _ = losses.reconstruction(
            output.predictions, inputs, index, e.modalities,
            normalise=normalise, valid_b=jnp.ones(len(video_bfhwc), bool),
        )  # fmt: skip
        patches = e.modalities["video"].patchify(inputs["video"])
        patches = jnp.take_along_axis(patches, index["video"][..., None], 1)
        wanted = losses.targets(patches, e.modalities["video"], normalise)
        return loss, (output.predictions["video"], wanted)

    result, grads = golden_cases.evaluate(step, params, gradients=gradients)
    loss, (outputs, labels) = result
    made = {"loss": loss, "outputs": outputs, "labels": labels}
    return made | (_gradients(saved, grads) if gradients else {})


def finetune(
    saved: checkpoint.Saved, video_bfhwc: np.ndarray, targets: np.ndarray, *, gradients: bool = True
) -> dict[str, Any]:
    """Logits, loss, encodings and gradients under the official names."""
    graphdef, params, rest = model(saved)
    inputs = {"video": jnp.asarray(video_bfhwc)}
    labels = {"video": jax.nn.one_hot(targets, len(saved.labels))}

    def step(params):
        net = nnx.merge(graphdef, params, rest)
        logits = net(inputs)
        loss, _ = losses.classification(
            logits, labels, multilabel=False, valid_b=jnp.ones(len(targets), bool)
        )
        return loss, (logits["video"], net.features(inputs)["video"], net.pooled(inputs)["video"])

    result, grads = golden_cases.evaluate(step, params, gradients=gradients)
    loss, (logits, tokens, pooled) = result
    made = {"logits": logits, "loss": loss, "tokens": tokens, "pooled": pooled}
    made["softmax"] = jax.nn.softmax(logits)
    return made | (_gradients(saved, grads) if gradients else {})


def _gradients(saved: checkpoint.Saved, grads: Any) -> dict[str, Any]:
    return official_gradients(saved, grads) | {"grad_norm": optax.tree.norm(grads)}


def encodings(
    saved: checkpoint.Saved, video_bfhwc: np.ndarray, masks: np.ndarray | None
) -> dict[str, Any]:
    """What leaves every layer (`layer_0` enters the first), the encoder, and its projection."""
    graphdef, params, rest = model(saved)
    inputs, depth = {"video": jnp.asarray(video_bfhwc)}, saved.experiment.model.depth

    def step(params):
        net: Any = nnx.merge(graphdef, params, rest)
        hidden = None
        if masks is not None:
            hidden = {"video": masking.from_bool(jnp.asarray(masks), int(masks[0].sum()))}
        tokens = net.tokenise(inputs, hidden)
        encoded = net.encoders(tokens)["video"]
        made = {f"layer_{k}": net.encoders(tokens, layer=k)["video"] for k in range(depth + 1)}
        more = {"projected": net.project["video"](encoded)} if hasattr(net, "project") else {}
        return made | more | {"encoded": encoded}

    return jax.jit(step)(params)


def attentions(saved: checkpoint.Saved, layers: dict[str, Any]) -> dict[str, Any]:
    """Attention weights `[b n t s]` of every block, from its own queries and keys."""
    graphdef, params, rest = model(saved)
    blocks: Any = nnx.merge(graphdef, params, rest).encoders.joint.blocks
    definition, stacked = nnx.split(blocks)
    made = {}
    for number in range(saved.experiment.model.depth):
        one: Any = nnx.merge(definition, jax.tree.map(lambda x, i=number: x[i], stacked))
        q, k, _ = jnp.unstack(one.attention.qkv(one.norm1(layers[f"layer_{number}"])), axis=2)
        scores = jnp.einsum("btnk,bsnk->bnts", q, k) / q.shape[-1] ** 0.5
        made[f"attentions_{number}"] = jax.nn.softmax(scores)
    return made


def official_gradients(saved: checkpoint.Saved, grads: Any) -> dict[str, np.ndarray]:
    flat = {k: np.asarray(x) for k, x in traverse_util.flatten_dict(grads, sep="/").items()}
    theirs = table.write(videomae.rules(saved.experiment), flat)
    return {f"grad/{name}": x for name, x in theirs.items()}


def compare(ours: dict[str, Any], theirs: dict[str, np.ndarray], names: dict[str, str]) -> None:
    """Compares what both have; `names` maps their keys to ours. Gradients are found by name."""
    compared = 0
    for key, name in names.items():
        if key in theirs:
            golden_cases.close(ours[name], theirs[key], what=key)
            compared += 1
    assert compared
    wanted = {k: x for k, x in theirs.items() if k.startswith("grad/")}
    if wanted:
        golden_cases.close_gradients(ours, wanted)


def fhwc(x: np.ndarray, layout: str) -> np.ndarray:
    """To `[b f h w c]` from a layout such as "bcfhw"."""
    return x.transpose(*(layout.index(axis) for axis in "bfhwc"))
