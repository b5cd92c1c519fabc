"""Which clip goes where, and what its labels are called."""

import dataclasses
import random

import pytest

from av_mae.prepare import datasets
from av_mae.prepare.shards import settings


def entries(count, split="train", labels=("dog",)):
    return [datasets.Entry(f"{split}{i}", f"/x/{i}", f"{i}", split, labels) for i in range(count)]


@pytest.mark.parametrize(
    "count, per_shard, shards", [(1, 64, 1), (64, 64, 1), (65, 64, 2), (10, 3, 4)]
)
def test_shards_hold_every_clip_once_and_are_even(count, per_shard, shards):
    assigned = settings.assign(entries(count), "x", per_shard)
    assert [shard.file for shard in assigned] == [
        f"x-train.tfrecord-{i:05d}-of-{shards:05d}" for i in range(shards)
    ]
    sizes = [len(shard.entries) for shard in assigned]
    assert max(sizes) - min(sizes) <= 1 and max(sizes) <= per_shard
    assert sorted(e.id for shard in assigned for e in shard.entries) == sorted(
        e.id for e in entries(count)
    )


def test_the_assignment_does_not_depend_on_the_order_of_the_list():
    clips = entries(50) + entries(20, "test") + entries(20, "val")
    assigned = settings.assign(clips, "x", 8)
    digest = settings.digest(clips)
    random.Random(0).shuffle(clips)
    assert settings.assign(clips, "x", 8) == assigned
    assert settings.digest(clips) == digest
    assert [shard.split for shard in assigned] == ["train"] * 7 + ["val"] * 3 + ["test"] * 3


def test_the_digest_tells_lists_apart_but_not_places():
    clips = entries(5)
    moved = [dataclasses.replace(clip, path=f"/y/{clip.path}") for clip in clips]
    assert settings.digest(moved) == settings.digest(clips)
    for change in ({"split": "val"}, {"labels": ("cat",)}, {"start": 1.0}, {"id": "z"}):
        assert settings.digest(
            [dataclasses.replace(clips[0], **change), *clips[1:]]
        ) != settings.digest(clips)


def labelled(*names):
    return [datasets.Entry(name, name, name, "train", (name,)) for name in names]


def test_labels_are_sorted_numbers_by_value():
    assert settings.label_names(labelled("b", "a", "C"), None) == ("C", "a", "b")
    assert settings.label_names(labelled("10", "9", "0"), None) == ("0", "9", "10")
    assert settings.label_names([], None) == ()


def test_given_labels_keep_their_order_and_must_hold_all():
    assert settings.label_names(labelled("a", "b"), ["b", "c", "a"]) == ("b", "c", "a")
    with pytest.raises(ValueError, match="1 labels are not in --labels: 'b' .clip 'b'."):
        settings.label_names(labelled("a", "b"), ["a"])
    with pytest.raises(ValueError, match="'a' twice"):
        settings.label_names(labelled("a"), ["a", "a"])


def test_labels_without_a_training_clip_are_named():
    clips = [*entries(2), *entries(2, "test", ("cat", "dog"))]
    assert settings.untrained(clips) == ["cat"]
    assert settings.untrained(entries(2, "test")) == []
