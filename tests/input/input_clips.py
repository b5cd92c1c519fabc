"""Records whose pictures say which clip and frame they are and whose sound says its time."""

import io
import pathlib

import numpy as np
from PIL import Image

from av_mae.config import modality
from av_mae.input import record, records

FPS = 12.5
LABELS = ("low", "high", "both")
CLIP_STEP, FRAME_STEP = 16, 6  # grey levels between neighbours; JPEG moves them by less than half


def write(folder: pathlib.Path, clips: int = 11, frames: int = 30, shards: int = 3, **kinds):
    """A data set of split `train`, clip i in position i; returns its Info.

    `kinds` are changes to single clips by number, as in `c3={"sound": None}`.
    """
    numbers = np.array_split(np.arange(clips), shards)
    written = []
    for s, part in enumerate(numbers):
        path = folder / f"toy-train.tfrecord-{s:05d}-of-{shards:05d}"
        made = [clip(int(i), **({"frames": frames} | kinds.get(f"c{i}", {}))) for i in part]
        written.append(records.write_shard(path, made))
    info = records.Info(
        name="toy", version="1.0.0", fps=FPS, short_side=24, labels=LABELS,
        splits={"train": records.Split("train", tuple(written))}, preprocessing={}, counts={},
        audio_mean=0.0, audio_std=1.0,
    )  # fmt: skip
    info.save(folder)
    return info


def clip(
    number: int, frames: int = 30, fps: float = FPS, sound: float | None = -1.0, label=None
) -> record.Clip:
    """Frame f of clip c is flat (16 c, 6 f, 0); sound sample s is 1 + its time in milliseconds.

    `sound` is its length in seconds; negative = as long as the pictures, None = none.
    """
    seconds = frames / fps if sound is not None and sound < 0 else sound
    height, width = (24, 32) if frames else (0, 0)
    return record.Clip(
        id=f"clip{number}", source=f"{number}.mp4",
        frames=tuple(jpeg(flat(CLIP_STEP * number, FRAME_STEP * f)) for f in range(frames)),
        fps=fps, height=height, width=width, audio=None if seconds is None else clock(seconds),
        start=0.0, duration=frames / fps or seconds or 0.0,
        labels=(number % 3,) if label is None else label,
    )  # fmt: skip


def flat(red: int, green: int) -> np.ndarray:
    return np.full((24, 32, 3), (red, green, 0), np.uint8)


def clock(seconds: float) -> np.ndarray:
    return (1 + np.arange(round(seconds * 16_000)) // 16).astype(np.int16)


def jpeg(picture: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=98, subsampling=0)
    return stream.getvalue()


def shown(video: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(clip numbers, frame numbers) of pictures `[... h w 3]`, read off their colours."""
    colour = video.astype(float).mean(axis=(-3, -2))
    return np.rint(colour[..., 0] / CLIP_STEP).astype(int), np.rint(
        colour[..., 1] / FRAME_STEP
    ).astype(int)


def both(**video) -> dict[str, modality.Modality]:
    """Four frames 0.16 s apart (two record frames), 0.4 s of sound."""
    settings = {"frames": 4, "stride": 4, "size": 16, **video}
    shared = {"mask_ratio": 0.5, "masking": "random", "weight": 1.0}
    return {
        "video": modality.Video(**settings, **shared),
        "audio": modality.Audio(seconds=0.4, mels=16, **shared),
    }
