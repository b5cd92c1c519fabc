"""Positional tables and their resizing agree with the originals."""

import golden_cases
import numpy as np
import pytest

from av_mae.models import positions


def test_a_resized_table_equals_pytorchs():
    found = golden_cases.arrays(golden_cases.at("videomae/mmaction2/pos_embed_bicubic.npz"))
    table = positions.sincos(8 * 14 * 14, 6)
    assert np.allclose(found["table_14x14_first_rows"][0], table[:32], atol=1e-6)
    sizes = {k: tuple(map(int, k[3:].split("x"))) for k in found if k.startswith("to_")}
    for name, (height, width) in sizes.items():
        ours = positions.resize(table, (8, 14, 14), (8, height, width))
        golden_cases.close(ours[::7], found[name][0], what=name)


def test_small_pictures_are_resized_as_by_pytorch():
    found = golden_cases.arrays(golden_cases.at("videomae/mmaction2/pos_embed_bicubic.npz"))
    small = found["small_in_TCHW"]
    frames, channels, *old = small.shape
    table = small.transpose(0, 2, 3, 1).reshape(-1, channels)
    for size in ("6x6", "5x7", "2x3"):
        new = tuple(map(int, size.split("x")))
        ours = positions.resize(table, (frames, *old), (frames, *new))
        ours = ours.reshape(frames, *new, channels).transpose(0, 3, 1, 2)
        golden_cases.close(ours, found[f"small_bicubic_{size}"])


def test_videomaes_tables():
    for name, expected in golden_cases.arrays(
        golden_cases.at("videomae/official/sincos_tables.npz")
    ).items():
        tokens, width, *rows = (part.lstrip("nd") for part in name.split("_"))
        table = positions.sincos(int(tokens), int(width))
        if rows:
            table = table[[int(row) for row in rows[1:]]]
        golden_cases.close(table.reshape(expected.shape), expected)


@pytest.mark.parametrize("kind", ["sincos_2d", "sincos_3d"])
def test_scenics_tables_of_grids(kind):
    found = golden_cases.arrays(golden_cases.at("scenic/helpers/posemb.npz"))
    names = [name for name in found if name.startswith(kind)]
    assert names
    for name in names:
        *grid, width = found[name].shape[1:]
        ours = positions.sincos_axes(tuple(grid), width)
        golden_cases.close(ours, found[name].reshape(-1, width))


def test_scenics_tables_of_tokens():
    found = golden_cases.arrays(golden_cases.at("scenic/helpers/posemb.npz"))
    golden_cases.close(positions.sincos(8, 32), found["sinusoidal_1d/n8_d32"][0])
    for tokens in (1568, 496):
        table, prefix = positions.sincos(tokens, 64), f"sinusoidal_1d/n{tokens}_d64"
        golden_cases.close(table[found[f"{prefix}_rows"]], found[f"{prefix}_at_rows"])
        golden_cases.close(table.sum(0, dtype=np.float64), found[f"{prefix}_colsum"], 1e-4)
