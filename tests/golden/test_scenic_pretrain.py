"""Pretraining agrees with Scenic's: predictions, encodings, targets, losses and gradients."""

import functools

import golden_cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scenic_cases
from flax import nnx

from av_mae import losses

CASES = golden_cases.found("scenic/pretrain") + golden_cases.found("scenic/pretrain_single")


@pytest.mark.parametrize("folder", CASES)
def test_an_autoencoder_agrees(folder):
    case = scenic_cases.load(folder)
    (loss, alone), (output, everything, encoded, wanted), grads = run(case)
    for name in case.names:
        predictions = case.of("predictions", name)
        golden_cases.close(everything[name], predictions)
        hidden = np.asarray(output.masks[name].hidden)
        expected = np.take_along_axis(predictions, hidden[..., None], 1)
        golden_cases.close(output.predictions[name], expected)
        golden_cases.close(
            encoded[name], without_class(case.of("eval_encoded", name), encoded[name])
        )
        golden_cases.close(wanted[name], case.of("targets", name))
        assert np.array_equal(output.masks[name].as_bool(), case.of("token_mask", name) > 0)
    golden_cases.close(loss, case.arrays["loss"])
    golden_cases.close(alone, case.arrays["loss_batch_mask_1_0"])
    compare_gradients(folder, case, grads)


def run(case):
    graphdef, params, rest = case.split()
    e = case.experiment
    inputs, masks = case.inputs(), case.masks()

    def score(output, valid_b):
        hidden = {name: mask.hidden for name, mask in output.masks.items()}
        return losses.reconstruction(
            output.predictions, inputs, hidden, e.modalities,
            normalise=e.model.normalise_targets, valid_b=jnp.asarray(valid_b),
        )[0]  # fmt: skip

    @functools.partial(jax.value_and_grad, has_aux=True)
    def step(params):
        model = nnx.merge(graphdef, params, rest)
        output = model(inputs, masks=masks)
        wanted = {
            name: losses.targets(m.patchify(inputs[name]), m, e.model.normalise_targets)
            for name, m in e.modalities.items()
        }
        found = (output, model.reconstruct(inputs, masks), model.encode(inputs), wanted)
        return score(output, [True, True]), (score(output, [True, False]), found)

    (loss, (alone, found)), grads = golden_cases.jit(step)(params)
    return (loss, alone), found, grads


def without_class(encoded, ours):
    """Scenic's encodings include the class token, if there is one."""
    return encoded[:, -ours.shape[1] :]


def compare_gradients(folder, case, grads):
    ours = case.theirs(grads)
    for name, compare in (
        ("grads", golden_cases.close_gradients),
        ("grads_summary", golden_cases.close_summaries),
    ):
        file = folder / f"{name}.npz"
        if file.is_file():
            theirs = golden_cases.arrays(file)
            # Tables of space and of time add up to one of ours: no gradient of either alone.
            compare(ours, {k: x for k, x in theirs.items() if "pos_embedding_" not in k})
