"""Pretraining on Something-Something V2: VideoMAE's recipe (Tong et al. 2022).

    python -m av_mae.main --config=configs/ssv2/pretrain.py --workdir=runs/ssv2_pretrain

Argument: `variant=S/16x2` or B. Data: data/ssv2/README.md; its videos have no sound. VideoMAE ran
on 32 GPUs (S) and 64 (B); its hours are not known.

What to expect: no score of its own; finetuned by configs/ssv2/finetune.py, which says what is
published. Not reproduced here.

The recipe is Kinetics' but for the stride of 2 and 2400 epochs; `--config.total="800 epochs"` is
VideoMAE's other B. For L and H, of which no script is published, it has Kinetics' batches.
"""

import ml_collections

from av_mae import recipes

kinetics400 = recipes.load("kinetics400/pretrain")


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    chosen = recipes.options(arg, modalities="video")
    clips = recipes.for_size(kinetics400.CLIPS, chosen)
    c = kinetics400.recipe(chosen, "ssv2", clips=clips, rate=1.5e-4)
    c.total = "2400 epochs"
    if "video" in c.modalities:
        c.modalities.video.update(stride=2, fps=12.0)
    return c
