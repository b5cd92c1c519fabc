"""The public train step follows Scenic's, step by step: losses, gradients' norms, parameters.

Scenic's masks and mixing weights are drawn by its own generator; here they are put in the place of
ours, and everything else is the step that training runs.
"""

import dataclasses
import functools
import re

import golden_cases
import jax
import jax.numpy as jnp
import pytest
import scenic_cases
from flax import nnx

from av_mae.config import schema
from av_mae.convert.scenic_rules import NAMES
from av_mae.experiment import optim
from av_mae.experiment.step import TrainState, make_train_step
from av_mae.models import mae
from av_mae.preprocess import inputs as inputs_lib
from av_mae.preprocess import mix

CASES = golden_cases.found("scenic/train_steps")


def prepared(case, number):
    """A batch whose inputs are Scenic's: already normalised."""
    batch = dict(case.inputs(f"step{number}/inputs"))
    rows = len(next(iter(batch.values())))
    return batch | {"valid": jnp.ones(rows, bool)}


@pytest.fixture
def recorded_inputs(monkeypatch):
    monkeypatch.setattr(
        inputs_lib, "prepare", lambda batch, kinds, **_: {name: batch[name] for name in kinds}
    )


@pytest.mark.parametrize("folder", CASES)
def test_a_trajectory_agrees(folder, recorded_inputs, monkeypatch):
    case = _case(folder)
    steps = 1 + max(int(m[1]) for k in case.arrays if (m := re.match(r"step(\d+)/", k)))
    train_state, one_step = _public_step(case)
    for number in range(steps):
        _install(case, number, monkeypatch)
        step = jax.jit(one_step())  # traced anew: what was drawn is different
        train_state, metrics = step(train_state, _batch(case, number))
        _compare(case, number, train_state, metrics)
        if f"step{number}/lr" in case.arrays:
            golden_cases.close(_rate(case.experiment)(number), case.arrays[f"step{number}/lr"])


def _case(folder):
    settings = golden_cases.settings(folder / "config.json")
    arrays = _inputs(folder) | golden_cases.arrays(folder / "arrays.npz")
    case = scenic_cases.build(settings, _params(folder), arrays)
    return dataclasses.replace(case, experiment=_experiment(case))


def _params(folder):
    """A case's own first parameters, or those of its kind."""
    kind, place = folder.name.split("_")[0], folder.parent
    known = (folder / "params.npz", place / f"{kind}_params.npz")
    siblings = sorted(place.glob(f"{kind}_*/params.npz"))
    return golden_cases.arrays(next(p for p in (*known, *siblings) if p.is_file()))


def _inputs(folder):
    """Inputs and labels stand once in all cases of one kind."""
    kind = folder.name.split("_")[0]
    found = {}
    for sibling in sorted(folder.parent.glob(f"{kind}_*/arrays.npz")):
        arrays = golden_cases.arrays(sibling)
        found |= {k: x for k, x in arrays.items() if "/inputs/" in k or k.endswith("/label")}
    return found


def _experiment(case) -> schema.Experiment:
    s, lr = case.settings, case.settings["lr_configs"]
    more = s["optimizer_configs"]
    mixup = (s.get("mixup") or {}).get("alpha", 0.0)
    adam = s["optimizer"] == "adam"
    return dataclasses.replace(
        case.experiment,
        lr=lr["base_learning_rate"],
        total=f"{lr['steps_per_cycle']} steps",
        optim=schema.Optim(
            name="adamw" if adam else "sgd",
            b1=more.get("beta1", 0.9),
            b2=more.get("beta2", 0.95),
            momentum=more.get("momentum", 0.9),
            weight_decay=s.get("explicit_weight_decay") or 0.0,
            warmup=f"{int(lr['warmup_steps'])} steps",
            clip=float(s.get("max_grad_norm") or 0.0),
            layer_decay=more.get("layerwise_decay", 1.0),
            label_smoothing=s.get("label_smoothing") or 0.0,
        ),
        augment=schema.Augment(mixup=mixup, mix_per_modality=bool(mixup and s["mixmod"])),
    )


def _public_step(case):
    e, task = case.experiment, case.task
    graphdef, params, rest = case.split()
    model = nnx.eval_shape(lambda: task.init(nnx.Rngs(0)))
    rate = _rate(e)
    tx = optim.make(e.optim, model, rate)
    zero = jnp.zeros((), jnp.int32)
    begin = TrainState(zero, params, rest, tx.init(params), {})
    return begin, functools.partial(make_train_step, task, graphdef, tx, rate)


def _rate(e):
    total, warmup = (int(length.split()[0]) for length in (e.total, e.optim.warmup))
    return optim.schedule(e.optim, e.lr, total=total, warmup=warmup)


def _install(case, number, monkeypatch):
    """What Scenic drew in this step, in the place of our own draws."""
    if case.experiment.task == "pretrain":
        masks = case.masks(f"step{number}/")
        monkeypatch.setattr(mae.masking, "draw", lambda _, modality: masks[modality.name])
    key = f"step{number}/mixup_weights_rgb_spectrogram"
    if case.experiment.augment.mixup:
        weights = iter(case.arrays[key])
        monkeypatch.setattr(mix, "_draw", lambda *_: (jnp.float32(next(weights)), jnp.array(False)))


def _batch(case, number):
    batch = prepared(case, number)
    label = case.arrays.get(f"step{number}/label")
    return batch if label is None else batch | {"label": jnp.asarray(label)}


def _compare(case, number, train_state, metrics):
    a, prefix = case.arrays, f"step{number}"
    # The finetuning trainer's own `loss` is of the first modality alone, without smoothing.
    for ours, theirs in (
        ("loss", "total_loss"),
        ("grad_norm", "max_grad_norm_preclip"),
        ("grad_norm", "max_grad_norm_preclip_after_pmean"),
    ):
        if f"{prefix}/metrics/{theirs}" in a:
            total, weight = a[f"{prefix}/metrics/{theirs}"]
            golden_cases.close(metrics[ours], total / weight, what=theirs)
    _compare_clipped(case, prefix, metrics)
    for name, m in case.experiment.modalities.items():
        key = f"{prefix}/metrics/mean_squared_error_{NAMES[name]}"
        if key in a:
            total, weight = a[key]
            golden_cases.close(metrics[f"loss_{name}"], total / weight / m.patch_dim)
            share, rows = a[f"{prefix}/metrics/mask_ratio_{NAMES[name]}"]
            assert m.hidden / m.tokens == pytest.approx(share / rows)
    _compare_parameters(case, prefix, train_state)


def _compare_clipped(case, prefix, metrics):
    """The norm after clipping: that of the gradient, or the bound."""
    bound = case.experiment.optim.clip
    for theirs in ("max_grad_norm_postclip", "max_grad_norm_postclip_after_pmean"):
        if bound and f"{prefix}/metrics/{theirs}" in case.arrays:
            total, weight = case.arrays[f"{prefix}/metrics/{theirs}"]
            golden_cases.close(min(metrics["grad_norm"], bound), total / weight, what=theirs)


def _compare_parameters(case, prefix, train_state):
    a = case.arrays
    after = {k.removeprefix(f"{prefix}/params_after/"): x for k, x in a.items()}
    after = {k: x for k, x in after.items() if not k.startswith("step")}
    ours = case.theirs(train_state.params) if after else {}
    for name, expected in after.items():
        golden_cases.close(ours[name].reshape(expected.shape), expected, what=name)
