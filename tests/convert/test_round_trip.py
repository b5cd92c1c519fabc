"""Models come from other programs, are written as ours, and still compute the same."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_models
from flax import nnx, serialization, traverse_util
from test_read import DATA, FACE

import av_mae
from av_mae import api, tasks
from av_mae.convert import read
from av_mae.experiment import checkpoint
from av_mae.experiment.step import split

SCENIC = {
    "modalities.video.frames": 4,
    "modalities.video.size": 16,
    "modalities.audio.seconds": 0.4,
    "modalities.audio.mels": 16,
}
NAMES = {"video": "rgb", "audio": "spectrogram"}


def _ours(place, known, tmp_path):
    """(model of ours, golden arrays) of Scenic's parameters: its file, our workdir, read again."""
    params = dict(np.load(DATA / place / "params.npz"))
    nested = traverse_util.unflatten_dict(params, sep="/")
    file = tmp_path / "checkpoint_7"
    file.write_bytes(serialization.msgpack_serialize({"params": nested, "global_step": 7}))
    checkpoint.write(read.read(file, SCENIC | known), tmp_path / "run")
    saved = checkpoint.read(tmp_path / "run")
    assert saved.step == 7
    graphdef, _, rest = split(tasks.make(saved.experiment, saved.labels).init(nnx.Rngs(0)))
    arrays = dict(np.load(DATA / place / "arrays.npz"))
    kinds = saved.experiment.modalities
    inputs = {
        k: jnp.asarray(arrays[f"inputs/{NAMES[k]}"]).reshape(-1, *m.input_shape)
        for k, m in kinds.items()
    }
    return nnx.merge(graphdef, jax.tree.map(jnp.asarray, saved.params), rest), inputs, arrays


def _close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, atol=2e-5, rtol=2e-5)


def test_scenics_classifier_as_a_workdir_of_ours(tmp_path):
    known = {"model.fusion_layers": 1}
    model, inputs, arrays = _ours("scenic/finetune/mbt_av_token", known, tmp_path)
    _close(jax.jit(model.predict)(inputs), arrays["logits_eval"])


def test_scenics_autoencoder_as_a_workdir_of_ours(tmp_path):
    place = "scenic/pretrain/mm_separate_encoders_and_concat__same_decoder"
    known = {"modalities.video.mask_ratio": 0.75, "modalities.audio.mask_ratio": 0.5}
    model, inputs, arrays = _ours(place, known, tmp_path)
    masks = {
        ours: tiny_models.ordered_mask(
            *(jnp.asarray(arrays[f"{k}/{theirs}"]) for k in ("unmasked_indices", "masked_indices"))
        )
        for ours, theirs in NAMES.items()
    }
    for name, predicted in jax.jit(model.reconstruct)(inputs, masks).items():
        _close(predicted, arrays[f"predictions/{NAMES[name]}"])


def _changed(model: api.Model, **changes) -> api.Model:
    """The same parameters in a model of another experiment."""
    saved = read.read(FACE)
    e = dataclasses.replace(saved.experiment, **changes)
    module = tasks.make(e, saved.labels).init(nnx.Rngs(0))
    graphdef, _, rest = split(module)
    return api.Model(nnx.merge(graphdef, saved.params, rest), e, model.labels)


@pytest.fixture(scope="module")
def clip():
    frames = np.random.default_rng(0).integers(0, 256, (60, 40, 48, 3), np.uint8)
    return av_mae.Clip(frames=frames, fps=25.0, audio=None, source="made")


def test_another_precision_gives_nearly_the_same(clip):
    model = av_mae.load(FACE)
    before = model.classify(clip, top=7)
    compute = dataclasses.replace(model.experiment.compute, dtype="bfloat16")
    after = _changed(model, compute=compute).classify(clip, top=7)
    for label, odds in before.items():
        assert after[label] == pytest.approx(odds, abs=0.05)
    assert before != after


def test_fixed_positions_are_made_anew_for_other_clips(clip):
    """As many tokens more as the clips are longer and larger, and every parameter still fits."""
    model = av_mae.load(FACE)
    video = dataclasses.replace(model.experiment.modalities["video"], frames=8, size=48)
    other = _changed(model, modalities={"video": video})
    assert other.features(clip)["video"].shape == (4 * 6 * 6, model.experiment.model.width)
    assert set(other.classify(clip, top=7)) == set(model.labels)


def test_what_a_file_shows_counts_and_is_told(tmp_path, caplog):
    caplog.set_level("WARNING", logger="absl")
    saved = read.read(FACE, {"model.heads": 2, "modalities.video.size": 32})
    assert saved.experiment.model.heads == 4
    assert "shows model.heads=4, not 2 as it was told" in caplog.text
    assert "size" not in caplog.text


def test_what_is_left_in_a_file_is_named(golden):
    left = {
        "videomae/mmaction2/recognition/recognition.pth": ("pos_embed",),
        "videomae/mmaction2/detection/detection.pth": ("pos_embed", "roi_head.bbox_head.fc_cls"),
    }
    known = {"model.heads": 4, "modalities.video.size": 32, "modalities.video.frames": 4}
    for place, names in left.items():
        found = read.read(golden / place, known).left
        assert {name.removesuffix(".weight").removesuffix(".bias") for name in found} == set(names)


@pytest.mark.parametrize("place", ["finetune_meanpool", "pretrain_normpix_tube"])
def test_official_models_give_the_same_outputs_in_transformers(golden, place, tmp_path):
    transformers = pytest.importorskip("transformers", reason="needs transformers and PyTorch")
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    from av_mae.convert import huggingface

    folder = golden / "videomae/official" / place
    settings, io = (
        json.loads((folder / "config.json").read_text()),
        dict(np.load(folder / "io.npz")),
    )
    masked = "bool_masked_pos" in io
    known = {"model.heads": 4, "model.decoder_heads": 2, "modalities.video.size": 32}
    known |= {"modalities.video.frames": settings.get("all_frames", 16)}
    huggingface.write(read.read(next(folder.glob("*.pth")), known), tmp_path)
    kind = "VideoMAEForPreTraining" if masked else "VideoMAEForVideoClassification"
    model = getattr(transformers, kind).from_pretrained(tmp_path).eval()
    (model.decoder.norm if masked else model.fc_norm).eps = 1e-6  # whatever the config says: 1e-5
    inputs = {"pixel_values": torch.from_numpy(io["videos"]).transpose(1, 2)}
    if masked:
        inputs["bool_masked_pos"] = torch.from_numpy(io["bool_masked_pos"]).bool()
    with torch.no_grad():
        _close(model(**inputs).logits.numpy(), io["outputs" if masked else "logits"])
