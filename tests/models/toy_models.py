"""Tiny models with random parameters, and inputs for them, for the tests of this folder."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx, traverse_util

from av_mae.config import modality, schema
from av_mae.models import classifier, inherit, mae, masking

MODEL = schema.Model(
    width=16,
    depth=2,
    heads=2,
    mlp=24,
    fusion_layers=1,
    bottlenecks=2,
    decoder_width=8,
    decoder_depth=1,
    decoder_heads=2,
    decoder_mlp=12,
)

# Ratios for which every masking of a modality hides the same number of tokens.
MODALITIES: dict[str, modality.Modality] = {
    "video": modality.Video(frames=4, size=8, patch=(2, 4, 4), mask_ratio=0.5),
    "audio": modality.Audio(seconds=0.16, mels=16, patch=(4, 4), mask_ratio=0.75),
}


def autoencoder(
    compute: schema.Compute | None = None,
    modalities: dict[str, modality.Modality] | None = None,
    **changes: Any,
) -> mae.MaskedAutoencoder:
    model = dataclasses.replace(MODEL, **changes)
    modalities = modalities or MODALITIES
    return randomise(
        lambda: mae.MaskedAutoencoder(
            modalities, model, compute or schema.Compute(remat="none"), rngs=nnx.Rngs(0)
        )
    )


def classify(
    compute: schema.Compute | None = None,
    modalities: dict[str, modality.Modality] | None = None,
    classes: int = 3,
    **changes: Any,
) -> classifier.Classifier:
    model = dataclasses.replace(MODEL, **changes)
    modalities = modalities or MODALITIES
    return randomise(
        lambda: classifier.Classifier(
            modalities,
            model,
            compute or schema.Compute(remat="none"),
            classes=classes,
            rngs=nnx.Rngs(0),
        )
    )


def randomise(make) -> Any:
    """The module with all parameters random, so that no zero initialisation hides a fault."""
    graphdef, params, rest = nnx.split(nnx.eval_shape(make), nnx.Param, ...)
    rng = np.random.default_rng(0)
    for path, variable in nnx.to_flat_state(params):
        value = rng.normal(0.0, 0.3, variable.shape) + (path[-1] == "scale")
        variable.set_value(jnp.asarray(value, jnp.float32))
    rest = jax.tree.map(lambda x: jnp.ones(x.shape, x.dtype), rest)
    return nnx.merge(graphdef, params, rest)


def inputs(batch: int = 3, seed: int = 0) -> dict[str, jax.Array]:
    rng = np.random.default_rng(seed)
    return {
        name: jnp.asarray(rng.normal(size=(batch, *m.input_shape)), jnp.float32)
        for name, m in MODALITIES.items()
    }


def keys(batch: int = 3, seed: int = 0) -> jax.Array:
    return jax.random.split(jax.random.key(seed), batch)


def draw(maskings: dict[str, str], batch: int = 3, seed: int = 0) -> dict[str, jax.Array]:
    """Boolean masks of the given kinds."""
    drawn = {}
    for name, kind in maskings.items():
        spec = dataclasses.replace(MODALITIES[name], masking=kind)
        drawn[name] = masking.draw(keys(batch, seed), spec).as_bool()
    return drawn


def flat(model):
    tree = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    return {k: np.asarray(v) for k, v in traverse_util.flatten_dict(tree).items()}


def start(target, source, target_model, source_model, change=lambda x: x):
    """(target model started from the source's changed parameters, report)."""
    source_params = {path: change(x) for path, x in flat(source_model).items()}
    target_params = {path: x + 0.5 for path, x in flat(target_model).items()}
    params, report = inherit.inherit(target_params, source_params, source, target)
    graphdef, _, rest = nnx.split(target_model, nnx.Param, ...)
    nested = jax.tree.map(jnp.asarray, traverse_util.unflatten_dict(params))
    return nnx.merge(graphdef, nested, nnx.to_pure_dict(rest)), report
