"""Pretraining on HMDB51, by VideoMAE's recipe for UCF101 (Tong et al. 2022).

    python -m av_mae.main --config=configs/hmdb51/pretrain.py --workdir=runs/hmdb51_pretrain

Arguments: `variant=B/16x2`; `modalities=video` is all there is, most clips have no sound. Data:
data/hmdb51/README.md. Hardware and hours are not known.

What to expect: finetuned by configs/hmdb51/finetune.py, top-1 62.6 for B (VideoMAE's README). No
script for HMDB51 is published, so this may not be the recipe behind that number. Not reproduced
here. Starting from pretraining on Kinetics-400 instead, VideoMAE has 73.3.
"""

import ml_collections

from av_mae import recipes

ucf101 = recipes.load("ucf101/pretrain")


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    c = ucf101.recipe(recipes.options(arg, modalities="video"), "hmdb51")
    if "video" in c.modalities:
        c.modalities.video.fps = 30.0
    return c
