"""Pretraining agrees with Scenic's: predictions, encodings, targets, losses and gradients."""

import functools

import golden_cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scenic_cases
from flax import nnx

from av_mae.convert.scenic_rules import NAMES
from av_mae.tasks import losses

CASES = golden_cases.found("scenic/pretrain") + golden_cases.found("scenic/pretrain_single")


@pytest.mark.parametrize("folder", CASES)
def test_an_autoencoder_agrees(folder):
    case = scenic_cases.load(folder)
    (loss, alone, errors), (output, everything, encoded, wanted), grads = run(case)
    for name in case.names:
        predictions = case.of("predictions", name)
        golden_cases.close(everything[name], predictions)
        golden_cases.close(output.predictions[name], predicted(case, output, name))
        golden_cases.close(
            encoded[name], without_class(case.of("eval_encoded", name), encoded[name])
        )
        golden_cases.close(wanted[name], case.of("targets", name))
        assert np.array_equal(output.masks[name].as_bool(), case.of("token_mask", name) > 0)
        compare_alone(case, errors, name)
    added = penalty(case)
    golden_cases.close(loss + added, case.arrays["loss"])
    golden_cases.close(loss + added, case.arrays.get("loss_no_batch_mask", loss + added))
    golden_cases.close(alone + added, case.arrays["loss_batch_mask_1_0"])
    compare_gradients(folder, case, grads)


def run(case):
    graphdef, params, rest = case.split()
    e = case.experiment
    inputs, masks = case.inputs(), case.masks()

    def score(output, valid_b):
        hidden = {name: mask.hidden for name, mask in output.masks.items()}
        return losses.reconstruction(
            output.predictions, inputs, None if e.model.loss_on_visible else hidden,
            e.modalities, normalise=e.model.normalise_targets, valid_b=jnp.asarray(valid_b),
        )  # fmt: skip

    @functools.partial(jax.value_and_grad, has_aux=True)
    def step(params):
        model = nnx.merge(graphdef, params, rest)
        output = model(inputs, masks=masks)
        wanted = {
            name: losses.targets(m.patchify(inputs[name]), m, e.model.normalise_targets)
            for name, m in e.modalities.items()
        }
        found = (output, model.reconstruct(inputs, masks), model.features(inputs), wanted)
        loss, errors = score(output, [True, True])
        return loss, (score(output, [True, False])[0], errors, found)

    (loss, (alone, errors, found)), grads = jax.jit(step)(params)
    return (loss, alone, errors), found, grads


def predicted(case, output, name):
    """Scenic's predictions of the tokens that our loss is about."""
    predictions = case.of("predictions", name)
    if case.experiment.model.loss_on_visible:
        return predictions
    return np.take_along_axis(predictions, np.asarray(output.masks[name].hidden)[..., None], 1)


def compare_alone(case, errors, name):
    """Each modality's own loss, and what it drew, where the case has them."""
    key = f"loss_modality/{NAMES[name]}"
    if key in case.arrays:
        m = case.experiment.modalities[name]
        summed = not case.settings["masked_feature_loss"]["normalise_by_output_dimension"]
        golden_cases.close(errors[name].mean * (m.patch_dim if summed else 1), case.arrays[key])
    key = f"drawn_mask/{NAMES[name]}"
    if key in case.arrays:
        assert np.array_equal(case.masks()[name].as_bool(), case.arrays[key] > 0)
        assert case.experiment.modalities[name].hidden == case.arrays[key][0].sum()


def without_class(encoded, ours):
    """Scenic's encodings include the class token, if there is one."""
    return encoded[:, -ours.shape[1] :]


def penalty(case):
    """Scenic's L2 term, which no config of it asks for and ours has not: of all matrices."""
    factor = case.settings.get("l2_decay_factor") or 0.0
    matrices = (x for x in case.description.arrays.values() if x.ndim > 1)
    return 0.5 * factor * sum(np.square(x).sum() for x in matrices)


def compare_gradients(folder, case, grads):
    ours = case.gradients(grads)
    factor = case.settings.get("l2_decay_factor") or 0.0
    for name, x in case.description.arrays.items():
        if factor and x.ndim > 1:
            ours[name] = ours[name] + factor * x.reshape(ours[name].shape)
    for name, compare in (
        ("grads", golden_cases.close_gradients),
        ("grads_summary", golden_cases.close_summaries),
    ):
        file = folder / f"{name}.npz"
        if file.is_file():
            theirs = golden_cases.arrays(file)
            # Tables of space and of time add up to one of ours: no gradient of either alone.
            compare(ours, {k: x for k, x in theirs.items() if "pos_embedding_" not in k})
