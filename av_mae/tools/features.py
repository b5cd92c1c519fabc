"""Features of media files of any length: `python -m av_mae.tools.features --model --out FILE...`.

Bad files are named, and the others are written.
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
    flags.DEFINE_string("out", None, "npz file to write.", required=True, flag_values=own)
    files.slide(own, "the window")
    meaning = "Layer whose tokens to write; default: the output."
    flags.DEFINE_integer("layer", None, meaning, flag_values=own)
    flags.DEFINE_bool("pooled_only", False, "Leave out the tokens.", flag_values=own)
    try:
        paths = files.parse(own, argv, f"{__doc__}\n{features.__doc__}")
        if not own.out.endswith(".npz"):
            raise ValueError(f"--out={own.out} is no npz file; use --out={own.out}.npz")
        model, names = files.load(own)
        model.check_layer(own.layer)
    except ValueError as error:
        return files.leave(error)
    found: dict[str, features.Features] = {}

    def work(path: str) -> None:
        extracted = features.extract(
            model,
            path,
            window=own.window,
            hop=own.hop,
            modalities=names,
            layer=own.layer,
            start=own.start,
            end=own.end,
            frame_rate=own.frame_rate,
        )
        if own.pooled_only:
            extracted = dataclasses.replace(extracted, tokens={})
        found[path] = extracted
        print(f"{path}: {len(extracted.windows)} windows", file=sys.stderr, flush=True)

    status = files.each(paths, work)
    if found:
        features.write(pathlib.Path(own.out), found, model, own.layer)
    return status


if __name__ == "__main__":
    sys.exit(main())
