"""Data sets of pieces of YouTube videos, from miniatures of their official lists."""

import pytest

from av_mae.prepare import datasets


def write(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, newline="")
    return folder


def listed(dataset, folder, **options):
    return datasets.clips(dataset, str(folder), datasets.Options(**options))


def shown(listing):
    """(id, source, split, labels, start, end) of every clip."""
    return [(e.id, e.source, e.split, e.labels, e.start, e.end) for e in listing.entries]


VGGSOUND = {
    "vggsound.csv": '---g-f_I2yQ,1,"female speech, woman speaking",test\n'
    "--0PQM4-hqg,30,waterfall burbling,train\n--56QUhyDQM,185,playing tennis,train\n",
    "videos/---g-f_I2yQ_000001.mp4": "",
    "videos/--0PQM4-hqg.webm": "",
}


def test_vggsound_is_ten_seconds_from_the_start(tmp_path):
    listing = listed("vggsound", write(tmp_path, VGGSOUND))
    speech, water = ("female speech, woman speaking",), ("waterfall burbling",)
    assert shown(listing) == [
        ("---g-f_I2yQ_000001_000011", "videos/---g-f_I2yQ_000001.mp4", "test", speech, None, None),
        ("--0PQM4-hqg_000030_000040", "videos/--0PQM4-hqg.webm", "train", water, 30.0, 40.0),
    ]
    assert listing.labels == (*speech, "playing tennis", *water)
    assert listing.listed == {"test": 1, "train": 2}
    assert [refused.id for refused in listing.refused] == ["--56QUhyDQM_000185_000195"]


def test_files_named_by_the_id_may_be_cut_already(tmp_path):
    listing = listed("vggsound:whole=false", write(tmp_path, VGGSOUND))
    assert listing.entries[1].start is None


def test_a_damaged_list_is_told(tmp_path):
    write(tmp_path, VGGSOUND | {"vggsound.csv": "<html>"})
    with pytest.raises(ValueError, match="vggsound.csv, line 1 is '<html>', expected YouTube id"):
        listed("vggsound", tmp_path)
