"""Audio-visual pretraining on spoken sentences of the GRID corpus: lips and voice, on a CPU.

    python -m av_mae.main --config=configs/grid/pretrain.py --workdir=runs/grid/pretrain

Arguments: `modalities=audio,video`. Data: data/grid/README.md (mouth crops at 25 frames a second,
3 s, 676 training clips of one talker). What to expect: 8 minutes on two CPU cores;
docs/results.md has the scores of what is finetuned from it.

A token is two frames (80 ms), or 40 ms of all mel bands. Four fifths of the sound is hidden, so
that lips help to fill it in; what stands still is taken out of the pictures, or else they are all
alike.
"""

import ml_collections

from av_mae import recipes

VIDEO = {
    "frames": 60,
    "stride": 1,
    "size": 32,
    "std": (0.05, 0.05, 0.05),
    "remove_still": True,
}
AUDIO = {"seconds": 2.4, "mels": 80, "patch": (4, 80)}


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    c = recipes.pretrain(
        recipes.options(arg, variant="nano/32x2"),
        records="grid",
        video=VIDEO | {"mask_ratio": 0.5},
        audio=AUDIO | {"mask_ratio": 0.8},
    )
    c.total, c.batch_size = "100 epochs", 32
    c.lr = 1e-3
    c.model.update(fusion="mid", fusion_layers=1, normalise_targets="patch")
    c.augment.update(crop="jitter", jitter_scale=(0.9, 1.1), flip=0.5)
    c.optim.update(warmup="5 epochs", clip=1.0)
    c.log_every = "1 epochs"
    c.checkpoint.every = "10 epochs"
    c.evaluators = recipes.evaluators(
        val={"kind": "reconstruction", "split": "val", "every": "25 epochs"},
    )
    return c
