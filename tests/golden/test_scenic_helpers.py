"""Scenic's targets, losses, learning rates, layer groups, masks, pictures and averaged clips."""

import functools

import golden_cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scenic_cases
from flax import nnx

from av_mae.config import modality, schema
from av_mae.experiment import optim
from av_mae.models import masking
from av_mae.tasks import losses, pretrain

_TARGETS = {"raw": "none", "std_patch": "patch", "std_both_flags": "patch"}


def _kinds():
    return {
        "video": ("v", scenic_cases.Oblong(frames=4, size=16, width=24, patch=(2, 8, 4))),
        "image": ("i", scenic_cases.Oblong(frames=1, size=16, width=24, patch=(1, 8, 4))),
        "spec": ("s", modality.Audio(seconds=0.44, mels=20, patch=(8, 8))),
    }


@pytest.mark.parametrize("kind", ["video", "image", "spec"])
def test_targets(kind):
    found = golden_cases.arrays(golden_cases.at("scenic/helpers/targets.npz"))
    key, spec = _kinds()[kind]
    x = found[f"in/{key}"].reshape(-1, *spec.input_shape)
    compared = 0
    for name, normalise in _TARGETS.items():
        if f"{kind}/{name}" in found:
            patches = spec.patchify(jnp.asarray(x))
            ours = losses.targets(patches, spec, normalise)
            golden_cases.close(ours, found[f"{kind}/{name}"], what=name)
            compared += 1
    assert compared >= 2


@pytest.mark.parametrize("smoothing", [None, 0.3])
@pytest.mark.parametrize("multilabel", [True, False], ids=["sigmoid", "softmax"])
def test_classification_losses(multilabel, smoothing):
    found = golden_cases.arrays(golden_cases.at("scenic/helpers/classification_losses.npz"))
    labels = jnp.asarray(found["labels" if multilabel else "softmax_labels"])
    score = functools.partial(
        losses.classification,
        {"video": jnp.asarray(found["logits"])},
        {"video": labels},
        multilabel=multilabel,
        smoothing=smoothing or 0.0,
    )
    ours, _ = score(valid_b=jnp.asarray(found["weights"], bool))
    kind = "sigmoid" if multilabel else "softmax"
    golden_cases.close(ours, found[f"{kind}_ls{smoothing}"])
    if f"{kind}_noweights_ls{smoothing}" in found:
        everyone = jnp.ones(len(labels), bool)
        ours, _ = score(valid_b=everyone)
        golden_cases.close(ours, found[f"{kind}_noweights_ls{smoothing}"])


def _schedules():
    file = golden_cases.FOLDER / "scenic/helpers/lr_schedule.json"
    found = golden_cases.settings(file) if file.is_file() else {}
    return [pytest.param(v, id=k) for k, v in found.items() if isinstance(v, dict)]


@pytest.mark.parametrize("case", _schedules())
def test_learning_rates(case):
    """Up to the end of the run; Scenic's would begin again after it. Warm-ups are whole steps."""
    c = case["lr_configs"]
    if c["warmup_steps"] != int(c["warmup_steps"]):
        pytest.skip("left out: a warm-up of half a step")
    lr, total = c["base_learning_rate"], c["steps_per_cycle"]
    settings = schema.Optim(min_lr=lr * c.get("alpha", 0.0))
    rate = optim.schedule(settings, lr, total=total, warmup=int(c["warmup_steps"]))
    compared = [(s, x) for s, x in zip(case["steps"], case["lr"], strict=True) if s < total]
    assert len(compared) > 5
    for step, expected in compared:
        assert float(rate(step)) == pytest.approx(expected, rel=2e-5, abs=2e-5 * lr), step


def _layer_groups():
    file = golden_cases.FOLDER / "scenic/helpers/layerwise_lr_decay.json"
    found = golden_cases.settings(file) if file.is_file() else {}
    return [pytest.param(v, id=k) for k, v in found.items()]


