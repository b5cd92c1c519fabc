"""Audio-visual pretraining on spoken sentences of the GRID corpus: lips and voice, on a CPU.

    python -m av_mae.main --config=configs/grid/pretrain.py --workdir=runs/grid_pretrain

Arguments: `modalities=audio,video`. Data: data/grid/README.md (mouth crops of 112 x 112 pixels at
25 frames a second, 3 s, 676 training clips of one talker). Results and hours: docs/results/.

A spectrogram patch is 40 ms of all mel bands, so that a token of sound covers the time of one
frame; half of the sound is hidden, in whole, so that lips help to fill it in.
"""

import ml_collections

from configs import common


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    c = common.pretrain(
        common.options(arg, variant="Ti/32x2"),
        records="grid",
        video={"frames": 30, "stride": 2, "size": 96, "mask_ratio": 0.8, "masking": "tube"},
        audio={"seconds": 2.4, "mels": 80, "patch": (4, 80), "mask_ratio": 0.6},
    )
    c.total, c.batch_size = "100 epochs", 32
    c.lr = 1e-3
    c.model.update(depth=6, fusion="mid", fusion_layers=2, normalise_targets="patch")
    c.model.update(decoder_depth=2)
    c.augment.update(crop="jitter", jitter_scale=(0.9, 1.1), flip=0.5)
    c.optim.update(warmup="5 epochs", clip=1.0)
    c.checkpoint.every = "10 epochs"
    c.evaluators = common.evaluators(
        val={"kind": "reconstruction", "split": "val", "every": "25 epochs"},
    )
    return c
