"""Scenic's checkpoints, of both trainers, are read as it wrote them."""

import numpy as np
import pytest
from flax import serialization

from av_mae.config import schema
from av_mae.convert import scenic

KINDS = ("legacy_pretrain", "optax_finetune")
PARAMS = {"Transformer": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3)}}


@pytest.mark.parametrize("kind", KINDS)
def test_real_checkpoints_hold_what_scenic_held(golden, kind):
    folder = golden / "scenic" / "checkpoints" / kind
    path = scenic.find(folder)
    assert path == folder / "checkpoint"
    found = scenic.read(path)
    expected = dict(np.load(folder / "expected_params.npz"))
    assert set(found) == set(expected)
    for name, x in expected.items():
        np.testing.assert_array_equal(found[name], x, err_msg=name)


@pytest.mark.parametrize(
    "state",
    [
        {"params": PARAMS, "opt_state": {}},
        {"global_step": 1, "optimizer": {"target": PARAMS}},
        {"global_step": 1, "optimizer": {"target": {"params": PARAMS}}},
    ],
)
def test_parameters_are_found_wherever_they_stand(tmp_path, state):
    path = write(tmp_path / "checkpoint", state)
    assert scenic.find(path) == path
    (name, x), *rest = scenic.read(path).items()
    assert (name, rest) == ("Transformer/kernel", [])
    np.testing.assert_array_equal(x, PARAMS["Transformer"]["kernel"])


def test_arrays_in_chunks_are_put_together(tmp_path, monkeypatch):
    monkeypatch.setattr(serialization, "MAX_CHUNK_SIZE", 8)
    path = write(tmp_path / "checkpoint", {"params": PARAMS})
    assert b"__msgpack_chunked_array__" in path.read_bytes()
    np.testing.assert_array_equal(
        scenic.read(path)["Transformer/kernel"], PARAMS["Transformer"]["kernel"]
    )


def test_a_folder_gives_its_last_step(tmp_path):
    assert scenic.find(tmp_path) is None
    for name in ("checkpoint_9", "checkpoint_100", "checkpoint_20", "checkpoint_x", "config.json"):
        write(tmp_path / name, {"params": PARAMS})
    (tmp_path / "checkpoint_500").mkdir()
    assert scenic.find(tmp_path) == tmp_path / "checkpoint_100"


def test_truncated_and_other_files_are_told(tmp_path):
    path = write(tmp_path / "checkpoint", {"params": PARAMS})
    whole = path.read_bytes()
    for content in (b"", b"hello", whole[: len(whole) // 2], whole[:-1]):
        path.write_bytes(content)
        with pytest.raises(schema.ConfigError, match="checkpoint is not a whole flax"):
            scenic.read(path)
    write(path, {"weights": PARAMS, "epoch": 3})
    assert scenic.find(path) is None
    with pytest.raises(schema.ConfigError, match="no parameters .* holds epoch, weights"):
        scenic.read(path)


def write(path, state):
    path.write_bytes(serialization.msgpack_serialize(state))
    return path
