"""Mixup and cutmix: pairs, areas, weights for each modality, rows that must not be mixed."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from av_mae.preprocess import mix
from av_mae.tasks import losses

SHAPES = {"video": (2, 8, 8, 3), "audio": (12, 4)}


def _batch(rows=4, names=("video", "audio")):
    """Every value of a row is its number, so that a mixture tells its shares."""
    number = jnp.arange(1.0, rows + 1)
    inputs = {
        n: jnp.ones((rows, *SHAPES[n])) * number.reshape(-1, *(1,) * len(SHAPES[n])) for n in names
    }
    return inputs, jnp.eye(rows)


def _beta(kind: str, value: float = 0.8) -> dict[str, Any]:
    return {kind: value}


def _seeds(count=12):
    return [jax.random.key(seed) for seed in range(count)]


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
@pytest.mark.parametrize("name", ["video", "audio"])
def test_the_label_is_the_share_of_the_row_that_is_left(kind, name):
    inputs, labels = _batch(names=(name,))
    shares = []
    for key in _seeds():
        mixed, found = mix.mix(inputs, labels, key, **_beta(kind))
        share = np.diagonal(found[name])
        mean = np.asarray(mixed[name]).reshape(4, -1).mean(1)
        np.testing.assert_allclose(
            share * np.arange(1, 5) + (1 - share) * np.arange(4, 0, -1), mean, rtol=1e-5
        )
        np.testing.assert_allclose(found[name].sum(1), 1.0, rtol=1e-6)
        np.testing.assert_allclose(share, share[0], rtol=1e-6)
        shares.append(share[0])
    assert len(set(shares)) > 6 and min(shares) >= 0 and max(shares) <= 1


def test_cutmix_cuts_one_box_through_all_frames_and_one_span_of_time():
    inputs, labels = _batch()
    boxes = []
    for key in _seeds():
        mixed, _ = mix.mix(inputs, labels, key, cutmix=1.0)
        inside = np.asarray(mixed["video"])[0] == 4.0
        assert (inside == inside[:1, :, :, :1]).all()
        box = inside[0, :, :, 0]
        assert (box == np.outer(box.any(1), box.any(0))).all()
        boxes.append(box.sum())
        span = np.asarray(mixed["audio"])[0] == 4.0
        assert (span == span[:, :1]).all()
        assert (np.diff(span[:, 0].astype(int)) == 1).sum() + span[0, 0] <= 1
    assert len(set(boxes)) > 3


def test_mixup_and_cutmix_take_turns():
    inputs, labels = _batch(names=("video",))
    cut = 0
    for key in _seeds(20):
        row = np.asarray(mix.mix(inputs, labels, key, mixup=0.8, cutmix=1.0)[0]["video"])[0]
        cut += int(np.isin(row, (1.0, 4.0)).all())
    assert 4 <= cut <= 16


def test_modalities_share_one_label_unless_each_has_its_own_weight():
    inputs, labels = _batch()
    for kind in ("mixup", "cutmix"):
        _, shared = mix.mix(inputs, labels, jax.random.key(3), **_beta(kind))
        np.testing.assert_array_equal(shared["video"], shared["audio"])
        _, own = mix.mix(inputs, labels, jax.random.key(3), per_modality=True, **_beta(kind))
        assert abs(float(own["video"][0, 0] - own["audio"][0, 0])) > 1e-3


def test_shared_mixup_gives_all_modalities_the_same_weight():
    inputs, labels = _batch()
    mixed, _ = mix.mix(inputs, labels, jax.random.key(0), mixup=0.8)
    np.testing.assert_allclose(mixed["video"][0, 0, 0, 0, 0], mixed["audio"][0, 0, 0], rtol=1e-6)


@pytest.mark.parametrize("per_modality", [False, True])
@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_padding_rows_are_never_mixed_in(kind, per_modality):
    inputs, labels = _batch()
    valid = jnp.array([True, True, True, False])
    mixed, found = mix.mix(
        inputs,
        labels,
        jax.random.key(2),
        per_modality=per_modality,
        valid_b=valid,
        **_beta(kind, 1.0),
    )
    for name in inputs:
        for row in (0, 3):
            np.testing.assert_array_equal(mixed[name][row], inputs[name][row])
            np.testing.assert_array_equal(found[name][row], labels[row])
        assert (found[name][1] != labels[1]).any()


def test_a_row_without_sound_lends_its_partner_no_silence():
    inputs, labels = _batch()
    present = {"audio": jnp.array([False, True, True, True])}
    key = jax.random.key(1)
    mixed, found = mix.mix(inputs, labels, key, mixup=1.0, present=present)
    for name in inputs:
        np.testing.assert_array_equal(
            mixed[name][jnp.array([0, 3])], inputs[name][jnp.array([0, 3])]
        )
        np.testing.assert_array_equal(found[name][0], labels[0])
    mixed, found = mix.mix(inputs, labels, key, mixup=1.0, present=present, per_modality=True)
    np.testing.assert_array_equal(mixed["audio"][3], inputs["audio"][3])
    np.testing.assert_array_equal(found["audio"][3], labels[3])
    assert (mixed["video"][3] != inputs["video"][3]).all() and found["video"][3, 0] > 0


def test_two_rows_without_sound_still_mix_their_pictures():
    inputs, labels = _batch()
    present = {"audio": jnp.array([False, True, True, False])}
    mixed, found = mix.mix(inputs, labels, jax.random.key(1), mixup=1.0, present=present)
    assert (mixed["video"][0] != inputs["video"][0]).all() and found["video"][0, 3] > 0


def test_off_means_untouched():
    inputs, labels = _batch()
    mixed, found = mix.mix(inputs, labels, jax.random.key(0))
    for name in inputs:
        np.testing.assert_array_equal(mixed[name], inputs[name])
        np.testing.assert_array_equal(found[name], labels)


@pytest.mark.parametrize("case", ["mixmod", "shared"])
def test_given_weights_give_scenics_mixtures(case, golden, monkeypatch):
    stored = np.load(golden / "scenic" / "helpers" / "mixup_modalities.npz")
    names = {"video": "rgb", "audio": "spectrogram"}
    inputs = {ours: jnp.asarray(stored[f"{case}/in/{theirs}"]) for ours, theirs in names.items()}
    weights = iter(stored[f"{case}/weights"])
    monkeypatch.setattr(mix, "_draw", lambda *_: (next(weights), jnp.array(False)))
    labels = jnp.asarray(stored[f"{case}/label_in"])
    mixed, found = mix.mix(
        inputs, labels, jax.random.key(0), mixup=0.5, per_modality=case == "mixmod"
    )
    for ours, theirs in names.items():
        np.testing.assert_allclose(mixed[ours], stored[f"{case}/out/{theirs}"], atol=1e-6)
        np.testing.assert_allclose(found[ours], stored[f"{case}/label_out/{theirs}"], atol=1e-6)


# Which of VideoMAE's batches were cut, and the centre (y, x) of the box; it is 6 x 6 pixels.
CENTRES = {0: None, 1: (5, 4), 2: None, 3: (0, 3)}


@pytest.mark.parametrize("case", CENTRES)
def test_given_draws_give_videomaes_mixtures_and_soft_targets(case, golden, monkeypatch):
    """Smoothed labels, the reversed batch, and a share that follows the box cut at the border."""
    stored = np.load(golden / "videomae" / "official_data" / "mixup.npz")
    soft = stored[f"out_y_{case}"]
    smoothing, classes, centre = 0.1, soft.shape[1], CENTRES[case]
    off = smoothing / classes
    weight = (soft[0, stored["y"][0]] - off) / (1 - smoothing)
    if centre:
        weight = 1 - (6.4 / 8) ** 2  # before the border is looked at
        places = iter(centre)
        monkeypatch.setattr(jax.random, "randint", lambda *_: next(places))
    drawn = (jnp.float32(weight), jnp.array(bool(centre)))
    monkeypatch.setattr(mix, "_draw", lambda *_: drawn)
    video = jnp.asarray(stored["x"].transpose(0, 2, 3, 4, 1))  # b f h w c
    mixed, labels = mix.mix(
        {"video": video}, jnp.eye(classes)[stored["y"]], jax.random.key(0), mixup=0.8, cutmix=1.0
    )
    expected = stored[f"out_x_{case}"].transpose(0, 2, 3, 4, 1)
    np.testing.assert_allclose(mixed["video"], expected, atol=1e-6)
    logits = np.random.default_rng(0).normal(size=soft.shape).astype(np.float32)
    found = losses.softmax_cross_entropy(jnp.asarray(logits), labels["video"], smoothing)
    np.testing.assert_allclose(found, -(soft * jax.nn.log_softmax(logits)).sum(1), rtol=1e-5)
