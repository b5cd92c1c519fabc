"""Finetuning on UCF101: VideoMAE's recipe (Tong et al. 2022), with sound as well.

    python -m av_mae.main --config=configs/ucf101/finetune.py --workdir=runs/ucf101_finetune \
        --config.init_from.path=runs/ucf101_pretrain

Arguments: `modalities=video` is VideoMAE itself; `variant=B/16x2`. Data: data/ucf101/README.md.
VideoMAE ran on 8 GPUs; its hours are not known.

What to expect: with `modalities=video` after 3200 epochs of pretraining on UCF101, top-1 91.3 and
top-5 98.5 from 5 x 3 views (VideoMAE's model zoo, split 1, training on all of its clips; see
data/ucf101/README.md for that); from pretraining on Kinetics-400 top-1 96.1 (its README). Not
reproduced here.

The recipe is Kinetics' but for what stands below. VideoMAE published it for B only.
"""

import ml_collections

from av_mae import recipes

kinetics400 = recipes.load("kinetics400/finetune")

RECIPE = kinetics400.Recipe(
    epochs=100,
    rate=5e-4,
    clips=8 * 16,
    layer_decay=0.7,
    drop_path=0.2,
    head_dropout=0.5,
    min_rate=1e-5,
)


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    return kinetics400.build(recipes.options(arg), "ucf101", RECIPE)
