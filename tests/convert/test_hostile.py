"""Hostile or broken files of weights: one sentence, at once, and no other file is opened."""

import json
import os
import pathlib
import pickle
import resource
import shutil
import signal
import zipfile

import h5py
import msgpack
import numpy as np
import pytest
from test_read import KERAS, KNOWN
from test_wrapped import face, save, stored

from av_mae.config import schema
from av_mae.convert import read

MEMORY = 2**30  # bytes more than the process has


@pytest.fixture(autouse=True)
def limits():
    """A second of patience (ten on a busy machine), and a GiB of memory."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, before[1]))

    def late(*_):
        raise AssertionError("it takes longer than ten seconds")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(10)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_AS, before)


def refused(path: pathlib.Path, sentence: str):
    with pytest.raises(schema.ConfigError, match=sentence) as error:
        read.read(path, KNOWN)
    assert "MemoryError" not in str(error.value) and len(str(error.value)) < 1000


def pipe(path: pathlib.Path) -> pathlib.Path:
    os.mkfifo(path)
    return path


def _layer(file: h5py.File) -> str:
    """The name of a data set."""
    names: list[str] = []
    file.visititems(lambda name, x: names.append(name) if isinstance(x, h5py.Dataset) else None)
    return names[0]


def _array(**options):
    def change(file, folder):
        name = _layer(file)
        del file[name]
        given = {k: v(folder) if callable(v) else v for k, v in options.items()}
        file.create_dataset(name, **given)

    return change


def _attribute(name, value):
    def change(file, _):
        group = file if name == "layer_names" else file[_layer(file).split("/")[0]]
        group.attrs[name] = value

    return change


def _link(link, whole):
    def change(file, folder):
        name = _layer(file)
        name = name.split("/")[0] if whole else name
        del file[name]
        file[name] = link(str(pipe(folder / "pipe")), "/x")

    return change


def _virtual(file, folder):
    name = _layer(file)
    del file[name]
    layout = h5py.VirtualLayout((5,), "f4")
    layout[:] = h5py.VirtualSource(str(pipe(folder / "pipe")), "x", (5,))
    file.create_virtual_dataset(name, layout)


@pytest.mark.parametrize(
    "change, sentence",
    [
        (_attribute("layer_names", 5), "attribute layer_names is of shape"),
        (_attribute("weight_names", 5), "attribute weight_names is of shape"),
        (_attribute("weight_names", h5py.Empty("f4")), "attribute weight_names is of shape"),
        (_attribute("weight_names", [1.0, 2.0]), "1.0 is not stored in it as floats"),
        (_array(data=h5py.Empty("f4")), "not stored in it as floats"),
        (_array(data="text"), "not stored in it as floats"),
        (_array(data=np.float32(1)), "do not make up|not a whole"),
        (_array(shape=(10**6, 10**6), dtype="f4"), "larger than the file"),
        (_array(shape=(10**6, 10**6), dtype="f4", chunks=(1, 10)), "larger than the file"),
        (_array(shape=(2, 2), dtype="f4", chunks=(30000, 30000), maxshape=(None, None)), "larger"),
        (_array(shape=(2,), dtype=h5py.vlen_dtype("f4")), "not stored in it as floats"),
        (
            _array(shape=(2,), dtype="f4", external=lambda d: [(str(pipe(d / "pipe")), 0, 8)]),
            "not stored in it as floats",
        ),
        (_link(h5py.ExternalLink, False), "link to another place, which is not followed"),
        (_link(h5py.ExternalLink, True), "link to another place, which is not followed"),
        (lambda file, _: file.__delitem__(_layer(file)), "not stored in it as floats"),
        (_virtual, "not stored in it as floats"),
    ],
)
def test_files_of_hdf5(tmp_path, change, sentence):
    path = shutil.copy(KERAS, tmp_path / "x.h5")
    with h5py.File(path, "r+") as file:
        change(file, tmp_path)
    refused(path, sentence)


def test_one_array_under_many_names(tmp_path):
    """Names cost nothing in a file: its arrays together are no larger than it is."""
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        layer = file.create_group("norm")
        layer["kernel"] = np.zeros(2**20, np.float32)
        file.attrs["layer_names"] = ["norm"] * 1000
        layer.attrs["weight_names"] = ["kernel"] * 1000
    refused(path, "larger than the file")


@pytest.mark.parametrize(
    "index, sentence",
    [
        ("[]", "holds a list, expected an object"),
        ("{}", "weight_map has 'None', expected names of files"),
        ('{"weight_map": []}', "weight_map has"),
        ('{"weight_map": {}}', "weight_map has"),
        ('{"weight_map": {"a": 5}}', "weight_map has '5'"),
        ('{"weight_map": {"a": ["x"]}}', "weight_map has"),
        ('{"weight_map": {"a": "pipe"}}', "weight_map has 'pipe'"),
        ('{"weight_map": {"a": "missing"}}', "weight_map has 'missing'"),
        ('{"weight_map": {"a": "../model.safetensors"}}', "expected names of files"),
        ('{"weight_map": {"a": "/dev/zero"}}', "expected names of files"),
        ('{"weight_map": {"a": ".."}}', "weight_map has"),
        ('{"weight_map": {"a": "\\u0000"}}', "weight_map has"),
        ('{"weight_map": {"a": ""}}', "weight_map has"),
        ("[" * 100_000 + "]" * 100_000, "index.json cannot be read"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "index.json cannot be read"),
        ("1" * 10_000, "index.json cannot be read"),
        ("\x00\xff", "index.json cannot be read"),
    ],
)
def test_indexes_of_hugging_face(tmp_path, index, sentence):
    folder = face(tmp_path / "x")
    shutil.move(folder / "model.safetensors", tmp_path)
    pipe(folder / "pipe")
    (folder / "model.safetensors.index.json").write_text(index)
    refused(folder, sentence)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "preprocessor_config.json"])
def test_pipes_in_place_of_files(tmp_path, name):
    folder = face(tmp_path / "x")
    (folder / name).unlink(missing_ok=True)
    pipe(folder / name)
    if name.startswith("preprocessor"):
        assert read.read(folder, KNOWN).labels
    else:
        refused(folder, "no checkpoint in")
    refused(pipe(tmp_path / "pipe"), "pipe")


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
@pytest.mark.parametrize("content", ["[" * 100_000, "{", "[]", "5", "\x00"])
def test_settings_that_are_no_settings(tmp_path, name, content):
    folder = face(tmp_path / "x")
    (folder / name).write_text(content)
    refused(folder, name)


@pytest.mark.parametrize(
    "changes",
    [
        {"image_size": 10**9}, {"image_size": 10**30}, {"image_size": -32}, {"image_size": 1e400},
        {"num_frames": 10**12}, {"num_frames": {}}, {"layer_norm_eps": "x"}, {"model_type": []},
        {"num_attention_heads": 10**40}, {"num_attention_heads": 0}, {"id2label": {"1" * 5000: 1}},
        {"id2label": {str(10**12): "a"}}, {"num_frames": 9998, "image_size": 9984},
        {"num_frames": 20_000}, {"tubelet_size": 10**9, "num_frames": 9998, "image_size": 9984},
    ],
)  # fmt: skip
def test_settings_beyond_measure(tmp_path, changes):
    refused(face(tmp_path / "x", **changes), ".")


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"num_frames": 10**12}, r"x\.pth .*modalities.video.frames is 10{12}, .* 1 to 10,000"),
        ({"input_size": 10**12}, r"x\.pth .*modalities.video.size is 10{12}, .* 1 to 10,000"),
        ({"input_size": 9984, "num_frames": 10_000}, "modalities.video: an input of .* at most"),
        ({"input_size": -1}, r"modalities.video.size is -1, expected 1 to 10,000"),
        ({"num_frames": 1e300}, "modalities.video.frames is 1e"),
    ],
)
def test_options_beyond_measure(tmp_path, options, sentence):
    content = {"model": stored(), "args": options}
    with pytest.raises(schema.ConfigError, match=sentence):
        read.read(save(tmp_path / "x.pth", content), {"model.heads": 4})


def test_headers_of_safetensors(tmp_path):
    folder = face(tmp_path / "x")
    many = {"a": {"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 4 * 10**12]}}
    deep = b'{"a":' * 100_000
    for header in (json.dumps(many).encode(), deep, b"[]", b"{}", b"\xff"):
        (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
        refused(folder, "model.safetensors|no array patch_embed")
    (folder / "model.safetensors").write_bytes(b"\xff" * 8 + b"{}")
    refused(folder, "model.safetensors")


@pytest.mark.parametrize(
    "params",
    [
        {1: {2: 3}}, {"a": {5: np.ones(3)}}, {"a": 5}, {"a": [1]}, {"a": None}, {"a": "text"},
        {b"a": 1}, {None: 1}, {1.5: 1}, {"a": {"__msgpack_chunked_array__": True}},
        {"output_projection": {"kernel": 7}}, {"decoder_projection": {"kernel": 1}},
    ],
)  # fmt: skip
def test_msgpack_of_other_things(tmp_path, params):
    from flax import serialization

    path = tmp_path / "checkpoint"
    path.write_bytes(msgpack.packb({"params": params}, default=serialization._msgpack_ext_pack))
    refused(path, "checkpoint")


def test_msgpack_that_claims_more_than_it_has(tmp_path):
    path = tmp_path / "checkpoint"
    deep = msgpack.packb({"params": 1})[:-1]
    for more in (
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\x91" * 10**5,
    ):
        path.write_bytes(deep + more)
        refused(path, "checkpoint is not a whole flax")
    path.write_bytes(deep + b"\xdd\x00\x08\x00\x00" * 300_000)
    refused(path, "checkpoint is not a whole flax")


MALICE = [
    b"cnumpy.testing._private.utils\nrunstring\n(S'import os'\n}tR.",
    b"ctorch.hub\nload\n(S'x'\ntR.",
    b"ctorch.serialization\nos.system\n(S'true'\ntR.",
    b"\x80\x04\x8c\x07pathlib\x8c\x09os.system\x93\x8c\x04true\x85R.",
    b"csubprocess\nPopen\n(S'true'\ntR.",
    b"c__builtin__\ngetattr\n(c__builtin__\n__import__\nS'x'\ntR.",
    b"c__builtin__\ngetattr\n(ccollections\nOrderedDict\nS'__init__'\ntR.",
    b"c__builtin__\ngetattr\n(cmmengine.x\nX\nS'run'\ntR(tR.",
    b"c__builtin__\n__import__\n(S'os'\ntR.",
    b"c__builtin__\nexecfile\n(S'x'\ntR.",
    b"cposix\nsystem\n(S'true'\ntR.",
    b"coperator\nattrgetter\n(S'system'\ntR.",
    b"cfunctools\nreduce\n(ceval\neval\n](S'1'\netR.",
    b"ctypes\nFunctionType\n(tR.",
    b"crunpy\n_run_code\n(S'1'\ntR.",
    b"cpip\nmain\n(]tR.",
    b"(S'true'\nios\nsystem\n.",
    b"c__main__\nrun\n(tR.",
]


@pytest.mark.parametrize("pickled", MALICE)
def test_calls_are_refused_by_name(tmp_path, pickled):
    path = tmp_path / "x.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
    refused(path, r"asks for \S+.*, which no checkpoint needs; it was not run")


@pytest.mark.parametrize(
    "pickled",
    [
        b"]r\xff\xff\xff\x7f.",  # the place 2^31 in a table
        b"\x80\x05\x96" + (10**12).to_bytes(8, "little") + b".",  # a bytearray
        b"\x80\x04\x8e" + (10**12).to_bytes(8, "little") + b".",
        b"\x80\x04\x95" + (10**12).to_bytes(8, "little") + b".",
        b"]" * 10**5 + b"a" * (10**5 - 1) + b".",
        b"c__builtin__\nbytearray\n(I1000000000000\ntR.",
        b"c__builtin__\nrange\n(I1000000000000\ntR.",
        b"c__builtin__\nset\n(c__builtin__\nrange\n(I1000000000000\ntRtR.",
    ],
)
@pytest.mark.parametrize("legacy", [False, True])
def test_pickles_that_claim_more_than_they_have(tmp_path, pickled, legacy):
    path = tmp_path / "x.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
    if legacy:
        start = [pickle.dumps(x, protocol=2) for x in (0x1950A86A20F9469CFC6C, 1001, {})]
        path.write_bytes(b"".join(start) + pickled)
    refused(path, r"x\.pth")


def test_many_tensors_of_one_storage(tmp_path):
    """Tensors cost little in a file that share their values."""
    path = save(tmp_path / "x.pth", stored())
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    big = b"c" + b"torch._utils\n_rebuild_tensor_v2\n"
    storage = b"((S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI%d\ntQI0\n(I%d\nt(I1\nt"
    size = len(content["archive/data/0"]) // 4
    one = big + storage % (size, size) + b"I00\nNtR"
    names = [f"x{i}" for i in range(1000)] + ["patch_embed.proj.weight"]
    entries = b"".join(b"S'%s'\n" % name.encode() + one + b"s" for name in names)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"}" + entries + b".")
        archive.writestr("archive/data/0", content["archive/data/0"])
    refused(path, "tensors claim .* bytes")


@pytest.mark.parametrize(
    "shape, stride",
    [("S'a'\n", "(I1\nt"), ("(S'a'\nt", "(I1\nt"), ("(I1\nI1\nt", "(I1\nt"), ("(I1\nt", "N")],
)
def test_shapes_that_are_none(tmp_path, shape, stride):
    path = tmp_path / "x.pth"
    tensor = (
        "ctorch._utils\n_rebuild_tensor_v2\n((S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\n"
        f"I1\ntQI0\n{shape}{stride}I00\nNtR"
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", f"}}S'patch_embed.proj.weight'\n{tensor}s.")
        archive.writestr("archive/data/0", bytes(4))
    refused(path, r"x\.pth is not a whole PyTorch file")
