"""Checkpoints: what is written comes back exactly, and damage is noticed."""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from av_mae.config import parse, schema
from av_mae.experiment import checkpoint, sharding
from av_mae.experiment.step import TrainState

EXPERIMENT = parse.experiment({"modalities": {"video": {}}})


def _state(step: int, fsdp: int = 1) -> TrainState:
    key = jax.random.key(step)
    params = {"mlp": {"kernel": jax.random.normal(key, (16, 8)), "bias": jnp.full(8, 0.5)}}
    moments = jax.tree.map(lambda x: x * 2, params)
    made = TrainState(jnp.int32(step), params, {"mean": jnp.ones(3)}, (moments,), {})
    return jax.device_put(made, sharding.tree_shardings(made, sharding.make_mesh(fsdp)))


def _abstract(like: TrainState):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), like)


def _write(folder: pathlib.Path, *steps: int) -> None:
    saved = checkpoint.Checkpoints(folder / "checkpoints", EXPERIMENT, ("cat", "dog"), keep=3)
    for step in steps:
        saved.save(step, _state(step))
    saved.close()


def _restore(folder: pathlib.Path, like: TrainState, experiment=EXPERIMENT, labels=()):
    saved = checkpoint.Checkpoints(folder / "checkpoints", experiment, labels, keep=3)
    try:
        return saved.restore(_abstract(like))
    finally:
        saved.close()


def _equal(a, b) -> bool:
    return jax.tree.all(jax.tree.map(lambda x, y: np.array_equal(x, y), a, b))


def _flip(folder: pathlib.Path) -> None:
    """Inverts 64 bytes in the middle of the largest data file of a checkpoint."""
    largest = max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    data = bytearray(largest.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 64] = bytes(255 - b for b in data[middle : middle + 64])
    largest.write_bytes(data)


def test_restores_exactly_on_the_same_layout(tmp_path):
    _write(tmp_path, 1, 2)
    restored, meta = _restore(tmp_path, _state(2))
    assert _equal(restored, _state(2))
    assert meta["labels"] == ["cat", "dog"] and meta["step"] == 2


def test_restores_on_another_layout(tmp_path):
    _write(tmp_path, 1)
    restored, _ = _restore(tmp_path, _state(1, fsdp=8))
    assert _equal(restored, _state(1))
    assert restored.params["mlp"]["kernel"].sharding.spec[1] == "fsdp"


def test_shards_on_eight_devices_are_read_on_one(tmp_path):
    saved = checkpoint.Checkpoints(tmp_path / "checkpoints", EXPERIMENT, (), keep=1)
    spread = _state(1, fsdp=8)
    assert not spread.params["mlp"]["kernel"].is_fully_replicated
    saved.save(1, spread)
    saved.close()
    assert _equal(checkpoint.read(tmp_path).params, _state(1).params)
    assert _equal(_restore(tmp_path, _state(1))[0], _state(1))


def test_restores_into_another_precision(tmp_path):
    """As when `optim.momentum_dtype` changes in the middle of a run, and changes back."""
    half = lambda s: s.replace(  # noqa: E731
        opt_state=jax.tree.map(lambda x: x.astype(jnp.bfloat16), s.opt_state)
    )
    _write(tmp_path, 1)
    restored, _ = _restore(tmp_path, half(_state(1)))
    assert _equal(restored, half(_state(1)))
    assert {x.dtype for x in jax.tree.leaves(restored.opt_state)} == {jnp.dtype("bfloat16")}
    saved = checkpoint.Checkpoints(tmp_path / "checkpoints", EXPERIMENT, ("cat", "dog"), keep=3)
    saved.save(2, restored)
    saved.close()
    back, _ = _restore(tmp_path, _state(1))
    assert {x.dtype for x in jax.tree.leaves(back.opt_state)} == {jnp.dtype("float32")}
    assert _equal(back.opt_state, jax.tree.map(jnp.float32, restored.opt_state))


def test_restoring_holds_the_state_once(tmp_path, monkeypatch):
    """What was read makes way, array by array, for the copies that a step may consume."""
    _write(tmp_path, 1)
    read, restore = [], ocp.CheckpointManager.restore

    def noted(*args, **kwargs):
        read.append(restore(*args, **kwargs))
        return read[-1]

    monkeypatch.setattr(ocp.CheckpointManager, "restore", noted)
    restored, _ = _restore(tmp_path, _state(1))
    assert _equal(restored, _state(1))
    assert all(x.is_deleted() for x in jax.tree.leaves(read[0]["state"]))


def test_none_without_checkpoints(tmp_path):
    assert _restore(tmp_path, _state(1)) is None


