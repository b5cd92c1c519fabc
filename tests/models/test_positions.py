"""Position tables."""

import numpy as np
import pytest

from av_mae.config import modality as modality_lib
from av_mae.models import positions


def test_sincos_interleaves_sine_and_cosine():
    table = positions.sincos(5, 6)
    for p in range(5):
        for i in range(3):
            angle = p / 10000 ** (2 * i / 6)
            assert table[p, 2 * i] == pytest.approx(np.sin(angle), abs=1e-7)
            assert table[p, 2 * i + 1] == pytest.approx(np.cos(angle), abs=1e-7)


def test_sincos_of_axes_is_a_block_for_time_width_and_height():
    table = positions.sincos_axes((2, 3, 4), 12).reshape(2, 3, 4, 12)
    for block, (places, axis) in enumerate(((2, 0), (4, 2), (3, 1))):
        part = np.moveaxis(table[..., 4 * block : 4 * block + 4], axis, 0)
        for place in range(places):
            expected = [f(place * w) for f in (np.sin, np.cos) for w in (1.0, 0.01)]
            assert np.allclose(part[place], expected, atol=1e-6)


def test_axes_of_one_place_have_no_block():
    assert np.array_equal(positions.sincos_axes((1, 3, 4), 8), positions.sincos_axes((3, 4), 8))


def test_a_width_that_does_not_split_is_refused():
    with pytest.raises(ValueError, match="width divisible by 6 on a \\(2, 2, 2\\) token grid"):
        positions.sincos_axes((2, 2, 2), 16)


@pytest.mark.parametrize("kind", ["sincos", "sincos3d"])
def test_fixed_tables_fit_both_modalities(kind):
    for made in (
        modality_lib.Video(frames=4, size=8, patch=(2, 4, 4)),
        modality_lib.Audio(seconds=0.16, mels=16, patch=(4, 4)),
    ):
        table = positions.table(kind, made, 12, None)
        assert table.shape == (made.tokens, 12)
        assert len(np.unique(np.asarray(table), axis=0)) == made.tokens
