"""Positional tables and their resizing agree with the originals."""

import re

import golden_cases
import numpy as np
import pytest

from av_mae.config import modality, schema
from av_mae.models import inherit, positions


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


def test_a_run_that_starts_from_learned_positions_resizes_them_as_pytorch_does():
    found = golden_cases.arrays(golden_cases.at("videomae/mmaction2/pos_embed_bicubic.npz"))
    small = found["small_in_TCHW"]
    grids = {name: (2, *map(int, name[14:].split("x"))) for name in found if "bicubic_" in name}
    path = ("positions", "video")
    before = {path: small.transpose(0, 2, 3, 1).reshape(-1, small.shape[1])}
    for name, grid in grids.items():
        if grid[1] == grid[2]:
            after = {path: np.zeros((np.prod(grid), small.shape[1]))}
            made, report = inherit.inherit(after, before, _of_size(4), _of_size(grid[1]))
            expected = found[name].transpose(0, 2, 3, 1).reshape(after[path].shape)
            golden_cases.close(made[path], expected)
            assert report.resized == ["positions/video"]


def _of_size(size: int) -> schema.Experiment:
    kinds = {"video": modality.Video(frames=4, size=size, patch=(2, 1, 1))}
    return schema.Experiment(modalities=kinds, model=schema.Model(positions="learned"))


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
    for rows in (name for name in found if name.endswith("_rows") and "_at_" not in name):
        name = rows.removesuffix("_rows")
        table = positions.sincos(*map(int, re.findall(r"[nd](\d+)", name)))
        golden_cases.close(table[found[rows]], found[f"{name}_at_rows"])
        golden_cases.close(table.sum(0, dtype=np.float64), found[f"{name}_colsum"], 1e-4)
        whole = found.get(f"{name}_full_float16")
        assert whole is None or np.array_equal(table.astype(np.float16), whole)
    for tokens in (1568, 496):
        table, prefix = positions.sincos(tokens, 64), f"sinusoidal_1d/n{tokens}_d64"
        golden_cases.close(table[found[f"{prefix}_rows"]], found[f"{prefix}_at_rows"])
        golden_cases.close(table.sum(0, dtype=np.float64), found[f"{prefix}_colsum"], 1e-4)
