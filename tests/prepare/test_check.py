"""Checked records: every kind of damage is found by its name, and clean ones pass."""

import dataclasses
import io
import pathlib
import shutil

import numpy as np
import pytest
import tiny
from PIL import Image

from av_mae.input import record, records
from av_mae.prepare.check import result


@pytest.fixture(scope="module")
def clean(tmp_path_factory) -> pathlib.Path:
    """Twelve training clips and four to validate, all different; tests must leave them alone."""
    return write(tmp_path_factory.mktemp("clean"), {"train": range(12), "val": range(20, 24)})


def write(folder, clips, change=lambda clip: clip):
    """Records of the numbered clips, two shards a split."""
    splits = {}
    for split, numbers in clips.items():
        made = [change(clip(split, number)) for number in numbers]
        half = len(made) // 2
        splits[split] = records.Split(
            split,
            tuple(
                records.write_shard(folder / f"tiny-{split}.tfrecord-{n:05d}-of-00002", part)
                for n, part in enumerate((made[:half], made[half:]))
            ),
        )
    info = records.Info("tiny", "1.0.0", 12.5, 40, tiny.LABELS, splits, {}, {}, None, None)
    info.save(folder)
    return folder


def clip(split, number):
    """A picture of noise that turns, and a tone with silence at its end."""
    rng = np.random.default_rng(number)
    picture = Image.fromarray(rng.integers(0, 255, (8, 12, 3), np.uint8))
    large = np.asarray(picture.resize((60, 40), Image.Resampling.BICUBIC))
    frames = tuple(jpeg(np.roll(large, 3 * i, axis=1)) for i in range(10))
    tone = 9000 * np.sin(np.arange(12_800) * (0.05 + 0.01 * number))
    return record.Clip(
        id=f"{split}{number}", source=f"{split}{number}.mp4", frames=frames, fps=12.5, height=40,
        width=60, audio=tone.astype(np.int16), start=0.0, duration=0.8, labels=(number % 2,),
    )  # fmt: skip


def jpeg(picture_hw3):
    stream = io.BytesIO()
    Image.fromarray(picture_hw3).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def found(folder, **options):
    outcome = result.check(folder, **options)
    return outcome.findings.kinds, outcome.ok


def test_clean_records_pass_without_a_warning(clean):
    outcome = result.check(clean)
    assert outcome.ok and outcome.findings.kinds == {}
    lines = list(result.lines(outcome))
    assert lines[-1].startswith("16 clips in 4 shards read")
    assert lines[-1].endswith("nothing is wrong")
    written = result.plain(outcome)
    assert written["splits"]["train"]["clips"] == 12 and written["labels"]["left"] == {
        "train": 6,
        "val": 2,
    }
    assert written["splits"]["val"]["seconds"]["most"] == pytest.approx(0.8)
    assert written["splits"]["val"]["sizes"] == {"60 x 40": 4}


def flip(folder):
    path = folder / "tiny-train.tfrecord-00001-of-00002"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(folder):
    path = folder / "tiny-train.tfrecord-00000-of-00002"
    path.write_bytes(path.read_bytes()[:-700])


def exchange(folder):
    one, other = (folder / f"tiny-train.tfrecord-0000{n}-of-00002.index" for n in (0, 1))
    one.write_bytes(other.read_bytes()[::-1])


DAMAGE = {
    "wrong checksum": flip,
    "wrong size": cut,
    "wrong index": exchange,
    "missing file": lambda folder: (folder / "tiny-val.tfrecord-00001-of-00002").unlink(),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_of_files_is_found_by_name(clean, tmp_path, kind):
    folder = pathlib.Path(shutil.copytree(clean, tmp_path / "tiny"))
    DAMAGE[kind](folder)
    kinds, ok = found(folder)
    assert not ok and kinds[kind].count == 1
    file = "tiny-val" if kind == "missing file" else "tiny-train"
    assert file in kinds[kind].examples[0]
    lost = {"wrong size": {"unreadable record", "missing clips"}, "missing file": {"missing clips"}}
    assert kinds.keys() == {kind} | lost.get(kind, set())


def test_a_missing_index_is_found_and_its_clips_are_read_all_the_same(clean, tmp_path):
    folder = pathlib.Path(shutil.copytree(clean, tmp_path / "tiny"))
    (folder / "tiny-val.tfrecord-00000-of-00002.index").unlink()
    kinds, ok = found(folder)
    assert not ok and kinds.keys() == {"missing file"}


def changed(number, **values):
    return lambda made: dataclasses.replace(made, **values) if made.id == f"train{number}" else made


def with_frame(number, alter):
    def change(made):
        if made.id != f"train{number}":
            return made
        return dataclasses.replace(made, frames=(*made.frames[:7], alter(made), *made.frames[8:]))

    return change


@pytest.mark.parametrize(
    "change, kind, says",
    [
        (changed(3, labels=(2,)), "unknown label", "'train3': label 2, there are 2"),
        (changed(3, height=42), "broken picture", "60 x 40 pixels, the record says 60 x 42"),
        (changed(3, duration=0.0), "impossible clip", "'train3': 0.0 seconds"),
        (changed(3, id="train4"), "id twice", "'train4' (train) and 'train4' (train)"),
        (with_frame(3, lambda c: c.frames[7][:-40]), "broken picture", "frame 7: it has no end"),
        (with_frame(3, lambda c: b"<html>"), "broken picture", "'train3', frame 7: not a picture"),
        (with_frame(3, lambda c: b""), "broken picture", "train.tfrecord-00001-of-00002: clip 'tr"),
        (changed(3, fps=25.0), "other frame rate", "'train3' (25 a second)"),
        (changed(3, labels=()), "no label", "train: 1 clips"),
        (changed(3, audio=np.zeros(9, np.int16)), "digital silence", "train: 'train3'"),
        (changed(3, audio=np.full(12_800, 20, np.int16)), "very quiet", "'train3' (-64 dBFS)"),
        (changed(3, audio=np.full(9_000, 32767, np.int16)), "clipped sound", "'train3' (100.0%)"),
        (changed(3, audio=np.full(1_600, 999, np.int16)), "sound shorter than pictures", "by 0.7"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_clip_is_found_by_name(tmp_path, change, kind, says):
    kinds, ok = found(write(tmp_path, {"train": range(6)}, change))
    assert not any(" object at 0x" in line for line in kinds[kind].examples)
    assert says in kinds[kind].examples[0] and kinds[kind].count >= 1
    assert ok == (kind in ("other frame rate", "no label") or "sound" in kind or "silence" in kind
                  or "quiet" in kind)  # fmt: skip


def test_a_picture_that_cannot_be_decoded_is_found_where_all_are(tmp_path):
    def without_table(made):  # a header and an end, but a table of codes that cannot be
        start = made.frames[7].index(b"\xff\xc4") + 4
        return made.frames[7][:start] + bytes([255] * 17) + made.frames[7][start + 17 :]

    folder = write(tmp_path, {"train": range(6)}, with_frame(3, without_table))
    assert found(folder)[1]
    kinds, ok = found(folder, every_frame=True)
    assert not ok and "'train3', frame 7" in kinds["broken picture"].examples[0]
