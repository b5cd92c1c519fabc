"""Features of media files of any length: `python -m av_mae.tools.features --model --out FILE...`.

Windows slide over every file; each is covered by as many views as the model needs to see all of it.
The npz holds, W windows and R views in all files together:

    files [F], pooled [F d]             a vector a file, the mean of its windows
    window_file [W], window_seconds [W 2], window_pooled [W d]
    view_window [R]                     the window that a view belongs to
    video [R n d], video_seconds [R 2]  tokens, and the time they come from; the same for audio,
                                        NaN where a file lacks the modality
    video_grid (t, h, w), audio_grid (t, m)     tokens along each axis, last axis fastest
    model, step, layer, config (JSON), labels, version
"""

import dataclasses
import pathlib
import sys
from collections.abc import Sequence

from absl import flags

from av_mae.inference import features
from av_mae.tools import files


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the npz; 0, 1 (bad files, the others are written) or 78 (bad request)."""
    own = files.define()
    out = flags.DEFINE_string("out", None, "npz file to write.", required=True, flag_values=own)
    window = flags.DEFINE_float(
        "window", None, "Seconds; default: what the model sees.", flag_values=own
    )
    hop = flags.DEFINE_float(
        "hop", None, "Seconds between windows; default: the window.", flag_values=own
    )
    layer = flags.DEFINE_integer(
        "layer", None, "Layer whose tokens to write; default: the output.", flag_values=own
    )
    pooled_only = flags.DEFINE_bool("pooled_only", False, "Leave out the tokens.", flag_values=own)
    try:
        paths = files.parse(own, argv, __doc__)
        if not out.value.endswith(".npz"):
            raise ValueError(f"--out={out.value} is no npz file; use --out={out.value}.npz")
        for flag in (window, hop):
            if flag.value is not None and not flag.value > 0:
                raise ValueError(f"--{flag.name}={flag.value:g}: expected seconds above 0")
        model, names = files.load(own)
        model.check_layer(layer.value)
    except ValueError as error:
        return files.leave(error)
    found: dict[str, features.Features] = {}

    def work(path: str) -> None:
        extracted = features.extract(
            model,
            path,
            window=window.value,
            hop=hop.value,
            modalities=names,
            layer=layer.value,
        )
        if pooled_only.value:
            extracted = dataclasses.replace(extracted, tokens={})
        found[path] = extracted
        print(f"{path}: {len(extracted.windows)} windows", file=sys.stderr, flush=True)

    status = files.each(paths, work)
    if found:
        features.write(pathlib.Path(out.value), found, model, layer.value)
    return status


if __name__ == "__main__":
    sys.exit(main())
