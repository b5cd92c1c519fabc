"""Scenic's targets, losses, learning rates, layer groups, mask counts and averaged clips."""

import golden_cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scenic_cases
from flax import nnx

from av_mae import config, losses, modality, optim, tasks

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
    ours, _ = losses.classification(
        {"video": jnp.asarray(found["logits"])},
        {"video": labels},
        multilabel=multilabel,
        smoothing=smoothing or 0.0,
        valid_b=jnp.asarray(found["weights"], bool),
    )
    kind = "sigmoid" if multilabel else "softmax"
    golden_cases.close(ours, found[f"{kind}_ls{smoothing}"])


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
    settings = config.Optim(min_lr=lr * c.get("alpha", 0.0))
    rate = optim.schedule(settings, lr, total=total, warmup=int(c["warmup_steps"]))
    compared = [(s, x) for s, x in zip(case["steps"], case["lr"], strict=True) if s < total]
    assert len(compared) > 5
    for step, expected in compared:
        assert float(rate(step)) == pytest.approx(expected, rel=2e-5, abs=2e-5 * lr), step


def test_layer_groups():
    """Of MBT with both modalities; the recorded model is deeper than the golden one."""
    found = golden_cases.settings(golden_cases.at("scenic/helpers/layerwise_lr_decay.json"))
    case = scenic_cases.load(golden_cases.at("scenic/finetune/mbt_av_bottleneck_multilabel"))
    labels = {k.replace("embedding_spec/", "embedding_spectrogram/"): v
              for k, v in found["mbt_av"]["labels"].items()}  # fmt: skip
    rates = found["mbt_av"]["base_lr_per_layer"]
    depth = case.experiment.model.depth
    e, task = case.experiment, tasks.make(case.experiment, case.description.labels)
    model = nnx.eval_shape(lambda: task.init(nnx.Rngs(0)))
    scales = optim.layer_scales(model, rates[-2] / rates[-1])
    params = case.split()[1]
    full = jax.tree.map(lambda s, x: np.broadcast_to(s, x.shape), scales, params)
    ours = case.theirs(full)
    top, theirs_depth = len(rates) - 1, len(rates) - 2
    compared = 0
    for name, group in labels.items():
        above = top - group  # groups below the top, in a model of another depth
        layer = next((int(p[13:].split("_")[0]) for p in name.split("/") if "encoderblock" in p), 0)
        if layer < depth:
            wanted = (rates[-2] / rates[-1]) ** (above - (theirs_depth - depth) * (group < top))
            np.testing.assert_allclose(ours[name], wanted, rtol=1e-6, err_msg=name)
            compared += 1
    assert compared > 60 and e.model.fusion == "bottleneck"


def test_mask_counts():
    found = golden_cases.settings(golden_cases.at("scenic/helpers/masking.json"))
    counts = {k: v for k, v in found.items() if k.startswith("int(")}
    assert len(counts) > 5
    for name, expected in counts.items():
        ratio, tokens = name.removeprefix("int(").removesuffix(")").split("*")
        assert modality.hidden_tokens((int(tokens),), float(ratio), "random") == expected


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
