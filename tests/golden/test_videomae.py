"""VideoMAE in four forms: read from real files, it gives the outputs of the programs themselves."""

import golden_cases
import jax.numpy as jnp
import numpy as np
import pytest
import videomae_cases as cases
from flax import nnx

from av_mae.convert import huggingface
from av_mae.models import positions

OFFICIAL = golden_cases.found("videomae/official")
HUGGING_FACE = golden_cases.found("videomae/hf")
MMACTION2 = golden_cases.found("videomae/mmaction2")
KERAS = [
    pytest.param(path, id=path.stem)
    for path in sorted((golden_cases.FOLDER / "videomae/keras").glob("*.h5"))
]
PRETRAINED = {
    "outputs": "outputs",
    "labels": "labels",
    "loss": "loss",
    "grad_norm": "grad_norm",
    "enc_norm": "encoded",
    "encoder_to_decoder": "projected",
}
FINETUNED = {"logits": "logits", "ce_loss": "loss", "softmax": "softmax", "head_input": "pooled"}
FACE_PRETRAINED = {
    "logits": "outputs",
    "loss": "loss",
    "loss_f64": "loss",
    "encoder_last_hidden_state": "encoded",
    "encoder_to_decoder": "projected",
}
FACE_FINETUNED = {
    "logits": "logits",
    "logits_f64": "logits",
    "loss": "loss",
    "last_hidden_state": "tokens",
    "classifier_input": "pooled",
}


@pytest.mark.parametrize("folder", OFFICIAL)
def test_the_official_program(folder):
    io = golden_cases.arrays(folder / "io.npz")
    settings = golden_cases.settings(folder / "config.json")
    file = next(p for p in folder.iterdir() if p.suffix in (".pth", ".pt"))
    video = cases.fhwc(io["videos"], "bcfhw")
    masks = io.get("bool_masked_pos")
    saved = cases.load(file, cases.known(settings), masks)
    ours = cases.encodings(saved, video, masks)
    blocks = {f"{k}block_{i - 1}": f"layer_{i}" for i in _layers(saved) for k in ("enc_", "")}
    if masks is not None:
        ours |= cases.pretrain(saved, video, masks)
        cases.compare(ours, io, PRETRAINED | blocks)
        m, video = saved.experiment.model, saved.experiment.modalities["video"]
        for name, width in (("encoder", m.width), ("decoder", m.decoder_width)):
            table = positions.sincos(video.tokens, width)
            golden_cases.close(table[: len(io[f"{name}_pos_embed"][0])], io[f"{name}_pos_embed"][0])
    else:
        ours |= cases.finetune(saved, video, io["targets"])
        cases.compare(ours, io, FINETUNED | blocks)


def _layers(saved):
    return range(1, saved.experiment.model.depth + 1)


@pytest.mark.parametrize("folder", HUGGING_FACE)
def test_hugging_face(folder):
    io = golden_cases.arrays(folder / "io.npz")
    video = cases.fhwc(io["pixel_values"], "bfchw")
    masks = io.get("bool_masked_pos")
    saved = cases.load(folder, {}, masks)
    if saved.experiment.task == "classify" and not saved.labels:
        whole, part = (cases.encodings(saved, video, m)["encoded"] for m in (None, masks))
        golden_cases.close(whole, io["last_hidden_state"])
        golden_cases.close(part, io["last_hidden_state_masked"])
        return
    ours = cases.encodings(saved, video, masks)
    states = {f"hidden_states_{i}": f"layer_{i}" for i in (0, *_layers(saved))}
    if masks is not None:
        ours |= cases.pretrain(saved, video, masks)
        cases.compare(ours, _named(io), FACE_PRETRAINED | states)
    else:
        ours |= cases.finetune(saved, video, io["labels"]) | cases.attentions(saved, ours)
        weights = {k: k for k in ours if k.startswith("attentions_")}
        cases.compare(ours, _named(io), FACE_FINETUNED | states | weights)


def _named(io):
    """Gradients under the official names, those of single projections left out."""
    grads = {k.removeprefix("grad/"): x for k, x in io.items() if k.startswith("grad/")}
    whole = {k: x for k, x in grads.items() if not k.endswith((".query.weight", ".key.weight"))}
    rest = {k: x for k, x in io.items() if not k.startswith("grad/")}
    named = huggingface.to_official(whole)
    encoders = ("patch_embed.", "blocks.", "norm.")
    prefix = "encoder." if "bool_masked_pos" in io else ""
    return rest | {
        f"grad/{prefix if k.startswith(encoders) else ''}{k}": x for k, x in named.items()
    }


@pytest.mark.parametrize("other", ["pytorch_model.bin", "state_dict_inmemory_names.pt"])
def test_hugging_face_in_older_files(other, tmp_path):
    """The same weights under both spellings of the biases, in PyTorch's formats."""
    folder = golden_cases.at("videomae/hf/pretrain_raw_tube_img32")
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes((folder / other).read_bytes())
    new, old = cases.load(folder, {}), cases.load(tmp_path, {})
    _equal(new.params, old.params)


def _equal(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, x in ours.items():
        if isinstance(x, dict):
            _equal(x, theirs[name])
        else:
            assert np.array_equal(x, theirs[name]), name


@pytest.mark.parametrize("folder", MMACTION2)
def test_mmaction2(folder):
    io = golden_cases.arrays(folder / "io.npz")
    settings = golden_cases.settings(folder / "config.json")
    file = next(folder.glob("*.pth"))
    inputs = [k for k in io if k.startswith("input_")]
    assert inputs
    for key in inputs:
        number = key.removeprefix("input_")
        video = cases.fhwc(io[key], "bcfhw")
        saved = cases.resized(file, cases.known(settings), video.shape[2:4])
        if f"logits_{number}" in io:
            ours = cases.finetune(saved, video, np.zeros(len(video), int), gradients=False)
            cases.compare(ours, io, {f"logits_{number}": "logits", f"output_{number}": "pooled"})
        else:
            graphdef, params, rest = cases.model(saved)
            tokens = nnx.merge(graphdef, params, rest).features({"video": jnp.asarray(video)})
            map_bdfhw = io[f"output_{number}"]
            expected = map_bdfhw.reshape(*map_bdfhw.shape[:2], -1).swapaxes(1, 2)
            golden_cases.close(tokens["video"], expected, what=key)


@pytest.mark.parametrize("file", KERAS)
def test_the_keras_port(file):
    io = golden_cases.arrays(file.with_name(f"{file.stem}_io.npz"))
    summary = golden_cases.settings(file.with_name("summary.json"))
    more = cases.known(summary[file.stem]["config"])
    more |= {"modalities.video.frames": io["videos_BTHWC"].shape[1]}
    masks = io.get("bool_masked_pos")
    saved = cases.load(file, more, masks)
    if masks is not None:
        ours = cases.pretrain(saved, io["videos_BTHWC"], masks, gradients=False)
        ours |= cases.encodings(saved, io["videos_BTHWC"], masks)
        cases.compare(ours, io, {"outputs": "outputs", "encoder_out": "encoded"})
    else:
        none = np.zeros(len(io["logits"]), int)
        ours = cases.finetune(saved, io["videos_BTHWC"], none, gradients=False)
        cases.compare(ours, io, {"logits": "logits", "head_input": "pooled"})
