"""Checkpoints as people have them: weights wrapped in whatever a training put around them."""

import collections
import datetime
import functools
import io
import json
import pathlib
import pickle
import shutil
import sys
import types
import zipfile
from unittest import mock

import numpy as np
import pytest
import safetensors.numpy
from test_read import FACE, KNOWN, MMACTION2, PTH
from test_torch_file import Call, stand_ins

from av_mae.config import schema
from av_mae.convert import read, torch_file, videomae

PARTS = ("blocks", "patch_embed", "head", "fc_norm")


class Stored:
    """Pickles as a reference to a stored array."""

    def __init__(self, array: np.ndarray):
        self.array = array


def save(path: pathlib.Path, content) -> pathlib.Path:
    """What `torch.save` writes of arrays in dicts, and of what else stands in these."""
    arrays = []
    with stand_ins() as (storage, rebuild):

        def tensors(value):
            if isinstance(value, dict):
                return {k: tensors(v) for k, v in value.items()}
            if not isinstance(value, np.ndarray):
                return value
            strides = tuple(size // 4 for size in np.empty(value.shape, np.float32).strides)
            return Call(rebuild, Stored(value), 0, value.shape, strides, False, {})

        class Pickler(pickle.Pickler):
            def persistent_id(self, value):
                if isinstance(value, Stored):
                    arrays.append(value.array)
                    return "storage", storage, str(len(arrays) - 1), "cpu", value.array.size
                return None

        file = io.BytesIO()
        Pickler(file, protocol=2).dump(tensors(content))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", file.getvalue())
        for i, array in enumerate(arrays):
            archive.writestr(f"archive/data/{i}", array.astype(np.float32).tobytes())
    return path


def stored(path: pathlib.Path = PTH) -> dict[str, np.ndarray]:
    return {name: x.numpy() for name, x in videomae.read(path)[0].items()}


def prefixed(prefix: str, state: dict) -> dict:
    return {f"{prefix}{name}": x for name, x in state.items()}


def same(path: pathlib.Path, known=KNOWN, expected: pathlib.Path = PTH):
    """Reads `path`, which must hold the model of `expected`."""
    found, wanted = read.read(path, known), read.read(expected, known)
    assert found.experiment.model == wanted.experiment.model
    ours, theirs = (dict(_leaves(x.params)) for x in (found, wanted))
    assert ours.keys() == theirs.keys()
    for name, x in ours.items():
        np.testing.assert_array_equal(x, theirs[name], err_msg=name)
    return found


def _leaves(tree, name=""):
    for key, value in tree.items():
        yield from (
            _leaves(value, f"{name}/{key}")
            if isinstance(value, dict)
            else [(f"{name}/{key}", value)]
        )


@pytest.mark.parametrize(
    "prefix",
    [
        "", "_orig_mod.", "module.", "model.", "net.", "backbone.", "encoder.", "student.",
        "module._orig_mod.", "_orig_mod.module.model.", "model.net.backbone.encoder.",
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "wrapper",
    [
        (), ("state_dict",), ("model_state_dict",), ("model_ema",), ("model_state",), ("net",),
        ("ema",), ("checkpoint", "model", "state_dict"),
    ],
)  # fmt: skip
def test_weights_are_found_in_whatever_they_are_wrapped(tmp_path, prefix, wrapper):
    content = prefixed(prefix, stored())
    for key in reversed(wrapper):
        content = {"lr": 0.1, key: content}
    path = save(tmp_path / "x.pth", content)
    named = {name: x.numpy() for name, x in videomae.read(path)[0].items()}
    assert named.keys() == stored().keys()
    assert all(np.array_equal(x, named[name]) for name, x in stored().items())


def test_a_model_in_wrappers_is_the_same_model(tmp_path):
    state = prefixed("_orig_mod.module.model.", stored())
    found = same(save(tmp_path / "x.pth", {"epoch": 7, "model_state_dict": state}))
    assert found.step == 7 and not found.left


def test_blocks_that_were_wrapped_one_by_one(tmp_path):
    state = {
        name.replace(".attn.", "._checkpoint_wrapped_module.attn.").replace(
            "blocks.1.", "blocks.1._orig_mod."
        ): x
        for name, x in stored().items()
    }
    same(save(tmp_path / "x.pth", {"model": state}))


def test_a_head_beside_a_wrapped_encoder_and_a_loss_that_is_left(tmp_path):
    """Lightning's modules keep losses and metrics among the weights."""
    state = {
        f"model.{'' if name.startswith('head') else 'backbone.'}{name}": x
        for name, x in stored().items()
    }
    state |= {"criterion.weight": np.ones(7), "accuracy.confmat": np.ones((7, 7))}
    state |= prefixed("ema_model.", stored()) | {"model.my_patch_embed.proj.weight": np.ones(3)}
    found = same(save(tmp_path / "x.pth", {"state_dict": state}))
    assert {
        "criterion.weight",
        "accuracy.confmat",
        "ema_model.head.bias",
        "model.my_patch_embed.proj.weight",
    } <= set(found.left)


def test_of_two_models_the_trained_one_is_read_and_it_is_said(tmp_path, caplog):
    averaged = {name: np.zeros_like(x) for name, x in stored().items()}
    content = {"model_ema": averaged, "optimizer": {"state": {}}, "model": stored()}
    caplog.set_level("INFO", logger="absl")
    assert same(save(tmp_path / "x.pth", content)).left == ("model_ema.*",)
    assert "x.pth holds what this model has no use for: model_ema.*" in caplog.text


def test_one_bias_of_query_key_and_value(tmp_path):
    """That of the keys changes no output: it adds the same to all scores of a query."""
    state = stored()
    for i in (0, 1, 2):
        q, v = state.pop(f"blocks.{i}.attn.q_bias"), state.pop(f"blocks.{i}.attn.v_bias")
        state[f"blocks.{i}.attn.qkv.bias"] = np.concatenate([q, np.ones_like(q), v])
    assert len(same(save(tmp_path / "x.pth", state)).left) == 3


def test_mmaction2_with_the_log_of_its_training(tmp_path):
    """`message_hub` as mmengine writes it, and bookkeeping of other kinds."""
    module = types.ModuleType("mmengine.logging.history_buffer")
    exec(  # a class of that module, with methods to refer to
        "class HistoryBuffer:\n  def min(self): ...\n  def mean(self): ...", vars(module)
    )
    buffer = module.HistoryBuffer()
    buffer.__dict__ |= {
        "_log_history": np.array([1.0, 2.0]),
        "statistics_methods": {"min": buffer.__class__.min, "mean": buffer.mean},
        "lr": np.float64(0.1),
    }
    rest = {
        "message_hub": {"log_scalars": collections.OrderedDict(loss=buffer)},
        "meta": {"epoch": 3, "time": datetime.datetime(2024, 1, 2), "span": datetime.timedelta(1)},
        "param_schedulers": [{"milestones": collections.Counter([3, 3, 5]), "kind": int}],
        "kept": {"a": {1, 2}, "b": frozenset("x"), "c": collections.deque([1]), "d": 1j},
        "more": [functools.partial(int, base=2), range(3), slice(1), pathlib.PurePosixPath("x")],
        "space": types.SimpleNamespace(a=1),
        "dtype": np.dtype("float32"),
    }
    names = {"mmengine": types.ModuleType("mmengine"), module.__name__: module}
    names["mmengine.logging"] = types.ModuleType("mmengine.logging")
    state = prefixed("module.", stored_as_mmaction2())
    with mock.patch.dict(sys.modules, names):
        path = save(tmp_path / "x.pth", {"state_dict": state} | rest)
    assert b"__builtin__\ngetattr" in path.read_bytes()
    same(path, KNOWN | {"modalities.video.frames": 4}, MMACTION2)
    assert read.read(path, KNOWN).step == 3


def stored_as_mmaction2() -> dict[str, np.ndarray]:
    content = torch_file.read(MMACTION2)["state_dict"]
    return {name: x.numpy() for name, x in content.items()}


@pytest.mark.parametrize(
    "content, sentence",
    [
        (
            {"model": {"conv1.weight": np.ones(3)}},
            "no array patch_embed.proj.weight.* has conv1.weight",
        ),
        ({"epoch": 3, "model": {}}, "no array patch_embed.proj.weight.* has epoch, model"),
        ([1, 2], "holds a list, expected a dict of tensors"),
        ({f"{x}.patch_embed.proj.weight": np.ones(3) for x in "a_"}, "patch embedding of shape"),
        ({f"{x}patch_embed.proj.weight": np.ones(3) for x in ("", "module.")}, "twice"),
        (
            {"a.videomae.embeddings.patch_embeddings.projection.weight": np.ones(3)},
            "names of Hugging Face.* config.json",
        ),
    ],
)
def test_what_is_refused_is_one_sentence(tmp_path, content, sentence):
    path = save(tmp_path / "x.pth", content)
    with pytest.raises(schema.ConfigError, match=sentence) as error:
        read.read(path, KNOWN)
    assert "no VideoMAE" not in str(error.value)


def test_weights_without_a_layer_are_one_sentence(tmp_path):
    for part in ("blocks.0.mlp.fc1.weight", "blocks.0.", "head.bias", "patch_embed.proj.bias"):
        state = {name: x for name, x in stored().items() if not name.startswith(part)}
        with pytest.raises(schema.ConfigError, match=r"x\.pth|blocks"):
            read.read(save(tmp_path / "x.pth", state), KNOWN)


def face(folder: pathlib.Path, rename=lambda name: name, **changes) -> pathlib.Path:
    """Hugging Face's folder with other settings, and other names of arrays."""
    folder.mkdir(parents=True)
    for file in ("config.json", "preprocessor_config.json"):
        if (FACE / file).is_file():
            shutil.copy(FACE / file, folder)
    settings = json.loads((FACE / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(settings))
    arrays = safetensors.numpy.load_file(FACE / "model.safetensors")
    arrays = {rename(name): x for name, x in arrays.items()}
    safetensors.numpy.save_file(arrays, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("prefix", ["model.", "module._orig_mod.", "net.backbone."])
def test_hugging_faces_names_behind_a_prefix(tmp_path, prefix):
    same(face(tmp_path / "x", lambda name: prefix + name), None, FACE)


def test_hugging_faces_biases_under_other_names(tmp_path):
    def rename(name):
        return name.replace(".q_bias", ".query.bias").replace(".v_bias", ".value.bias")

    folder = face(tmp_path / "x", rename)
    file = folder / "model.safetensors"
    arrays = safetensors.numpy.load_file(file)
    keys = {n.replace("query", "key"): x for n, x in arrays.items() if n.endswith("query.bias")}
    assert keys
    safetensors.numpy.save_file(arrays | keys, file)
    assert len(same(folder, None, FACE).left) == len(keys)


@pytest.mark.parametrize("size", [32, [32, 32], {"height": 32, "width": 32}])
def test_the_size_of_pictures_in_any_form(tmp_path, size):
    same(face(tmp_path / "x", image_size=size), None, FACE)


NAMES = list("abcdefg")


@pytest.mark.parametrize(
    "named, labels",
    [
        ({str(i): x for i, x in enumerate(NAMES)}, NAMES),
        ({str(i): x for i, x in enumerate(NAMES, 1)}, NAMES),
        ({str(i): x for i, x in enumerate(NAMES, 5)}, NAMES),
        (NAMES, NAMES),
        ({"0": "a", "3": "d"}, ["a", "class 1", "class 2", "d", "class 4", "class 5", "class 6"]),
        ({}, [f"class {i}" for i in range(7)]),
        (None, [f"class {i}" for i in range(7)]),
    ],
)
def test_label_names_from_another_number_or_too_few(tmp_path, caplog, named, labels):
    found = read.read(face(tmp_path / "x", id2label=named))
    assert list(found.labels) == labels
    usual = not named or named == NAMES or list(named) == [str(i) for i in range(7)]
    assert ("id2label" in caplog.text) is not usual


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"id2label": {str(i): "x" for i in range(9)}}, "classes are 0 to 6; correct it"),
        ({"id2label": {"a": "0"}}, r"names \[\]"),
        ({"id2label": 7}, "not a whole"),
        ({"image_size": [32, 64]}, "expected one number"),
        ({"image_size": [[32]]}, "expected one number"),
        ({"hidden_act": ["gelu"]}, "hidden_act"),
        ({"num_attention_heads": "many"}, "heads"),
    ],
)
def test_settings_that_cannot_be_meant(tmp_path, changes, sentence):
    with pytest.raises(schema.ConfigError, match=sentence):
        read.read(face(tmp_path / "x", **changes))


def test_the_folder_above_a_trainers_checkpoints(tmp_path, caplog):
    for step in (9, 100, 20):
        face(tmp_path / f"checkpoint-{step}", id2label={"0": f"at {step}"})
    (tmp_path / "checkpoint-500").mkdir()
    assert same(tmp_path, None, FACE).labels[0] == "at 100"
    assert "checkpoint-100 is read, the newest with weights" in caplog.text


def test_files_of_people(shared):
    """One of each kind that was reported, with the labels that Hugging Face's show."""
    folder = shared / "data/people/checkpoints"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    known = {"model.heads": 2, "modalities.video.size": 32, "modalities.video.frames": 4}
    found = {path.name: read.read(path, known).labels for path in folder.iterdir()}
    assert len(found) >= 6
    assert {labels for name, labels in found.items() if name.startswith("hf")} == {("a", "b", "c")}
