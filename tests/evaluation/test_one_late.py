"""Results are fetched while the devices have the next one to compute."""

import jax.numpy as jnp
import numpy as np
import pytest

from av_mae.evaluation import batches


@pytest.mark.parametrize("count", [0, 1, 3])
def test_every_result_comes_once_in_order_and_one_late(count):
    begun = []

    def results():
        for number in range(count):
            begun.append(number)
            yield {"number": jnp.full(2, number)}

    for number, result in enumerate(batches.fetched(results())):
        assert isinstance(result["number"], np.ndarray) and (result["number"] == number).all()
        assert len(begun) == min(number + 2, count)
    assert len(begun) == count
