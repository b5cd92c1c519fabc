"""Foreign files: what they do not show is asked for, what is wrong with them is one sentence."""

import json
import pathlib
import shutil

import numpy as np
import pytest

import av_mae
from av_mae.config import schema
from av_mae.convert import huggingface, read

DATA = pathlib.Path(__file__).parents[1] / "golden" / "data"
PTH = DATA / "videomae/official/finetune_meanpool_f16/checkpoint-99.pth"
FACE = DATA / "videomae/hf/cls_nomeanpool_img32"
KERAS = DATA / "videomae/keras/TFVideoMAE_tiny_FT_gamma_noqkvbias.h5"
SCENIC = DATA / "scenic/checkpoints/optax_finetune"
MMACTION2 = DATA / "videomae/mmaction2/recognition/recognition.pth"
KNOWN = {"model.heads": 4, "modalities.video.size": 32}


def _ids(path):
    return str(path.relative_to(DATA))


@pytest.mark.parametrize(
    "source, asked",
    [(PTH, ["model.heads", "width of 16"]), (SCENIC, ["model.fusion_layers", "audio.seconds"])],
)
def test_what_a_file_does_not_show_is_asked_for_by_name(source, asked):
    with pytest.raises(schema.ConfigError) as error:
        read.read(source)
    for word in (*asked, "known=", "--config=", str(source)):
        assert word in str(error.value)


def test_published_values_are_taken_where_the_file_shows_none():
    saved = read.read(PTH, KNOWN)
    video = saved.experiment.modalities["video"]
    assert (video.frames, video.stride, video.patch) == (16, 4, (2, 8, 8))
    assert video.mean == (0.485, 0.456, 0.406) and saved.labels[6] == "class 6"
    evaluator = saved.experiment.evaluators["test"]
    assert (evaluator.temporal_views, evaluator.spatial_views, evaluator.merge) == (5, 3, "softmax")


def test_hugging_face_shows_everything():
    saved = read.read(FACE)
    assert saved.labels[0] == "LABEL_0" and saved.experiment.model.heads == 4
    assert saved.experiment.model.norm_eps == 1e-12


@pytest.mark.parametrize("source", [PTH, KERAS, MMACTION2, SCENIC / "checkpoint"], ids=_ids)
def test_a_truncated_file_is_one_sentence(source, tmp_path):
    whole = source.read_bytes()
    for share in (0.02, 0.5, 0.98):
        target = tmp_path / source.name
        target.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(schema.ConfigError, match=source.name):
            read.read(target, KNOWN | {"model.fusion_layers": 2, "modalities.audio.seconds": 0.4})


def test_a_truncated_folder_is_one_sentence(tmp_path):
    shutil.copytree(FACE, tmp_path / "face")
    weights = tmp_path / "face" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(schema.ConfigError, match="model.safetensors is not a whole"):
        read.read(tmp_path / "face")


def _face(tmp_path, **changes) -> pathlib.Path:
    folder = tmp_path / "face"
    shutil.copytree(FACE, folder, dirs_exist_ok=True)
    settings = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(settings))
    return folder


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"model_type": "vit"}, "model of type 'vit', expected 'videomae'"),
        ({"hidden_act": "relu"}, "hidden_act is 'relu', expected one of gelu"),
        ({"num_attention_heads": 5}, "5 heads"),
        ({"image_size": 30}, "30 is not divisible"),
    ],
)
def test_settings_that_do_not_fit(tmp_path, changes, sentence):
    with pytest.raises(schema.ConfigError, match=sentence):
        read.read(_face(tmp_path, **changes))


def test_an_array_that_is_missing_or_odd_is_named(tmp_path):
    import safetensors.numpy

    folder = _face(tmp_path)
    file = folder / "model.safetensors"
    arrays = safetensors.numpy.load_file(file)
    name = "videomae.encoder.layer.1.output.dense.bias"
    safetensors.numpy.save_file({k: x for k, x in arrays.items() if k != name}, file)
    with pytest.raises(schema.ConfigError, match=r"lacks blocks.1.mlp.fc2.bias .*mlp/down/bias"):
        read.read(folder)
    safetensors.numpy.save_file(arrays | {name: np.zeros(3, np.float32)}, file)
    sentence = r"blocks.1.mlp.fc2.bias \[3\].* do not make up our .*mlp/down/bias"
    with pytest.raises(schema.ConfigError, match=sentence):
        read.read(folder)
    safetensors.numpy.save_file(arrays | {"more": np.zeros(3, np.float32)}, file)
    with pytest.raises(schema.ConfigError, match="1 arrays that have no place .* more"):
        read.read(folder)


def test_a_probe_without_its_statistics_is_refused():
    known = {"model.fusion_layers": 2, "modalities.audio.seconds": 0.4, "model.linear_probe": True}
    with pytest.raises(schema.ConfigError, match="running statistics of a linear probe"):
        read.read(SCENIC, known)


def test_files_of_other_families(tmp_path):
    text = tmp_path / "model.txt"
    text.write_text("weights")
    with pytest.raises(schema.ConfigError, match=r"model.txt is a file of no known kind"):
        read.read(text)
    with pytest.raises(schema.ConfigError, match="does not exist"):
        read.read(tmp_path / "nothing")
    with pytest.raises(schema.ConfigError, match="no checkpoint in"):
        read.read(tmp_path)


def test_a_foreign_file_is_a_model_at_once():
    """One line from a file of another program to probabilities of a real array."""
    model = av_mae.load(FACE)
    frames = np.random.default_rng(0).integers(0, 256, (60, 40, 48, 3), np.uint8)
    clip = av_mae.Clip(frames=frames, fps=25.0, audio=None, source="made")
    found = model.classify(clip, top=7)
    assert set(found) == {f"LABEL_{i}" for i in range(7)}
    assert sum(found.values()) == pytest.approx(1.0, abs=1e-5)
    with pytest.raises(ValueError, match="no decoder"):
        model.reconstruct(clip)


def test_what_another_program_has_not_is_refused_by_its_key(tmp_path):
    saved = read.read(SCENIC, {"model.fusion_layers": 2, "modalities.audio.seconds": 0.4})
    with pytest.raises(schema.ConfigError, match="this model video and audio"):
        huggingface.write(saved, tmp_path)
    with pytest.raises(schema.ConfigError, match="layer_scale is 0.1"):
        huggingface.write(read.read(KERAS, KNOWN), tmp_path)


def test_nothing_is_overwritten(tmp_path):
    saved = read.read(FACE)
    huggingface.write(saved, tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    with pytest.raises(schema.ConfigError, match="exists; write to another folder"):
        huggingface.write(saved, tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == before