@pytest.mark.parametrize("found", _layer_groups())
def test_layer_groups(found):
    """Of models with the recorded names; sizes do not matter for a layer's learning rate."""
    rates = found["base_lr_per_layer"]
    case = scenic_cases.stand_in(list(found["labels"]))
    model = nnx.eval_shape(lambda: case.task.init(nnx.Rngs(0)))
    scales = optim.layer_scales(model, rates[-2] / rates[-1])
    full = jax.tree.map(lambda s, x: np.broadcast_to(s, x.shape), scales, case.split()[1])
    ours = case.theirs(full)
    # Never used by one modality; a quirk that spares the class token of sound; two tables of ours.
    odd = ("bottleneck", "clsspectrogram", "posembed_input/pos_embedding_")
    missing = [name for name in found["labels"] if name not in ours]
    assert all(name.startswith(odd) for name in missing), missing
    for name in ours.keys() - {"clsspectrogram"}:
        wanted = rates[found["labels"][name]] / rates[-1]
        np.testing.assert_allclose(ours[name], wanted, rtol=1e-6, err_msg=name)


def test_mask_counts():
    found = golden_cases.settings(golden_cases.at("scenic/helpers/masking.json"))
    counts = {k: v for k, v in found.items() if k.startswith("int(")}
    assert len(counts) > 5
    for name, expected in counts.items():
        ratio, tokens = name.removeprefix("int(").removesuffix(")").split("*")
        assert modality.hidden_tokens((int(tokens),), float(ratio), "random") == expected


def test_lists_of_tokens():
    """Of a tube mask both lists are in order; with nothing hidden the order is the tokens' own."""
    found = golden_cases.settings(golden_cases.at("scenic/helpers/masking.json"))
    tube = found["tube_example"]
    mask = np.array(tube["mask"], bool)
    ours = masking.from_bool(jnp.asarray(mask), int(mask[0].sum()))
    assert np.array_equal(ours.hidden, tube["masked"])
    assert np.array_equal(ours.visible, tube["unmasked"])
    everything = np.array(found["n_masked_0"]["unmasked"])
    ours = masking.from_bool(jnp.zeros(everything.shape, bool), 0)
    assert np.array_equal(ours.visible, everything) and ours.hidden.shape[1] == 0


def test_reconstruction_pictures():
    """Three of Scenic's six rows: what was given, what was visible of it, the rest filled in.

    Its others (the prediction alone, on hidden and on visible patches) are not drawn here.
    """
    found = golden_cases.arrays(golden_cases.at("scenic/helpers/image_grid_video.npz"))
    spec = modality.Video(frames=4, size=16, patch=(2, 8, 8))
    target, predicted = (jnp.asarray(found[f"video_{k}"]) for k in ("target", "pred"))
    mask_bn = jnp.asarray(found["video_mask"] > 0)
    shown = pretrain.fill(spec, spec.unpatchify(target), mask_bn, predicted, "none")
    rows = found["video_grid"][: 6 * 16].reshape(6, 16, 4, 16, 3).swapaxes(1, 2)
    for ours, row in ((shown.original, 0), (shown.masked, 1), (shown.predicted, 5)):
        pixels = np.clip(np.asarray(ours[0]), -1, 1) * 127.5 + 127.5
        pixels = np.nan_to_num(pixels, nan=0)  # what is hidden is black there, grey here
        assert np.abs(pixels - rows[row]).max() <= 1


def test_averaged_clips():
    """Logits of several clips of one video are averaged, as evaluation does with views."""
    folder = golden_cases.at("scenic/helpers")
    found = golden_cases.arrays(folder / "multiclip_test.npz")
    params = golden_cases.arrays(folder / "multiclip_test_params.npz")
    settings = golden_cases.settings(folder / "multiclip_test_config.json")
    case = scenic_cases.build(settings, params, found)
    graphdef, values, rest = case.split()
    logits = nnx.merge(graphdef, values, rest).predict(case.inputs())
    golden_cases.close(logits, found["per_clip_logits"])
    golden_cases.close(logits.mean(0, keepdims=True), found["avg_logits_softmax_False"])
    merged = jax.nn.softmax(logits).mean(0, keepdims=True)
    golden_cases.close(merged, found["avg_logits_softmax_True"])
