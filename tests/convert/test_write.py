"""Models go out to other programs and come back as they were."""

import pathlib
import subprocess

import jax
import numpy as np
import pytest
import warm
from flax import nnx
from test_read import FACE, KNOWN, PTH, SCENIC

import av_mae
from av_mae import recipes, tasks
from av_mae.config import parse, schema
from av_mae.convert import huggingface, read, videomae
from av_mae.experiment import checkpoint
from av_mae.experiment.step import split

ROOT = pathlib.Path(__file__).parents[2]
PRETRAINED = "videomae/hf/pretrain_normpix_tube_img32_encnorm"


def _equal(ours, theirs):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_official_names_come_back_bit_for_bit():
    stored = {name: x.numpy() for name, x in videomae.read(PTH)[0].items()}
    arrays = videomae.official(read.read(PTH, KNOWN))
    assert arrays.keys() == stored.keys()
    for name, x in arrays.items():
        assert np.array_equal(x, stored[name]), name


def test_hugging_face_comes_back_bit_for_bit(tmp_path):
    before = read.read(FACE)
    huggingface.write(before, tmp_path)
    after = read.read(tmp_path)
    _equal(after.params, before.params)
    assert after.labels == before.labels
    assert after.experiment.model == before.experiment.model
    assert after.experiment.modalities == before.experiment.modalities


def test_a_workdir_holds_all_that_a_model_needs(tmp_path):
    known = {"model.fusion_layers": 1, "modalities.audio.seconds": 0.4}
    known |= {
        "modalities.video.size": 16,
        "modalities.video.frames": 4,
        "modalities.audio.mels": 16,
    }
    saved = read.read(SCENIC, known)
    checkpoint.write(saved, tmp_path / "run")
    again = checkpoint.read(tmp_path / "run")
    _equal(again.params, saved.params)
    assert (again.experiment, again.labels, again.step) == (
        saved.experiment, saved.labels, saved.step,
    )  # fmt: skip
    assert av_mae.load(tmp_path / "run").experiment == saved.experiment
    with pytest.raises(schema.ConfigError, match="exists; write to another folder"):
        checkpoint.write(saved, tmp_path / "run")


def test_a_model_of_ours_goes_out_whatever_its_fusion(tmp_path):
    """UCF101's recipe has mid fusion; with video alone that is VideoMAE."""
    c = recipes.load("ucf101/pretrain").get_config("modalities=video,variant=Ti/16x2")
    c.update({"model": {"width": 32, "depth": 3, "heads": 2, "mlp": 64}})
    e = parse.experiment(c)
    _, params, rest = split(tasks.make(e, ()).init(nnx.Rngs(3)))
    saved = checkpoint.Saved(jax.device_get(params), rest, e, (), 5)
    huggingface.write(saved, tmp_path)
    back = videomae.official(read.read(tmp_path))
    for name, x in videomae.official(saved).items():
        assert np.array_equal(back[name], x), name


@pytest.mark.parametrize("place", ["videomae/hf/cls_nomeanpool_img32", PRETRAINED])
def test_transformers_gives_the_same_outputs(golden, place, tmp_path):
    transformers = pytest.importorskip("transformers", reason="needs transformers and PyTorch")
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    if not (golden / place).is_dir():
        pytest.skip(f"{place} is not among the golden files")
    with np.load(golden / place / "io.npz") as io:
        arrays = dict(io)
    huggingface.write(read.read(golden / place), tmp_path)
    masked = "bool_masked_pos" in arrays
    kind = "VideoMAEForPreTraining" if masked else "VideoMAEForVideoClassification"
    model = getattr(transformers, kind).from_pretrained(tmp_path).eval()
    inputs = {"pixel_values": torch.from_numpy(arrays["pixel_values"])}
    if masked:
        inputs["bool_masked_pos"] = torch.from_numpy(arrays["bool_masked_pos"])
    with torch.no_grad():
        logits = model(**inputs).logits.numpy()
    np.testing.assert_allclose(logits, arrays["logits"], atol=2e-5, rtol=2e-5)


def test_official_checkpoints_are_written_for_pytorch(tmp_path):
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    file = videomae.write(read.read(PTH, KNOWN), tmp_path)
    loaded = torch.load(file, weights_only=True)["model"]
    stored = {name: x.numpy() for name, x in videomae.read(PTH)[0].items()}
    assert {k: x.shape for k, x in loaded.items()} == {k: x.shape for k, x in stored.items()}
    assert all(np.array_equal(x.numpy(), stored[name]) for name, x in loaded.items())


def _convert(*arguments: str) -> subprocess.CompletedProcess:
    return warm.run(["-m", "av_mae.convert", *map(str, arguments)], cwd=ROOT, apart=True)


def test_the_command(tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join("abcdefg"))
    config_flags = [
        "--config=configs/ucf101/finetune.py:modalities=video",
        "--config.model.heads=4",
        "--config.modalities.video.size=32",
    ]
    done = _convert(PTH, f"--out={tmp_path}/run", f"--labels={labels}", *config_flags)
    assert done.returncode == 0, done.stderr
    assert "shows modalities.video.patch=(2, 8, 8), not (2, 16, 16)" in done.stderr
    saved = checkpoint.read(tmp_path / "run")
    assert saved.labels == tuple("abcdefg") and saved.experiment.model.heads == 4
    assert saved.experiment.evaluators["test"].temporal_views == 5


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["--out=x"], "give one SOURCE"),
        ([PTH, "--out=x"], "does not show model.heads"),
        ([PTH.parent / "config.json", "--out=x"], "is a file of no known kind"),
        ([FACE, "--out=x", "--labels=nowhere.txt"], "--labels=nowhere.txt cannot be read"),
    ],
)
def test_a_bad_request_is_one_sentence(arguments, sentence):
    done = _convert(*arguments)
    assert done.returncode == 78 and sentence in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
