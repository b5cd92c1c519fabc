"""Damaged files of weights, drawn from a seed: they are read, or refused at once in a sentence."""

import pathlib
import random
import shutil

import pytest
from test_hostile import KNOWN, limits, refused
from test_read import FACE, KERAS, MMACTION2, PTH, SCENIC

from av_mae.config import schema
from av_mae.convert import read

assert limits  # a fixture of all tests here
ALL = KNOWN | {"model.fusion_layers": 2, "modalities.audio.seconds": 0.4}
NUMBERS = (0, 1, 255, 2**31 - 1, 2**32 - 1, 10**9, 2**40, 2**63 - 1, 2**64 - 1)


def damaged(content: bytes, rng: random.Random) -> bytes:
    """The content with one kind of damage, mostly near its ends, where names and sizes lie."""

    def place():
        near = rng.randrange(min(len(content), 8192))
        places = (near, len(content) - 1 - near, rng.randrange(len(content)))
        return rng.choices(places, (4, 3, 3))[0]

    changed, at = bytearray(content), place()
    kind = rng.choice(("bits", "bytes", "cut", "zeros", "moved", "added", "numbers"))
    if kind == "bits":
        for _ in range(int(10 ** rng.uniform(0, 2.5))):
            changed[place()] ^= 1 << rng.randrange(8)
    elif kind == "bytes":
        for _ in range(rng.randrange(1, 17)):
            changed[place()] = rng.randrange(256)
    elif kind == "cut":
        del changed[at:]
    elif kind == "zeros":
        changed[at : at + 400] = bytes(len(changed[at : at + 400]))
    elif kind == "moved":
        other = place()
        changed[at : at + 100] = changed[other : other + 100]
    elif kind == "added":
        changed[at:at] = rng.randbytes(rng.randrange(1, 20))
    else:
        width = rng.choice((2, 4, 8))
        number = rng.choice(NUMBERS) % 2 ** (8 * width)
        changed[at : at + width] = number.to_bytes(width, rng.choice(("little", "big")))
    return bytes(changed)


@pytest.mark.parametrize(
    ("source", "victims"),
    [
        (PTH, [PTH.name]), (MMACTION2, [MMACTION2.name]), (SCENIC / "checkpoint", ["checkpoint"]),
        (FACE, ["model.safetensors", "config.json"]), (KERAS, [KERAS.name]),
    ],
    ids=lambda x: getattr(x, "name", ""),
)  # fmt: skip
def test_damaged_files_are_read_or_refused(tmp_path, source: pathlib.Path, victims):
    for seed in range(8 if source == KERAS else 40):
        rng = random.Random(seed)
        copy = tmp_path / str(seed)
        shutil.copytree(source, copy) if source.is_dir() else copy.mkdir()
        if not source.is_dir():
            shutil.copy(source, copy)
        victim = copy / rng.choice(victims)
        victim.write_bytes(damaged(victim.read_bytes(), rng))
        sentence = outcome(copy if source.is_dir() else victim)
        assert sentence == "" or (str(copy) in sentence and len(sentence) < 1000)


def outcome(source: pathlib.Path) -> str:
    try:
        read.read(source, ALL)
    except schema.ConfigError as error:
        return str(error)
    return ""


def test_a_file_in_which_hdf5_goes_round_in_circles(tmp_path):
    """In its heap of names lies one that takes no place."""
    content = bytearray(KERAS.read_bytes())
    heap = content.index(b"GCOL") + 16
    content[heap : heap + 384] = bytes(384)
    path = tmp_path / "x.h5"
    path.write_bytes(content)
    refused(path, "HDF5's library does not come to its end")
