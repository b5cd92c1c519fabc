"""What a pretrained model fills in: `python -m av_mae.tools.reconstruct --model --out FILE...`.

Of a file it takes as much as the model sees: from --start on, or else in the middle of the file or
of what lies before --end. For every file a folder in --out: reconstruction.mp4 (original, masked
and predicted side by side, with the predicted sound of the shown frames), reconstruction.png (the
spectrograms), and every kind by itself as jpg, png and wav. index.html shows all files and needs
nothing beside it.
"""

import itertools
import pathlib
import re
import sys
from collections.abc import Sequence

import numpy as np
from absl import flags

from av_mae import api
from av_mae.inference import stream
from av_mae.report import gallery, media, page, pictures, render
from av_mae.tools import files

PAGE = "index.html"


def main(argv: Sequence[str] | None = None) -> int:
    """Writes pictures, sounds and a page; 0, 1 (bad files) or 78 (bad request)."""
    own = files.define()
    flags.DEFINE_string("out", None, "Folder to write.", required=True, flag_values=own)
    flags.DEFINE_integer("seed", 0, "Seed of the patches that are hidden.", flag_values=own)
    try:
        paths = files.parse(own, argv, __doc__)
        model, names = files.load(own)
        model.expect("pretrain")
    except ValueError as error:
        return files.leave(error)
    out = pathlib.Path(own.out)
    stored: list[gallery.StoredExample] = []

    def work(path: str) -> None:
        clip = stream.seen(
            path, model.known(names), start=own.start, end=own.end, frame_rate=own.frame_rate
        )
        found = model.reconstruct(clip, own.seed, modalities=names)
        # The name of the file; of files with the same name, later ones get a number.
        stem = re.sub(r"[^\w.-]+", "_", pathlib.PurePath(path).stem)
        free = itertools.chain([stem], (f"{stem}-{i}" for i in itertools.count(2)))
        taken = {example.folder.name for example in stored}
        folder = out / next(name for name in free if name not in taken)
        stored.append(write(folder, found, pathlib.PurePath(path).name))
        seconds = np.array([*found.seconds.values()]) + clip.start
        begin, end = stream.moment(seconds.min()), stream.moment(seconds.max())
        print(f"{folder}: {path} from {begin} to {end}", flush=True)

    status = files.each(paths, work)
    if stored:
        print(write_page(out, model, stored), flush=True)
    return status


def write(folder: pathlib.Path, found: api.Reconstruction, title: str) -> gallery.StoredExample:
    """Writes the files of one reconstruction and says which there are."""
    stored = gallery.write_example(folder, found.example(title), found.sound_of_frames())
    if found.spectrogram:
        image = pictures.spectrograms(found.spectrogram)
        (folder / "reconstruction.png").write_bytes(media.image(image, "PNG"))
    return stored


def write_page(
    out: pathlib.Path, model: api.Model, stored: Sequence[gallery.StoredExample]
) -> pathlib.Path:
    """Writes `<out>/index.html` with pictures, films and sounds inside."""
    name = pathlib.PurePath(model.source).name
    shown = page.galleries([gallery.Gallery(model.step, name, list(stored))])
    return render.page("reconstructions.html", out / PAGE, name=name, galleries=shown)


if __name__ == "__main__":
    sys.exit(main())
