"""PyTorch's files are read as PyTorch reads them, and nothing in them is ever run."""

import argparse
import collections
import contextlib
import io
import os
import pathlib
import pickle
import struct
import sys
import types
import zipfile
from unittest import mock

import numpy as np
import pytest
import safetensors.numpy

from av_mae.config import schema
from av_mae.convert import torch_file
from av_mae.convert.pickled import Placeholder


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def test_real_checkpoints_are_read_whole(golden):
    endings = (".pth", ".pt", ".bin")
    files = [p for p in sorted((golden / "videomae").rglob("*")) if p.suffix in endings]
    assert files
    for path in files:
        assert torch_file.is_torch(path)
        tensors = leaves(torch_file.read(path))
        assert len(tensors) > 10
        for tensor in tensors:
            assert tensor.numpy().shape == tensor.shape
            assert tensor.numpy().dtype == tensor.dtype


def test_values_are_those_that_pytorch_saved(golden):
    """The same weights once as a .bin and once as safetensors."""
    folder = golden / "videomae" / "hf" / "pretrain_raw_tube_img32"
    saved = torch_file.read(folder / "pytorch_model.bin")
    known = safetensors.numpy.load_file(folder / "model.safetensors")
    same = [name for name in saved if name in known]
    assert len(same) > 20
    for name in same:
        np.testing.assert_array_equal(saved[name].numpy(), known[name])


@pytest.mark.parametrize("legacy", [False, True])
def test_training_options_are_a_placeholder_and_weights_are_read(tmp_path, legacy):
    weights = np.arange(6, dtype=np.float32).reshape(2, 3)
    path = write(tmp_path / "x.pth", argparse.Namespace(lr=1.0), weights, legacy=legacy)
    saved = torch_file.read(path)
    np.testing.assert_array_equal(saved["w"].numpy(), weights)
    assert isinstance(saved["extra"], Placeholder)
    assert saved["extra"].name == "argparse.Namespace"


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("function", [os.system, eval, exec, open, pathlib.os.remove])
def test_a_file_that_asks_for_code_is_refused_and_nothing_runs(tmp_path, legacy, function):
    victim = tmp_path / "victim"
    victim.touch()
    command = {os.system: f"rm {victim}", os.remove: str(victim), open: str(tmp_path / "made")}
    call = Call(function, command.get(function, f"__import__('os').remove({str(victim)!r})"))
    path = write(tmp_path / "x.pth", call, np.zeros(3, np.float32), legacy=legacy)
    with pytest.raises(schema.ConfigError, match=r"x\.pth asks for \w+\.\w+, .* not run"):
        torch_file.read(path)
    assert {p.name for p in tmp_path.iterdir()} == {"victim", "x.pth"}


@pytest.mark.parametrize("legacy", [False, True])
def test_truncated_files_are_told(tmp_path, legacy):
    path = write(tmp_path / "x.pth", None, np.zeros(1000, np.float32), legacy=legacy)
    whole = path.read_bytes()
    for length in (0, 1, 10, 30, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(schema.ConfigError, match=r"x\.pth"):
            torch_file.read(path)["w"].numpy()


def test_flipped_bits_of_the_weights_are_told(tmp_path):
    path = write(tmp_path / "x.pth", None, np.full(1000, 3.0, np.float32))
    content = path.read_bytes()
    place = content.index(np.full(1000, 3.0, np.float32).tobytes())
    path.write_bytes(content[: place + 99] + b"\x7f" + content[place + 100 :])
    with pytest.raises(schema.ConfigError, match=r"x\.pth is damaged"):
        torch_file.read(path)["w"].numpy()


@pytest.mark.parametrize(
    ("shape", "stride"), [((1000,), (1,)), ((10**12,), (0,)), ((-2,), (1,)), ((5,), (-1,))]
)
def test_a_tensor_beyond_its_storage_is_told(tmp_path, shape, stride):
    weights = np.zeros(5, np.float32)
    path = write(tmp_path / "x.pth", None, weights, shape=shape, stride=stride)
    with pytest.raises(schema.ConfigError, match="reaches over its 5 stored values"):
        torch_file.read(path)["w"].numpy()


def test_a_compressed_file_is_not_unpacked(tmp_path):
    path = tmp_path / "x.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10**7))
    with pytest.raises(schema.ConfigError, match=r"x\.pth is compressed"):
        torch_file.read(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x02}q\x00."])
def test_other_files_are_none_of_pytorchs(tmp_path, content):
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    assert not torch_file.is_torch(path)
    with pytest.raises(schema.ConfigError, match=r"x\.pth is not"):
        torch_file.read(path)


class Storage:
    """Pickles as a reference to a stored array, as PyTorch's do."""


def write(path: pathlib.Path, extra, weights: np.ndarray, *, legacy=False, shape=None, stride=None):
    """What `torch.save({"w": weights, "extra": extra}, path)` writes."""
    shape = shape or weights.shape
    stride = stride or tuple(np.cumprod([1, *shape[:0:-1]])[::-1].tolist())
    with stand_ins() as (storage_type, rebuild):
        tensor = Call(rebuild, Storage(), 0, shape, stride, False, collections.OrderedDict())
        saved = {"w": tensor, "extra": extra}
        pid = ("storage", storage_type, "0", "cpu", weights.size, *([None] if legacy else []))
        if legacy:
            path.write_bytes(
                b"".join(pickled(x, pid) for x in (0x1950A86A20F9469CFC6C, 1001, {}, saved, ["0"]))
                + struct.pack("<q", weights.size)
                + weights.tobytes()
            )
            return path
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickled(saved, pid))
            archive.writestr("archive/data/0", weights.tobytes())
    return path


@contextlib.contextmanager
def stand_ins():
    """Modules of PyTorch's names, so that a pickle can name what is in them."""
    package, inner = types.ModuleType("torch"), types.ModuleType("torch._utils")
    package.FloatStorage = type("FloatStorage", (), {"__module__": "torch"})

    def rebuild(*_): ...

    rebuild.__module__, rebuild.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    inner._rebuild_tensor_v2 = rebuild
    with mock.patch.dict(sys.modules, {"torch": package, "torch._utils": inner}):
        yield package.FloatStorage, rebuild


def pickled(value, pid) -> bytes:
    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return pid if isinstance(value, Storage) else None

    file = io.BytesIO()
    Pickler(file, protocol=2).dump(value)
    return file.getvalue()


def leaves(saved) -> list[torch_file.Tensor]:
    if isinstance(saved, torch_file.Tensor):
        return [saved]
    if isinstance(saved, dict):
        return [x for value in saved.values() for x in leaves(value)]
    return [x for value in saved for x in leaves(value)] if isinstance(saved, list) else []
