"""Finetuning agrees with Scenic's: logits, tokens, losses and gradients of MBT, ViViT and ViT."""

import golden_cases
import jax.numpy as jnp
import pytest
import scenic_cases
from flax import nnx
from test_scenic_pretrain import compare_gradients

from av_mae.convert.scenic_rules import NAMES
from av_mae.tasks import losses

CASES = golden_cases.found("scenic/finetune")


@pytest.mark.parametrize("folder", CASES)
def test_a_classifier_agrees(folder):
    case = scenic_cases.load(folder)
    gradients = any(folder.glob("grads*.npz"))
    tolerance = 1e-4 if case.experiment.model.linear_probe else 2e-5
    (loss, (alone, of_first, logits, merged, tokens)), grads = run(case, gradients)
    for name in case.names:
        golden_cases.close(logits[name], case.of("logits_train", name), tolerance)
        for mode in ("train", "eval"):
            key = f"tokens_{mode}/{NAMES[name]}"
            if key in case.arrays:
                golden_cases.close(tokens[mode][name], case.arrays[key])
    golden_cases.close(merged, case.arrays["logits_eval"], tolerance)
    golden_cases.close(loss, case.arrays["loss"], tolerance)
    for key, ours in (("loss_batch_mask_1_0", alone), ("loss_eval_logits_first_label", of_first)):
        if key in case.arrays:
            golden_cases.close(ours, case.arrays[key])
    if gradients:
        compare_gradients(folder, case, grads)


def run(case, gradients):
    e = case.experiment
    graphdef, params, rest = case.split()
    rest = with_statistics(rest, case.arrays, "state")
    inputs = case.inputs()
    labels = {name: jnp.asarray(case.of("labels", name)) for name in case.names}

    def score(logits, valid_b):
        own = {name: labels[name] for name in logits}
        return losses.classification(
            logits, own, multilabel=e.dataset.multilabel,
            smoothing=case.settings.get("label_smoothing") or 0.0, valid_b=jnp.asarray(valid_b),
        )[0]  # fmt: skip

    def step(params):
        model = nnx.merge(graphdef, params, rest)
        merged = model.predict(inputs)
        embedded = model.tokenise(inputs)
        tokens = {k: model.encoders(embedded, train=k == "train") for k in ("train", "eval")}
        logits = model(inputs, train=True)
        statistics = nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))
        of_first = score({case.names[0]: merged}, [True, True])
        check = (score(logits, [True, False]), of_first, logits, merged, tokens, statistics)
        return score(logits, [True, True]), check

    result, grads = golden_cases.evaluate(step, params, gradients=gradients)
    loss, (*found, statistics) = result
    compare_statistics(statistics, case.arrays)
    return (loss, tuple(found)), grads


def with_statistics(rest, arrays, prefix):
    """Running statistics of a linear probe, where the case has them."""
    if not rest:
        return rest
    names = ("mean", "var")
    found = {k: jnp.asarray(arrays[f"{prefix}/batch_stats/BatchNorm_0/{k}"]) for k in names}
    return {"standardise": {"video": found}}


def compare_statistics(statistics, arrays):
    for key in ("mean", "var") if statistics else ():
        expected = arrays[f"new_state/batch_stats/BatchNorm_0/{key}"]
        golden_cases.close(statistics["standardise"]["video"][key], expected)
