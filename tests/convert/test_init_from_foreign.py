"""A training run starts from another program's file, and says what became of every array."""

import pathlib

import numpy as np
import pytest
import tiny
from test_read import PTH, SCENIC

from av_mae.config import parse, schema
from av_mae.convert import read
from av_mae.experiment import checkpoint
from av_mae.experiment.run import Run
from av_mae.training import loop


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> pathlib.Path:
    return tiny.write_records(tmp_path_factory.mktemp("records"))


def _videomae(data, frames: int = 4, **model) -> dict:
    """A classifier of the golden file's sizes, of another clip length."""
    values = tiny.experiment(data, "classify", total="2 steps")
    values["modalities"] = {"video": {"frames": frames, "size": 32, "patch": (2, 8, 8)}}
    values["model"] = {
        "width": 16, "depth": 3, "heads": 4, "mlp": 64, "fusion": "early", "gelu": "erf",
        "qkv_bias": "qv", "final_norm": False, "head_norm": True,
    } | model  # fmt: skip
    values["augment"] = {}
    return values | {"init_from": {"path": str(PTH)}}


@pytest.mark.parametrize("frames", [4, 8])
def test_a_run_starts_from_videomaes_file(data, tmp_path, frames):
    assert loop.train(parse.experiment(_videomae(data, frames)), tmp_path) == 0
    report = (tmp_path / "init_from.txt").read_text()
    loaded, _, rest = report.partition("fresh:")
    for name in ("embed/video", "encoders/joint/blocks", "head_norm"):
        assert name in loaded
    assert "head" in rest and str(PTH) in report
    assert checkpoint.read(tmp_path).step == 2


def test_the_first_step_begins_with_its_weights(data, tmp_path):
    from av_mae.training import init_from

    run = Run.build(parse.experiment(_videomae(data)))
    begun = init_from.apply(run.init(), run, tmp_path)
    stored = read.read(PTH, {"model.heads": 4})
    ours = np.asarray(begun.params["encoders"]["joint"]["blocks"]["mlp"]["up"]["kernel"])
    assert np.array_equal(ours, stored.params["encoders"]["joint"]["blocks"]["mlp"]["up"]["kernel"])


def _mbt(data, source: pathlib.Path) -> dict:
    """A bottleneck classifier of the sizes of Scenic's golden files, on other inputs."""
    values = tiny.experiment(data, "classify", total="1 steps")
    values["modalities"] = {
        "video": {"frames": 4, "size": 32, "patch": (2, 8, 8)},
        "audio": {"seconds": 0.64, "mels": 32, "patch": (8, 8)},
    }
    values["model"] |= {"depth": 2, "fusion_layers": 2, "fusion_norm": False, "shared_norm": True}
    return values | {"init_from": {"path": str(source)}}


def test_mbt_starts_from_scenics_folder(data, tmp_path):
    assert loop.train(parse.experiment(_mbt(data, SCENIC)), tmp_path) == 0
    loaded = (tmp_path / "init_from.txt").read_text().partition("fresh:")[0]
    for name in ("embed/audio", "encoders/fused/audio/blocks", "encoders/norm"):
        assert name in loaded


def test_a_converted_pretraining_starts_a_finetuning(golden, data, tmp_path, caplog):
    """The report is stored and counted in the log; what only a pretraining has is named in it."""
    caplog.set_level("INFO", logger="absl")
    known = {"modalities.audio.seconds": 0.4, "modalities.video.size": 16}
    known |= {"modalities.video.frames": 4, "modalities.audio.mels": 16}
    source = tmp_path / "scenic"
    checkpoint.write(read.read(golden / "scenic/checkpoints/legacy_pretrain", known), source)
    assert loop.train(parse.experiment(_mbt(data, source)), tmp_path / "run") == 0
    report = (tmp_path / "run" / "init_from.txt").read_text()
    loaded, _, unused = report.partition("unused:")
    for name in ("embed/audio", "encoders/fused/video/blocks <- encoders/video", "encoders/norm"):
        assert name in loaded
    assert "mask_token/video" in unused and "decoders/shared/blocks" in unused
    assert "mask_token (2 arrays)" in caplog.text and "decoders/shared" not in caplog.text
    differ = "modalities.audio.mean is -6, was 0; modalities.audio.std is 3, was 1; with few clips"
    assert caplog.text.count(f"otherwise than the checkpoint's were: {differ}") == 1


def test_another_width_is_refused_by_its_key(data, tmp_path):
    values = _videomae(data, width=32)
    with pytest.raises(schema.ConfigError, match="width"):
        loop.train(parse.experiment(values), tmp_path)
