"""Reconstructions kept in the workdir: `media/<step>/<name>/<number>/`, listed in gallery.json.

A gallery is written under a temporary name and renamed, so a kill leaves a whole one or none. Only
some are kept (the first, the latest and others between), so the folder stays small in a long run.
"""

import dataclasses
import json
import os
import pathlib
import shutil
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from av_mae.report import media, pictures

FOLDER = "media"
KEPT = 8  # galleries of one name

_LIST = "gallery.json"
_APART = 0.1  # seconds that sound and frames may differ in length


@dataclasses.dataclass(frozen=True)
class StoredExample:
    """One example on disk: a video, and `<kind>.jpg`, `.png`, `.wav` of the kinds listed.

    Attributes:
        video: file with all kinds side by side (mp4, or webp without PyAV), named `reconstruction`
            or, of one kind, after it; None without frames.
        films, spectrograms, sounds: kinds (`pictures.KINDS`) that have a jpg, a png, a wav.
        sound_seconds: length of the spectrograms and sounds.
    """

    folder: pathlib.Path
    title: str
    video: str | None
    films: list[str]
    spectrograms: list[str]
    sounds: list[str]
    sound_seconds: float


@dataclasses.dataclass(frozen=True)
class Gallery:
    """The examples one evaluator showed after one step."""

    step: int
    name: str
    examples: list[StoredExample]


def write(
    workdir: pathlib.Path, step: int, name: str, examples: Sequence[pictures.Example]
) -> None:
    """Writes a gallery, replacing one of the same step and name, and thins out old ones."""
    final = workdir / FOLDER / f"{step:08d}" / name.replace("/", "-")
    unfinished = final.with_name(final.name + ".tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    entries = []
    for number, example in enumerate(examples):
        stored = write_example(unfinished / str(number), example, _soundtrack(example))
        entries.append({key: value for key, value in vars(stored).items() if key != "folder"})
    content = {"step": step, "name": name, "examples": entries}
    (unfinished / _LIST).write_text(json.dumps(content, indent=1))
    shutil.rmtree(final, ignore_errors=True)
    os.replace(unfinished, final)

    # The first and the last of a name stay; the one closest to its neighbours goes first.
    folders = sorted((workdir / FOLDER).glob(f"*/{final.name}"))
    while len(folders) > KEPT:
        steps = [int(folder.parent.name) for folder in folders]
        gaps = [after - before for before, after in zip(steps, steps[2:], strict=False)]
        shutil.rmtree(folders.pop(gaps.index(min(gaps)) + 1))


def write_example(
    folder: pathlib.Path, example: pictures.Example, sound_s: Float[np.ndarray, " s"] | None
) -> StoredExample:
    """Writes the files of one example; `sound_s` is heard in the video (needs PyAV)."""
    folder.mkdir(parents=True, exist_ok=True)
    video = None
    if example.frames:
        beside = pictures.side_by_side(example.frames)
        name = "reconstruction" if len(example.frames) > 1 else next(iter(example.frames))
        if media.encoders():
            video = f"{name}.mp4"
            media.write_mp4(folder / video, beside, example.fps, sound_s)
        else:
            video = f"{name}.webp"
            (folder / video).write_bytes(media.webp(beside, example.fps))
        for kind, frames in example.frames.items():
            (folder / f"{kind}.jpg").write_bytes(media.image(pictures.film(frames), "JPEG"))
    if example.spectrograms:
        for kind, image in pictures.coloured(example.spectrograms).items():
            (folder / f"{kind}.png").write_bytes(media.image(image, "PNG"))
    for kind, wave in example.waves.items():
        (folder / f"{kind}.wav").write_bytes(media.wav(wave))
    lengths = [len(wave) / media.SAMPLE_RATE for wave in example.waves.values()]
    return StoredExample(
        folder,
        example.title,
        video,
        films=[kind for kind in pictures.KINDS if kind in example.frames],
        spectrograms=[kind for kind in pictures.KINDS if kind in example.spectrograms],
        sounds=[kind for kind in pictures.KINDS if kind in example.waves],
        sound_seconds=lengths[0] if lengths else example.seconds,
    )


def read(workdir: pathlib.Path) -> list[Gallery]:
    """All whole galleries, by ascending step."""
    found = []
    for path in sorted((workdir / FOLDER).glob(f"*/*/{_LIST}")):
        if not path.parent.name.endswith(".tmp"):
            content, folder = json.loads(path.read_bytes()), path.parent
            stored = [
                StoredExample(folder / str(n), **e) for n, e in enumerate(content["examples"])
            ]
            found.append(Gallery(content["step"], content["name"], stored))
    return found


def restart(workdir: pathlib.Path, resume_step: int | None) -> None:
    """Removes what a killed run left half written or wrote after `resume_step` (None: all stay)."""
    for unfinished in (workdir / FOLDER).glob("*/*.tmp"):
        shutil.rmtree(unfinished)
    for folder in (workdir / FOLDER).glob("[0-9]*"):
        if resume_step is not None and int(folder.name) > resume_step:
            shutil.rmtree(folder)


def _soundtrack(example: pictures.Example) -> Float[np.ndarray, " s"] | None:
    """The predicted sound where it spans the same time as the frames; None where it does not.

    A window of sound longer than the sampled frames would freeze or shift the looping picture.
    """
    wave = example.waves.get("predicted")
    if wave is None or not example.frames:
        return None
    frames = next(iter(example.frames.values()))
    apart = abs(len(wave) / media.SAMPLE_RATE - len(frames) / example.fps)
    return wave if apart <= _APART else None
