"""Reconstructions kept in the workdir: `media/<step>/<name>/<number>/` and a list of what is there.

A gallery is written under a temporary name and renamed, so a kill leaves a whole one or none. Only
some are kept (the first, the latest and others between), so the folder stays small in a long run.
"""

import dataclasses
import json
import os
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any

from av_mae.report import media, pictures

FOLDER = "media"
KEPT = 8  # galleries of one name

_LIST = "gallery.json"


@dataclasses.dataclass(frozen=True)
class Shown:
    """One example on disk.

    Attributes:
        video: all kinds side by side (mp4, or webp where PyAV is missing); None without frames.
        films, spectrograms, sounds: files by kind (`pictures.KINDS`).
        sound_seconds: length of the spectrograms and sounds.
    """

    title: str
    video: pathlib.Path | None
    films: dict[str, pathlib.Path]
    spectrograms: dict[str, pathlib.Path]
    sounds: dict[str, pathlib.Path]
    sound_seconds: float


@dataclasses.dataclass(frozen=True)
class Gallery:
    """The examples one evaluator showed after one step."""

    step: int
    name: str
    examples: list[Shown]


def write(
    workdir: pathlib.Path, step: int, name: str, examples: Sequence[pictures.Example]
) -> Gallery:
    """Writes a gallery, replacing one of the same step and name, and thins out old ones."""
    final = _folder(workdir, step, name)
    unfinished = final.with_name(final.name + ".tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    entries = []
    for number, example in enumerate(examples):
        folder = unfinished / str(number)
        folder.mkdir(parents=True)
        entries.append(_write_example(folder, example))
    content = {"step": step, "name": name, "examples": entries}
    unfinished.mkdir(parents=True, exist_ok=True)
    (unfinished / _LIST).write_text(json.dumps(content, indent=1))
    shutil.rmtree(final, ignore_errors=True)
    os.replace(unfinished, final)
    _thin(workdir, name)
    return _load(final)


def read(workdir: pathlib.Path) -> list[Gallery]:
    """All whole galleries, by ascending step."""
    found = sorted((workdir / FOLDER).glob(f"*/*/{_LIST}"))
    whole = [path.parent for path in found if not path.parent.name.endswith(".tmp")]
    return [_load(folder) for folder in whole]


def restart(workdir: pathlib.Path, resume_step: int | None) -> None:
    """Removes what a killed run left half written or made after `resume_step` (None: all stay)."""
    for unfinished in (workdir / FOLDER).glob("*/*.tmp"):
        shutil.rmtree(unfinished)
    for folder in (workdir / FOLDER).glob("[0-9]*"):
        if resume_step is not None and int(folder.name) > resume_step:
            shutil.rmtree(folder)


def _folder(workdir: pathlib.Path, step: int, name: str) -> pathlib.Path:
    return workdir / FOLDER / f"{step:08d}" / name.replace("/", "-")


def _write_example(folder: pathlib.Path, example: pictures.Example) -> dict[str, Any]:
    for kind, frames in example.frames.items():
        (folder / f"{kind}.jpg").write_bytes(pictures.jpeg(pictures.film(frames)))
    if example.spectrograms:
        low, high = pictures.value_range(example.spectrograms)
        for kind, log_mel in example.spectrograms.items():
            image = pictures.spectrogram(log_mel, low, high)
            (folder / f"{kind}.png").write_bytes(pictures.png(image))
    for kind, wave in example.waves.items():
        (folder / f"{kind}.wav").write_bytes(media.wav(wave))
    return {
        "title": example.title,
        "video": _write_video(folder, example) if example.frames else None,
        "films": [k for k in pictures.KINDS if k in example.frames],
        "spectrograms": [k for k in pictures.KINDS if k in example.spectrograms],
        "sounds": [k for k in pictures.KINDS if k in example.waves],
        "sound_seconds": _sound_seconds(example),
    }


def _write_video(folder: pathlib.Path, example: pictures.Example) -> str:
    frames = pictures.side_by_side(example.frames)
    if media.encoders():
        media.write_mp4(folder / "reconstruction.mp4", frames, example.fps, _soundtrack(example))
        return "reconstruction.mp4"
    (folder / "reconstruction.webp").write_bytes(media.webp(frames, example.fps))
    return "reconstruction.webp"


def _soundtrack(example: pictures.Example) -> Any:
    """The predicted sound where it spans the same time as the frames; None where it does not.

    A window of sound longer than the sampled frames would freeze or shift the looping picture.
    """
    wave = example.waves.get("predicted")
    frames = next(iter(example.frames.values()))
    if wave is None or abs(len(wave) / media.SAMPLE_RATE - len(frames) / example.fps) > 0.1:
        return None
    return wave


def _sound_seconds(example: pictures.Example) -> float:
    if example.waves:
        return len(next(iter(example.waves.values()))) / media.SAMPLE_RATE
    return example.seconds


def _load(folder: pathlib.Path) -> Gallery:
    content = json.loads((folder / _LIST).read_bytes())
    shown = [_shown(folder / str(n), entry) for n, entry in enumerate(content["examples"])]
    return Gallery(content["step"], content["name"], shown)


def _shown(folder: pathlib.Path, entry: dict[str, Any]) -> Shown:
    return Shown(
        title=entry["title"],
        video=folder / entry["video"] if entry["video"] else None,
        films={kind: folder / f"{kind}.jpg" for kind in entry["films"]},
        spectrograms={kind: folder / f"{kind}.png" for kind in entry["spectrograms"]},
        sounds={kind: folder / f"{kind}.wav" for kind in entry["sounds"]},
        sound_seconds=entry["sound_seconds"],
    )


def _thin(workdir: pathlib.Path, name: str) -> None:
    """Keeps the first and the last of a name; the one closest to its neighbours goes first."""
    folders = sorted((workdir / FOLDER).glob(f"*/{name.replace('/', '-')}"))
    steps = [int(folder.parent.name) for folder in folders]
    while len(folders) > KEPT:
        gaps = [steps[i + 1] - steps[i - 1] for i in range(1, len(steps) - 1)]
        drop = gaps.index(min(gaps)) + 1
        shutil.rmtree(folders[drop])
        del folders[drop], steps[drop]
