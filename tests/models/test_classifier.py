"""The classifier behaves as one, for every fusion and pooling."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy_models
from flax import nnx

from av_mae.config import schema
from av_mae.models import classifier, vit

FUSIONS = ("early", "separate", "shared", "mid", "bottleneck")
PRESENT = {"audio": jnp.array([True, False, True])}


@functools.cache
def compiled(fusion):
    graphdef, state = nnx.split(toy_models.classify(fusion=fusion, depth=3, fusion_layers=2))

    @jax.jit
    def run(inputs, present):
        model = nnx.merge(graphdef, state)
        return {
            "all": model(inputs),
            "present": model(inputs, present=present),
            "merged": model.predict(inputs, present),
            "video": model.predict({"video": inputs["video"]}),
            "audio": model.predict({"audio": inputs["audio"]}),
            "features": model.features(inputs),
        }

    return run


def equal(ours, theirs, tolerance=2e-5):
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance), ours, theirs
    )


@pytest.mark.parametrize("fusion", FUSIONS)
def test_absent_sound_leaves_the_video_alone(fusion):
    inputs = toy_models.inputs()
    before = compiled(fusion)(inputs, PRESENT)
    after = compiled(fusion)(inputs | {"audio": inputs["audio"] * 3.0}, PRESENT)
    for key in ("merged", "video"):
        assert np.array_equal(before[key][1], after[key][1])
    equal(before["merged"][1], before["video"][1])
    equal(before["merged"][0], (before["all"]["video"][0] + before["all"]["audio"][0]) / 2)
    assert not np.allclose(before["merged"][0], after["merged"][0], atol=1e-4)
    fused = fusion in ("early", "mid", "bottleneck")
    influenced = not np.allclose(before["all"]["video"], after["all"]["video"], atol=1e-5)
    assert influenced == fused


@pytest.mark.parametrize("layer", [0, 2])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_features_of_a_layer_are_those_of_a_model_that_ends_there(fusion, layer):
    """Layers whose branches add nothing are as good as none."""
    norms = {"fusion_norm": False, "final_norm": False}
    model = toy_models.classify(fusion=fusion, depth=3, fusion_layers=2, **norms)
    inputs = toy_models.inputs()
    ours = model.features(inputs, layer=layer)
    for _, stack in nnx.iter_modules(model.encoders):
        if isinstance(stack, vit.Encoder):
            for branch in (stack.blocks.attention.out, stack.blocks.mlp.down):
                for name in ("kernel", "bias"):
                    x = getattr(branch, name)
                    x[...] = x[...].at[max(layer - stack.first_layer, 0) :].set(0.0)
    equal(ours, model.features(inputs))


LAST_NORM = {
    "early": lambda encoders: encoders.joint.norm,
    "separate": lambda encoders: encoders.norm,
    "shared": lambda encoders: encoders.shared.norm,
    "mid": lambda encoders: encoders.joint.norm,
    "bottleneck": lambda encoders: encoders.norm,
}


@pytest.mark.parametrize("fusion", FUSIONS)
def test_only_the_norm_is_between_the_last_layer_and_the_output(fusion):
    model = toy_models.classify(fusion=fusion, depth=3, fusion_layers=2, shared_norm=True)
    inputs = toy_models.inputs()
    norm = LAST_NORM[fusion](model.encoders)
    last = {name: norm(x) for name, x in model.features(inputs, layer=3).items()}
    equal(last, model.features(inputs))


@pytest.mark.parametrize("fusion", FUSIONS)
def test_permuting_the_batch_permutes_the_logits(fusion):
    turn = functools.partial(jax.tree.map, lambda x: jnp.roll(x, 1, axis=0))
    before = compiled(fusion)(toy_models.inputs(), PRESENT)
    after = compiled(fusion)(turn(toy_models.inputs()), turn(PRESENT))
    equal(after, turn(before))


@pytest.mark.parametrize("fusion", FUSIONS)
def test_features_are_all_tokens_of_each_modality(fusion):
    features = compiled(fusion)(toy_models.inputs(), PRESENT)["features"]
    for name, spec in toy_models.MODALITIES.items():
        assert features[name].shape == (3, spec.tokens, 16)


def test_scanned_and_unrolled_bottleneck_layers_agree():
    inputs = toy_models.inputs()
    results = []
    for scan in (True, False):
        compute = schema.Compute(scan=scan, remat="full")
        model = toy_models.classify(compute, fusion="bottleneck", depth=2, fusion_layers=2)
        graphdef, params = nnx.split(model)

        def loss(params, graphdef=graphdef):
            return jnp.sin(nnx.merge(graphdef, params).predict(inputs, PRESENT)).sum()

        results.append(jax.jit(jax.value_and_grad(loss))(params))
    equal(*[jax.tree.leaves(r) for r in results])


def test_without_bottlenecks_at_test_modalities_do_not_meet():
    model = toy_models.classify(fusion="bottleneck", fusion_layers=2, bottlenecks_at_test=False)
    inputs = toy_models.inputs()
    run = nnx.jit(lambda model, inputs, train: model(inputs, train=train), static_argnums=2)
    louder = inputs | {"audio": inputs["audio"] * 3.0}
    same = [run(model, x, False)["video"] for x in (inputs, louder)]
    assert np.array_equal(*same)
    met = [run(model, x, True)["video"] for x in (inputs, louder)]
    assert not np.allclose(*met, atol=1e-4)


@pytest.mark.parametrize("pool", ["mean", "max", "token", "first"])
def test_pooling(pool):
    model = toy_models.classify(pool=pool)
    inputs = {"video": toy_models.inputs()["video"]}
    tokens = model.encoders(model.tokenise(inputs))["video"]
    expected = {"mean": tokens.mean(1), "max": tokens.max(1)}.get(pool, tokens[:, 0])
    equal(model.pooled(inputs)["video"], expected)
    assert model.features(inputs)["video"].shape[1] == toy_models.MODALITIES["video"].tokens


def test_the_largest_of_equal_tokens_has_a_finite_gradient():
    x_btd = jnp.ones((2, 5, 3))
    grad = jax.grad(lambda x: classifier.largest(x).sum())(x_btd)
    np.testing.assert_array_equal(grad.sum(1), np.ones((2, 3)))


def test_heads_may_be_shared_or_not_and_have_a_norm_and_a_hidden_layer():
    both = toy_models.classify(shared_head=False, head_norm=True, head_width=5)
    names = {"/".join(map(str, p)) for p, _ in nnx.to_flat_state(nnx.state(both, nnx.Param))}
    assert {"head_norm/scale", "head/video/hidden/kernel", "head/audio/kernel"} <= names
    inputs = toy_models.inputs()
    pooled = both.pooled(inputs)["audio"]
    np.testing.assert_allclose((pooled - both.head_norm.bias[...]).mean(), 0, atol=0.5)
    head = both.head["audio"]
    hidden = jnp.tanh(pooled @ head.hidden.kernel[...] + head.hidden.bias[...])
    equal(both(inputs)["audio"], hidden @ head.kernel[...] + head.bias[...])


def test_a_fresh_head_is_zero_or_scaled():
    model = schema.Model(width=64, heads=4, depth=1, mlp=8)
    head = classifier.Head(model, 1000, rngs=nnx.Rngs(0))
    assert not head.kernel[...].any()
    scaled = schema.Model(width=64, heads=4, depth=1, mlp=8, head_scale=0.5)
    head = classifier.Head(scaled, 1000, rngs=nnx.Rngs(0))
    assert np.std(head.kernel[...]) == pytest.approx(0.01, rel=0.05)


def test_head_dropout_acts_in_training_only_and_by_example():
    model = toy_models.classify(head_dropout=0.5)
    inputs, keys_b = {"video": toy_models.inputs()["video"]}, toy_models.keys()
    run = nnx.jit(
        lambda model, inputs, keys_b, train: model(inputs, keys_b=keys_b, train=train)["video"],
        static_argnums=3,
    )
    quiet = run(model, inputs, keys_b, False)
    equal(quiet, model(inputs)["video"])
    dropped = run(model, inputs, keys_b, True)
    assert not np.allclose(dropped, quiet, atol=1e-3)
    alone = run(model, {"video": inputs["video"][1:2]}, keys_b[1:2], True)
    equal(dropped[1:2], alone)


def test_a_linear_probe_trains_the_head_only():
    model = toy_models.classify(linear_probe=True, head_norm=True)
    graphdef, *states = nnx.split(model, nnx.Param, ...)
    params, rest = (nnx.to_pure_dict(state) for state in states)
    inputs = toy_models.inputs()

    @jax.jit
    def grad(params):
        def loss(params):
            logits = nnx.merge(graphdef, params, rest)(inputs, train=True)
            return sum(jnp.sin(x).sum() for x in logits.values())

        return jax.grad(loss)(params)

    grads = {name: jax.tree.leaves(tree) for name, tree in grad(params).items()}
    moved = {name for name, leaves in grads.items() if any(g.any() for g in leaves)}
    assert moved == {"head"}


def test_a_linear_probe_standardises_features_and_remembers_their_statistics():
    model = toy_models.classify(linear_probe=True)
    statistics = model.standardise["audio"]
    x = jnp.asarray(np.random.default_rng(0).normal(3.0, 2.0, (50, 16)), jnp.float32)
    here_b = jnp.arange(50) < 40
    spoiled = jnp.where(here_b[:, None], x, 1e6)
    y = statistics(spoiled, here_b, True)[:40]
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(y.std(0), 1, atol=1e-4)
    np.testing.assert_allclose(statistics.mean[...], 0.9 + 0.1 * x[:40].mean(0), rtol=1e-4)
    before = np.asarray(statistics.mean[...])
    statistics(spoiled, jnp.zeros(50, bool), True)
    np.testing.assert_allclose(statistics.mean[...], before, rtol=1e-6)
    evaluated = statistics(x, None, False)
    expected = (x - statistics.mean[...]) / np.sqrt(statistics.var[...] + 1e-6)
    equal(evaluated, expected)
