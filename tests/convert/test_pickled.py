"""Pickles become what Python would make of them, and a small one costs little, whatever it asks."""

import dataclasses
import io
import pickle
import zipfile

import numpy as np
import pytest
from test_hostile import limits, refused
from test_torch_file import write

from av_mae.convert import pickled, torch_file

assert limits  # a fixture of all tests here

# ((("a", "a"), ("a", "a")), ...): 2^60 leaves in 300 bytes.
TWICE = b"S'a'\n" + b"2\x86" * 60
SETS = b"(S'a'\n\x91" + b"q\x00(h\x00S'a'\n\x86h\x00S'b'\n\x86\x91" * 60
DEEP = b"S'a'\n" + b"\x85" * 10**5
CALL = b"c%s\n%s\n"


def load(content: bytes):
    return pickled.Unpickler(lambda *_: None, lambda *_: None).load(io.BytesIO(content))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "value",
    [
        None, True, False, 0, -1, 255, 2**40, -(2**200), 0.1, "", "text", "\u00e9\u4e2d\n'\\",
        (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], [1, [2, "x"]], {}, {"a": {1: (2, None)}},
        {(1, "a"): 1, None: 2, 0.5: 3, True: 4}, [[1] * 3] * 3, list(range(3000)),
        {str(i): i for i in range(2000)},
    ],
)  # fmt: skip
def test_plain_values_are_those_that_were_pickled(value, protocol):
    assert load(pickle.dumps(value, protocol)) == value


def test_sets_and_bytes_of_new_protocols_and_shared_and_recursive_values():
    value = [{1, 2}, frozenset({"a"}), b"bytes", b"x" * 300, bytearray(b"y")]
    assert load(pickle.dumps(value, 5)) == value
    shared = [1]
    again = load(pickle.dumps([shared, shared, (shared, shared)]))
    assert again[0] is again[1] is again[2][1]
    circle: list = []
    circle.append(circle)
    found = load(pickle.dumps(circle))
    assert found[0] is found


@pytest.mark.parametrize("bad", [TWICE, SETS, DEEP, b"\x8a\x0a" + b"\x01" * 10],
                         ids=["tuples", "sets", "deep", "long"])  # fmt: skip
@pytest.mark.parametrize(
    "around",
    [
        b"}%sNs.", b"}(%sNu.", b"(%sNd.", b"\x8f(%s\x90.", b"(%s\x91.",
        b"cbuiltins\nset\n(](%setR.", b"cbuiltins\nfrozenset\n](%se\x85R.",
        b"ccollections\nOrderedDict\n(](](%sNeetR.", b"ccollections\nOrderedDict\n)R%sNs.",
        b"(S'storage'\n%sS'0'\nS'cpu'\nI1\ntQ.",
        b"(S'storage'\nctorch\nFloatStorage\n%sS'cpu'\nI1\ntQ.",
    ],
)  # fmt: skip
@pytest.mark.parametrize("legacy", [False, True])
def test_keys_whose_hash_never_ends(tmp_path, around, bad, legacy):
    refused(
        packed(tmp_path / "x.pth", around.replace(b"%s", bad), legacy), r"x\.pth is not a whole"
    )


@pytest.mark.parametrize(
    "content",
    [
        b"S'%s'\nq\x00]" % (b"x" * 10**6)
        + b"c_codecs\nencode\n(h\x00S'latin1'\ntRa" * 10**4
        + b".",
        b"](" + b"N" * 10**6 + b"eq\x00]" + b"ctorch\nSize\n(h\x00tRa" * 10**4 + b".",
        b"".join(b"ca\nA%d\n0" % i for i in range(20_000)) + b"N.",
        b"cpathlib\nPath\n(" + b"N" * 10 + b"t" + b"\x85" * 10**5 + b"R.",
        b"ctorch._tensor\n_rebuild_from_type_v2\nq\x00(h\x00N](h\x00Nee" + b"NtR.",
        b"ctorch._utils\n_rebuild_tensor_v2\n((S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\n"
        b"I1\ntQI0\n(I1\nt(I1\ntI00\nNtR}S'shape'\n(S'x'\nI1000000000\ntsb.",
    ],
    ids=["copied text", "copied list", "names", "arguments", "calls itself", "filled in"],
)
def test_pickles_that_ask_for_more_than_the_file_holds(tmp_path, content):
    refused(packed(tmp_path / "x.pth", content), r"x\.pth")


def packed(path, content: bytes, legacy: bool = False):
    if legacy:
        start = [pickle.dumps(x, protocol=2) for x in (0x1950A86A20F9469CFC6C, 1001, {})]
        path.write_bytes(b"".join(start) + content)
        return path
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/data/0", bytes(4))
    return path


def test_keys_of_an_old_file_that_are_no_names(tmp_path):
    path = write(tmp_path / "x.pth", None, np.zeros(5, np.float32), legacy=True)
    content = path.read_bytes()
    keys = pickle.dumps(["0"], protocol=2)
    path.write_bytes(content.replace(keys, b"](" + TWICE + b"e."))
    refused(path, r"x\.pth is not a whole")


@pytest.mark.parametrize("legacy", [False, True])
def test_views_of_one_storage_are_read_at_once(tmp_path, monkeypatch, legacy):
    path = write(tmp_path / "x.pth", None, np.arange(10**6, dtype=np.float32), legacy=legacy)
    tensor = torch_file.read(path)["w"]
    opened = []
    real = io.open
    monkeypatch.setattr(io, "open", lambda *a, **k: opened.append(a) or real(*a, **k))
    views = [dataclasses.replace(tensor, shape=(9,), _offset=i) for i in range(1000)]
    assert all(view.numpy()[0] == i for i, view in enumerate(views))
    assert len(opened) == 1