def test_saved_arrays_are_those_at_the_time_of_saving(tmp_path):
    saved = checkpoint.Checkpoints(tmp_path / "checkpoints", EXPERIMENT, (), keep=1)
    current = _state(1)
    saved.save(1, current)
    jax.jit(lambda s: jax.tree.map(lambda x: x * 0, s), donate_argnums=0)(current)
    saved.close()
    restored, _ = _restore(tmp_path, _state(1))
    assert _equal(restored, _state(1))


def test_flipped_bytes_fall_back_to_the_checkpoint_before(tmp_path):
    _write(tmp_path, 1, 2)
    _flip(tmp_path / "checkpoints" / "2")
    restored, meta = _restore(tmp_path, _state(1))
    assert meta["step"] == 1 and _equal(restored, _state(1))
    assert list((tmp_path / "damaged").iterdir())


def test_half_deleted_checkpoint_falls_back_and_its_step_can_be_saved_again(tmp_path):
    _write(tmp_path, 1, 2)
    for path in (tmp_path / "checkpoints" / "2" / "state").rglob("*ocdbt*"):
        if path.is_file():
            path.unlink()
    _, meta = _restore(tmp_path, _state(1))
    assert meta["step"] == 1
    _write(tmp_path, 2)
    assert _restore(tmp_path, _state(1))[1]["step"] == 2


def test_all_damaged_is_an_error_and_nothing_is_deleted(tmp_path):
    _write(tmp_path, 1)
    _flip(tmp_path / "checkpoints" / "1")
    with pytest.raises(schema.ConfigError, match="no readable checkpoint"):
        _restore(tmp_path, _state(1))
    assert list((tmp_path / "damaged").iterdir())


def test_read_gives_numpy_parameters_and_their_experiment(tmp_path):
    _write(tmp_path, 1, 3)
    saved = checkpoint.read(tmp_path)
    assert saved.step == 3 and saved.labels == ("cat", "dog")
    assert saved.experiment == EXPERIMENT
    assert _equal(saved.params, _state(3).params) and _equal(saved.rest, _state(3).rest)
    assert isinstance(saved.params["mlp"]["kernel"], np.ndarray)
    assert checkpoint.read(tmp_path, step=1).step == 1
    assert checkpoint.read(tmp_path / "checkpoints" / "1").step == 1


def test_read_prefers_the_averaged_parameters(tmp_path):
    averaged = _state(1).replace(ema={"mlp": {"kernel": jnp.ones((16, 8)), "bias": jnp.ones(8)}})
    saved = checkpoint.Checkpoints(tmp_path / "checkpoints", EXPERIMENT, (), keep=1)
    saved.save(1, averaged)
    saved.close()
    assert (checkpoint.read(tmp_path).params["mlp"]["kernel"] == 1).all()


def test_read_notices_flipped_bytes(tmp_path):
    _write(tmp_path, 1)
    _flip(tmp_path / "checkpoints" / "1")
    with pytest.raises(schema.ConfigError, match="damaged|differ"):
        checkpoint.read(tmp_path)


def test_read_says_what_is_missing(tmp_path):
    with pytest.raises(schema.ConfigError, match="does not exist"):
        checkpoint.read(tmp_path / "nowhere")
    with pytest.raises(schema.ConfigError, match="no checkpoint in"):
        checkpoint.read(tmp_path)
    _write(tmp_path, 1)
    with pytest.raises(schema.ConfigError, match="no checkpoint of step 7"):
        checkpoint.read(tmp_path, step=7)


def test_another_model_is_refused_and_its_checkpoints_stay(tmp_path):
    """Asking for other arrays is a mistake of the config, not damage."""
    _write(tmp_path, 1)
    wider = _state(1)
    wider.params["mlp"]["bias"] = jnp.zeros(9)
    with pytest.raises(schema.ConfigError, match="another model or optimizer"):
        _restore(tmp_path, wider)
    assert _restore(tmp_path, _state(1))[1]["step"] == 1
    assert not (tmp_path / "damaged").exists()


def test_a_classifier_of_other_labels_is_refused(tmp_path):
    """As many labels in another order would be trained on, and scored, without a word."""
    classifier = dataclasses.replace(EXPERIMENT, task="classify")
    _write(tmp_path, 1)
    with pytest.raises(schema.ConfigError, match="other labels.*label 0: 'cat' -> 'dog'"):
        _restore(tmp_path, _state(1), classifier, ("dog", "cat"))
    assert _restore(tmp_path, _state(1), classifier, ("cat", "dog"))[1]["step"] == 1


def test_a_changed_config_is_told(tmp_path, caplog):
    _write(tmp_path, 1)
    faster = dataclasses.replace(EXPERIMENT, lr=0.5)
    saved = checkpoint.Checkpoints(tmp_path / "checkpoints", faster, (), keep=3)
    assert saved.restore(_abstract(_state(1))) is not None
    saved.close()
    assert "changed config: lr: 0.00015 -> 0.5" in caplog.text
