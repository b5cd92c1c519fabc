"""Audio-visual pretraining on the embedded sample: about two minutes on two CPU cores.

    python -m av_mae.main --config=configs/sample/pretrain.py --workdir=runs/demo/pretrain

Arguments: `modalities=audio,video`. Data: `python -m av_mae.prepare --dataset=sample
--out=records/sample`, rendered on the spot. `make demo` runs this and the finetunings.

What to expect: the error of the hidden patches falls to about half of that of predicting the mean
patch everywhere, of pictures and of sound. The page shows it: the grey blur of step 500 takes the
place, the colour and roughly the outline of the shape, and hidden tones go on at their pitch.

Two things matter most on so little data: inputs of unit variance (the sample's pictures are dark),
and many small steps.
"""

import ml_collections

from av_mae import recipes

VIDEO = {
    "frames": 8,
    "stride": 6,
    "size": 64,
    # Of the sample's pictures; with the usual .5 and .5 most of the error is the background's.
    "mean": (0.2, 0.2, 0.2),
    "std": (0.19, 0.19, 0.19),
}
AUDIO = {"seconds": 1.92, "mels": 64}


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    c = recipes.pretrain(
        recipes.options(arg, variant="pico/16x2"),
        records="sample",
        video=VIDEO | {"mask_ratio": 0.75},
        audio=AUDIO | {"mask_ratio": 0.5},
    )
    c.total, c.batch_size = "1500 steps", 16
    c.lr = 1.5e-3
    c.model.update(fusion="mid", fusion_layers=1)
    c.model.update(positions="sincos3d", decoder_positions="sincos3d")
    c.optim.update(warmup="75 steps", clip=1.0)
    c.log_every = "50 steps"
    c.checkpoint.every = "500 steps"
    c.evaluators = recipes.evaluators(
        val={"kind": "reconstruction", "split": "val", "every": "500 steps"},
    )
    return c
