"""What VideoMAE's program does around the model: schedules, layer decay, masks, real steps."""

import json

import golden_cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import videomae_cases as cases
from flax import nnx, traverse_util

from av_mae import tasks
from av_mae.config import modality, schema
from av_mae.convert import table, videomae
from av_mae.experiment import optim
from av_mae.experiment.step import TrainState, make_train_step
from av_mae.models import mae, masking
from av_mae.preprocess import inputs as inputs_lib


@pytest.mark.parametrize("name", ["pre_lr", "ft_lr", "ft_lr_warmupsteps"])
def test_learning_rates(name):
    """Peak, warm-up and end are read off the curve; every value between them has to follow."""
    expected = golden_cases.arrays(golden_cases.at("videomae/official/schedules.npz"))[name]
    peak = expected.max()
    warmup = int(expected.argmax()) + 1
    share = 0.5 * (1 + np.cos(np.pi * (1 - 1 / (len(expected) - warmup))))
    least = (expected[-1] - share * peak) / (1 - share)
    settings = schema.Optim(schedule="cosine_videomae", min_lr=float(least))
    rate = optim.schedule(settings, float(peak), total=len(expected), warmup=warmup)
    ours = np.array([rate(step) for step in range(len(expected))])
    np.testing.assert_allclose(ours, expected, atol=2e-5 * peak)


def test_layer_decay_of_twelve_layers():
    found = golden_cases.arrays(golden_cases.at("videomae/official/schedules.npz"))
    small = schema.Model(width=8, depth=12, heads=2, mlp=8)
    kinds = {"video": modality.Video(frames=2, size=8, patch=(2, 8, 8))}
    task = tasks.make(schema.Experiment(task="classify", modalities=kinds, model=small), ("", ""))
    scales = optim.layer_scales(nnx.eval_shape(lambda: task.init(nnx.Rngs(0))), 0.75)
    blocks = scales["encoders"]["joint"]["blocks"]["mlp"]["up"]["kernel"].ravel()
    ours = [scales["embed"]["video"]["kernel"], *blocks, scales["head"]["kernel"]]
    np.testing.assert_allclose(ours, found["layer_decay_075_12"], rtol=1e-6)


def test_layer_decay_and_what_decays():
    found = json.loads(
        golden_cases.at("videomae/official/layer_decay_param_groups.json").read_text()
    )
    folder = golden_cases.at("videomae/official/finetune_meanpool")
    settings = golden_cases.settings(folder / "config.json")
    saved = cases.load(next(folder.glob("*.pth")), cases.known(settings))
    task = tasks.make(saved.experiment, saved.labels)
    model = nnx.eval_shape(lambda: task.init(nnx.Rngs(0)))
    scales = optim.layer_scales(model, found["layer_decay"])
    full = jax.tree.map(lambda scale, x: np.broadcast_to(scale, x.shape), scales, saved.params)
    ours = _official(saved.experiment, full)
    decays = _official(
        saved.experiment,
        jax.tree.map(
            lambda d, x: np.full(x.shape, d), optim.decay_mask(saved.params), saved.params
        ),
    )
    compared = [name for name in found["params"] if name in ours]
    assert len(compared) > 30
    for name in compared:
        expected = found["params"][name]
        np.testing.assert_allclose(ours[name], expected["scale"], rtol=1e-6, err_msg=name)
        assert np.all(decays[name] == (expected["weight_decay"] > 0)), name


def _official(e, tree):
    flat = {k: np.asarray(x) for k, x in traverse_util.flatten_dict(tree, sep="/").items()}
    return table.write(videomae.rules(e), flat)


def test_tube_masks_hide_as_many_and_the_same_in_every_slot():
    """Which tokens are hidden is drawn by another generator; the law is the same."""
    found = golden_cases.arrays(golden_cases.at("videomae/official/tube_masks.npz"))
    for name, theirs in found.items():
        grid, ratio, _ = name.removeprefix("size").split("_")
        slots, height, width = map(int, grid.split("x"))
        video = modality.Video(
            frames=slots,
            size=height,
            patch=(1, 1, 1),
            mask_ratio=float(ratio.removeprefix("r")),
            masking="tube",
        )
        keys = jax.random.split(jax.random.key(0), 3)
        ours = np.asarray(masking.draw(keys, video).as_bool())
        assert np.array_equal(ours.sum(1), theirs.sum(1)), name
        for mask in (ours, theirs):
            slices = mask.reshape(3, slots, height * width)
            assert np.all(slices == slices[:, :1]), name


def test_a_trajectory_of_real_steps(monkeypatch):
    """Six steps of AdamW through the public train step, from the stored first parameters."""
    a = golden_cases.arrays(golden_cases.at("videomae/official/trajectory.npz"))
    known = {"model.heads": 4, "model.decoder_heads": 2, "modalities.video.size": 32}
    path = golden_cases.at("videomae/official/trajectory_init.pth")
    saved = cases.load(path, known, a["masks"][0])
    train_state, make_step = _public_step(saved, a["lr"])
    monkeypatch.setattr(
        inputs_lib, "prepare", lambda batch, kinds, **_: {name: batch[name] for name in kinds}
    )
    for number, mask in enumerate(a["masks"]):
        drawn = masking.from_bool(jnp.asarray(mask), int(mask.sum()))
        monkeypatch.setattr(mae.masking, "draw", lambda *_, drawn=drawn: drawn)
        video = cases.fhwc(a["video_a" if number % 2 == 0 else "video_b"], "bcfhw")
        batch = {"video": jnp.asarray(video), "valid": jnp.ones(1, bool)}
        train_state, metrics = jax.jit(make_step())(train_state, batch)
        golden_cases.close(metrics["loss"], a["losses"][number])
        golden_cases.close(metrics["grad_norm"], a["grad_norms"][number], 1e-4)
    ours = _official(saved.experiment, train_state.params)
    finals = {k.removeprefix("final/"): x for k, x in a.items() if k.startswith("final/")}
    assert finals
    for name, expected in finals.items():
        golden_cases.close(ours[name], expected, 5e-5, what=name)


def _public_step(saved, rates):
    peak = float(rates.max())
    warmup = int(rates.argmax()) + 1
    task = tasks.make(saved.experiment, ())
    graphdef, params, rest = cases.model(saved)
    settings = schema.Optim(b2=0.95, weight_decay=0.05, schedule="cosine_videomae", min_lr=1e-5)
    lr = optim.schedule(settings, peak, total=len(rates), warmup=warmup)
    np.testing.assert_allclose([lr(i) for i in range(len(rates))], rates, atol=1e-7)
    tx = optim.make(settings, nnx.eval_shape(lambda: task.init(nnx.Rngs(0))), lr)
    begin = TrainState(jnp.zeros((), jnp.int32), params, rest, tx.init(params), {})
    return begin, lambda: make_train_step(task, graphdef, tx, lr)
