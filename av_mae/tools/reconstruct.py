"""What a pretrained model fills in: `python -m av_mae.tools.reconstruct --model --out FILE...`.

For every file a folder in --out: reconstruction.mp4 (original, masked and predicted side by side,
with the predicted sound of the shown frames), reconstruction.png (the spectrograms), and every kind
by itself as jpg, png and wav. index.html shows all files and needs nothing beside it.
"""

import itertools
import pathlib
import re
import sys
from collections.abc import Collection, Sequence

from av_mae import api
from av_mae.report import exhibits, gallery, markup, media, pictures
from av_mae.tools import files

PAGE = "index.html"


def main(argv: Sequence[str] | None = None) -> int:
    """Writes pictures, sounds and a page; 0, 1 (bad files) or 78 (bad request)."""
    parser = files.parser("reconstruct", "Shows what a pretrained model fills in.")
    parser.add_argument("--out", required=True, help="folder to write")
    parser.add_argument("--seed", type=int, default=0, help="of the patches that are hidden")
    parser.add_argument("--start", type=float, help="seconds; default: the beginning of the file")
    parser.add_argument("--end", type=float, help="seconds; default: the end of the file")
    arguments = parser.parse_args(argv)
    try:
        model, names = files.load(arguments)
        model.expect("pretrain")
    except ValueError as error:
        return files.leave(error)
    out = pathlib.Path(arguments.out)
    folders: list[pathlib.Path] = []
    shown: list[gallery.Shown] = []

    def work(path: str) -> None:
        clip = api.read_clip(path, start=arguments.start, end=arguments.end)
        found = model.reconstruct(clip, arguments.seed, modalities=names)
        folder = out / _folder_name(path, {s.name for s in folders})
        folders.append(folder)
        shown.append(write(folder, found, pathlib.PurePath(path).name))
        print(folder, flush=True)

    status = files.each(arguments.files, work)
    if shown:
        print(write_page(out, model, shown), flush=True)
    return status


def write(folder: pathlib.Path, found: api.Reconstruction, title: str) -> gallery.Shown:
    """Writes the files of one reconstruction and says where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    video = None
    if found.frames:
        video = folder / "reconstruction.mp4"
        media.write_mp4(
            video, pictures.side_by_side(found.frames), found.fps, found.sound_of_frames()
        )
    if found.spectrogram:
        image = pictures.spectrograms(found.spectrogram)
        (folder / "reconstruction.png").write_bytes(pictures.png(image))
    return gallery.Shown(
        title=title,
        video=video,
        films={k: _film(folder, k, found) for k in found.frames},
        spectrograms={k: _spectrogram(folder, k, found) for k in found.spectrogram},
        sounds={k: _sound(folder, k, found) for k in found.waveform},
        sound_seconds=max((len(w) for w in found.waveform.values()), default=0) / media.SAMPLE_RATE,
    )


def write_page(out: pathlib.Path, model: api.Model, shown: Sequence[gallery.Shown]) -> pathlib.Path:
    """Writes `<out>/index.html` with pictures, films and sounds inside."""
    name = pathlib.PurePath(model.source).name
    every = gallery.Gallery(step=model.step, name=name, examples=list(shown))
    body = markup.section("Reconstructions", exhibits.section([every]))
    path = out / PAGE
    path.write_text(markup.document(f"{name} · reconstructions", body))
    return path


def _film(folder: pathlib.Path, kind: str, found: api.Reconstruction) -> pathlib.Path:
    path = folder / f"{kind}.jpg"
    path.write_bytes(pictures.jpeg(pictures.film(found.frames[kind])))
    return path


def _spectrogram(folder: pathlib.Path, kind: str, found: api.Reconstruction) -> pathlib.Path:
    path = folder / f"{kind}.png"
    low, high = pictures.value_range(found.spectrogram)
    path.write_bytes(pictures.png(pictures.spectrogram(found.spectrogram[kind], low, high)))
    return path


def _sound(folder: pathlib.Path, kind: str, found: api.Reconstruction) -> pathlib.Path:
    path = folder / f"{kind}.wav"
    path.write_bytes(media.wav(found.waveform[kind]))
    return path


def _folder_name(path: str, taken: Collection[str]) -> str:
    """The name of the file; of files with the same name, later ones get a number."""
    stem = re.sub(r"[^\w.-]+", "_", pathlib.PurePath(path).stem)
    names = itertools.chain([stem], (f"{stem}-{i}" for i in itertools.count(2)))
    return next(name for name in names if name not in taken)


if __name__ == "__main__":
    sys.exit(main())
