"""Pretraining on UCF101: VideoMAE's recipe (Tong et al. 2022), and sound reconstructed with it.

    python -m av_mae.main --config=configs/ucf101/pretrain.py --workdir=runs/ucf101_pretrain

Arguments: `modalities=video` is VideoMAE itself; `variant=B/16x2`. Data: data/ucf101/README.md.
VideoMAE ran on 8 GPUs; its hours are not known. Half of the clips have sound; the others learn
from their pictures alone.

What to expect: with `modalities=video`, finetuned by configs/ucf101/finetune.py, top-1 91.3 and
top-5 98.5 (VideoMAE's model zoo, split 1). Nothing comparable is published for both modalities.
Not reproduced here.

The recipe is Kinetics' but for what stands below. VideoMAE published it for B only.
"""

import ml_collections

from av_mae import recipes

kinetics400 = recipes.load("kinetics400/pretrain")


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    return recipe(recipes.options(arg), "ucf101")


def recipe(chosen: recipes.Options, records: str) -> ml_collections.ConfigDict:
    """VideoMAE's pretraining on a small data set."""
    c = kinetics400.recipe(chosen, records, clips=8 * 24, rate=3e-4)
    c.total = "3200 epochs"
    if "video" in c.modalities:
        c.modalities.video.mask_ratio = 0.75
    return c
