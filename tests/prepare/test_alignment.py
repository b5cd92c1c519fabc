"""A flash and a click at one moment of a file lie at one moment of every window of the input.

Through the whole way: media of every odd kind, preparation, records, batches.
"""

import itertools

import made_media
import numpy as np
import pytest

from av_mae.config import modality, schema
from av_mae.input import pipeline, record, records
from av_mae.prepare import datasets
from av_mae.prepare.shards import build
from av_mae.prepare.shards.settings import Settings

FPS = 12.5
SECONDS = 1.28
MODALITIES = {
    "video": modality.Video(frames=16, stride=2, fps=25.0, size=32, patch=(2, 16, 16)),
    "audio": modality.Audio(seconds=SECONDS, mels=16),
}


def _varying() -> list[float]:
    gaps = np.random.default_rng(3).uniform(0.02, 0.3, 40)
    return [round(t, 3) for t in np.cumsum(gaps) - gaps[0] if t < 4.0]


def _steady(fps: float, begin: float = 0.0) -> list[float]:
    return [begin + i / fps for i in range(int(4.0 * fps))]


# Name of a file: times of its pictures, and what else is odd about it.
KINDS = {
    "plain.mp4": (_steady(25), {}),
    "film.mp4": (_steady(24_000 / 1001), {}),
    "ntsc.mov": (_steady(30_000 / 1001), {}),
    "fast.mp4": (_steady(120), {}),
    "slow.mkv": (_steady(3), {}),
    "variable.mp4": (_varying(), {}),
    "variable.mkv": (_varying(), {}),
    "late sound.mp4": (_steady(25), {"sound_at": 0.9}),
    "late pictures.mp4": (_steady(25, begin=0.7), {}),
    "late pictures.ts": (_steady(25, begin=0.7), {}),
    "no time stamps.avi": (_steady(25), {"codec": "mjpeg"}),
    "turned.mp4": (_steady(25), {"degrees": 90}),
    "short sound.mp4": (_steady(25), {"sound_to": 2.6}),
}
CUT = "a part.mp4"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Records of all kinds; pictures are bright from the moment of a click on."""
    media, out = tmp_path_factory.mktemp("media"), tmp_path_factory.mktemp("records") / "odd"
    entries = []
    for name, (times, odd) in {**KINDS, CUT: (_steady(25), {})}.items():
        odd = dict(odd)
        flash = next(t for t in times if t >= 2.0)
        begin, end = odd.get("sound_at", 0.0), odd.pop("sound_to", 4.5)
        shown = [made_media.picture(50 if t >= flash else 0) for t in times]
        wave = made_media.click(flash - begin, end - begin)
        path = made_media.write(media / name, shown, times, wave=wave, **odd)
        part = (0.83, 3.61) if name == CUT else (None, None)
        entries.append(datasets.Entry(name, path, name, "train", (), *part))
    settings = Settings("odd", fps=FPS, short_side=48)
    build.build(datasets.Listing(tuple(entries)), out, settings, workers=1)
    return out


@pytest.fixture(scope="module")
def names(folder):
    """Ids of the clips by their position."""
    import tensorflow as tf

    shards = records.Info.load(folder).split("train").shards
    found = tf.data.TFRecordDataset([str(folder / shard.file) for shard in shards])
    return [record.decode(bytes(x)).id for x in found.as_numpy_iterator()]


def _events(video, audio) -> tuple[float, float]:
    """Seconds into a window at which it becomes bright and loud; infinite where it does not."""
    bright = video.mean((1, 2, 3)) > 120
    loud = np.abs(audio.astype(float)) > 0.3 * 32768
    light = np.inf if bright[0] or not bright.any() else bright.argmax() / FPS
    return light, np.inf if not loud.any() else loud.argmax() / 16_000


def _windows(folder, kind: str):
    if kind == "training":
        dataset, augment = schema.Dataset(), schema.Augment(crop="centre")
        batches = pipeline.train_batches(
            folder, MODALITIES, dataset, augment, batch_size=14, seed=2
        )
        for batch in itertools.islice(batches, 10):
            yield from zip(batch["index"], batch["video"], batch["audio"], strict=True)
    else:
        batches = pipeline.eval_batches(folder, "train", MODALITIES, batch_size=7, temporal_views=6)
        for batch in batches:
            for row in range(7):
                views = zip(batch["video"][row], batch["audio"][row], strict=True)
                yield from ((batch["index"][row], *view) for view in views)


@pytest.mark.parametrize("kind", ["training", "evaluation"])
def test_a_flash_and_a_click_are_within_a_frame_of_each_other(folder, names, kind):
    """A record's frame is on show for 1/12.5 s; at a window's edge there may be one of the two."""
    assert set(names) == {*KINDS, CUT}
    together = dict.fromkeys(names, 0)
    for position, video, audio in _windows(folder, kind):
        light, sound = _events(video, audio)
        if light < np.inf and sound < np.inf:
            together[names[position]] += 1
            assert abs(light - sound) <= 1 / FPS, names[position]
        elif light < np.inf:
            assert light <= 1 / FPS or light >= SECONDS - 1 / FPS, names[position]
    assert min(together.values()) >= 1, together
