"""Schedules, decay masks and layer-wise learning rates."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from av_mae.config import schema
from av_mae.experiment import fingerprint, optim
from av_mae.experiment.step import split
from av_mae.models import layers, vit

SIZES = schema.Model(width=8, depth=4, heads=2, mlp=16)


class Toy(nnx.Module):
    """Two encoders that follow one another, an embedding below and a head above."""

    def __init__(self):
        sizes = SIZES, schema.Compute()
        rngs = nnx.Rngs(0)
        self.embed = layers.Dense(3, 8, dtype="float32", rngs=rngs)
        self.encoders = nnx.Dict(
            low=vit.Encoder(3, *sizes, norm=1e-6, rngs=rngs),
            high=vit.Encoder(1, *sizes, norm=1e-6, first_layer=3, rngs=rngs),
        )
        self.head = layers.Dense(8, 2, dtype="float32", rngs=rngs)


@pytest.fixture(scope="module")
def model() -> Toy:
    """Shapes only: rules look at nothing else."""
    return nnx.eval_shape(Toy)


@pytest.fixture(scope="module")
def params(model):
    rng = np.random.default_rng(0)
    draw = lambda s: rng.normal(size=s.shape).astype(np.float32)  # noqa: E731
    return jax.tree.map(draw, split(model)[1])


def test_warm_up_then_cosine():
    lr = optim.schedule(schema.Optim(min_lr=0.1), 1.0, total=110, warmup=10)
    values = np.array([lr(s) for s in range(111)])
    assert values[0] == 0.0 and values[5] == pytest.approx(0.5) and values[10] == 1.0
    assert values[60] == pytest.approx(0.55) and values[110] == pytest.approx(0.1)
    assert (np.diff(values[10:]) < 0).all()


def test_constant_and_linear():
    assert optim.schedule(schema.Optim(schedule="constant"), 2.0, total=9, warmup=0)(8) == 2.0
    linear = optim.schedule(schema.Optim(schedule="linear"), 2.0, total=10, warmup=0)
    assert linear(5) == pytest.approx(1.0)


def test_warm_up_longer_than_the_run_is_refused():
    with pytest.raises(schema.ConfigError, match="optim.warmup is 20 steps of 10"):
        optim.schedule(schema.Optim(), 1.0, total=10, warmup=20)


def test_only_matrices_decay(params):
    mask = optim.decay_mask(params)
    assert mask["head"] == {"kernel": True, "bias": False}
    assert not any(jax.tree.leaves(mask["encoders"]["low"]["norm"]))


def test_layer_scales_count_across_encoders(model):
    scales = optim.layer_scales(model, 0.5)
    low = scales["encoders"]["low"]["blocks"]["mlp"]["up"]["kernel"]
    np.testing.assert_allclose(low.ravel(), [0.5**4, 0.5**3, 0.5**2])
    assert low.shape == (3, 1, 1)
    high = scales["encoders"]["high"]["blocks"]["mlp"]["up"]["kernel"]
    np.testing.assert_allclose(high.ravel(), [0.5])
    assert scales["embed"]["kernel"] == 0.5**5
    assert scales["head"]["kernel"] == 1.0 and scales["encoders"]["high"]["norm"]["scale"] == 1.0


def test_layer_decay_scales_the_update(model, params):
    plain = schema.Optim(name="sgd", momentum=0.0, weight_decay=0.0)
    decayed = schema.Optim(name="sgd", momentum=0.0, weight_decay=0.0, layer_decay=0.5)
    ones = jax.tree.map(jnp.ones_like, params)
    updates = []
    for settings in (plain, decayed):
        tx = optim.make(settings, model, optax.constant_schedule(1.0))
        updates.append(tx.update(ones, tx.init(params), params)[0])
    ratio = jax.tree.map(lambda a, b: b / a, *updates)
    np.testing.assert_allclose(ratio["embed"]["kernel"], 0.5**5, rtol=1e-6)
    np.testing.assert_allclose(ratio["head"]["kernel"], 1.0)


def test_adamw_is_the_published_rule(model, params):
    """Against the formulas of Loshchilov & Hutter 2019, two steps by hand."""
    settings = schema.Optim(weight_decay=0.1, b1=0.9, b2=0.99, eps=1e-8)
    tx = optim.make(settings, model, optax.constant_schedule(0.01))
    opt_state = tx.init(params)
    w = np.asarray(params["head"]["kernel"], np.float64)
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t in (1, 2):
        grads = jax.tree.map(lambda x, scale=t: jnp.full_like(x, 0.3 * scale), params)
        updates, opt_state = tx.update(grads, opt_state, params)
        params = optax.apply_updates(params, updates)
        g = 0.3 * t
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g**2
        adam = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.99**t)) + 1e-8)
        w = w - 0.01 * (adam + 0.1 * w)
    np.testing.assert_allclose(params["head"]["kernel"], w, rtol=1e-5)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_the_mean_gradient_is_kept_in_half_precision_where_asked(model, params, name):
    """The mean of squares is not: bfloat16 would lose what .95 or .999 of it leave to add."""
    grads = jax.tree.map(lambda x: 0.3 * x, params)
    found = {}
    for dtype in ("float32", "bfloat16"):
        settings = schema.Optim(name=name, momentum_dtype=dtype)
        tx = optim.make(settings, model, optax.constant_schedule(0.01))
        updates, opt_state = tx.update(grads, tx.init(params), params)
        found[dtype] = updates["head"]["kernel"], opt_state
    moments = {x.dtype for x in jax.tree.leaves(found["bfloat16"][1]) if x.ndim}
    whole = {jnp.dtype("float32")} if name == "adamw" else set()
    assert moments == {jnp.dtype("bfloat16")} | whole
    np.testing.assert_allclose(*(u for u, _ in found.values()), rtol=2**-7, atol=1e-6)


def test_clipping_bounds_the_gradient_norm(model, params):
    settings = schema.Optim(name="sgd", momentum=0.0, weight_decay=0.0, clip=1.0)
    tx = optim.make(settings, model, optax.constant_schedule(1.0))
    big = jax.tree.map(lambda x: jnp.full_like(x, 7.0), params)
    updates, _ = tx.update(big, tx.init(params), params)
    assert float(optax.tree.norm(updates)) == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize(
    "changed", [{"clip": 1.0}, {"weight_decay": 0.0}, {"layer_decay": 0.75}, {"schedule": "linear"}]
)
def test_a_run_can_be_continued_with_other_rules(model, params, changed):
    """Clipping is what a run that diverged is advised to add."""
    states = []
    for settings in (schema.Optim(), schema.Optim(**changed)):
        lr = optim.schedule(settings, 0.1, total=10, warmup=0)
        states.append(optim.make(settings, model, lr).init(params))
    assert fingerprint.difference(*states) == ""


def test_frozen_groups_do_not_move(model, params):
    tx = optim.make(schema.Optim(), model, optax.constant_schedule(1.0), trainable="head")
    ones = jax.tree.map(jnp.ones_like, params)
    updates, _ = tx.update(ones, tx.init(params), params)
    assert all((x == 0).all() for x in jax.tree.leaves(updates["encoders"]))
    assert (updates["head"]["kernel"] != 0).all()
