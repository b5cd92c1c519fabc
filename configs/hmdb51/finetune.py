"""Finetuning on HMDB51 (51 classes), by VideoMAE's recipe for UCF101 (Tong et al. 2022).

    python -m av_mae.main --config=configs/hmdb51/finetune.py --workdir=runs/hmdb51_finetune \
        --config.init_from.path=runs/kinetics400_pretrain

Arguments: `variant=B/16x2`; `modalities=video` is all there is, most clips have no sound. Data:
data/hmdb51/README.md. Hardware and hours are not known.

What to expect: VideoMAE's README has, for B, top-1 73.3 from pretraining on Kinetics-400 (as in
the command above) and 62.6 from pretraining on HMDB51. No script for HMDB51 is published, so this
may not be the recipe behind these numbers. Not reproduced here.
"""

import ml_collections

from av_mae import recipes

kinetics400 = recipes.load("kinetics400/finetune")
ucf101 = recipes.load("ucf101/finetune")


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    c = kinetics400.build(recipes.options(arg, modalities="video"), "hmdb51", ucf101.RECIPE)
    if "video" in c.modalities:
        c.modalities.video.fps = 30.0
    return c
