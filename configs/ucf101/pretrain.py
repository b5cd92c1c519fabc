"""Pretraining on UCF101: VideoMAE's recipe (Tong et al. 2022), and sound reconstructed with it.

    python -m av_mae.main --config=configs/ucf101/pretrain.py --workdir=runs/ucf101_pretrain

Arguments: `modalities=video` is VideoMAE itself; `variant=B/16x2`. Data: data/ucf101/README.md.
VideoMAE ran on 8 GPUs; its hours are not known. Half of the clips have sound; the others learn
from their pictures alone.

What to expect: with `modalities=video`, finetuned by configs/ucf101/finetune.py, top-1 91.3 and
top-5 98.5 (VideoMAE's model zoo, split 1). Nothing comparable is published for both modalities.
Not reproduced here.

With both, two layers on top see both modalities, and one decoder reconstructs either.
"""

import ml_collections

from configs import common


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    c = common.pretrain(
        common.options(arg, variant="B/16x2"),
        records="ucf101",
        video={
            "frames": 16,
            "stride": 4,
            "mask_ratio": 0.75,
            "masking": "tube",
            "mean": (0.485, 0.456, 0.406),
            "std": (0.229, 0.224, 0.225),
        },
        audio={"seconds": 2.56, "mels": 128, "mask_ratio": 0.75},
    )
    c.total, c.batch_size = "3200 epochs", 192
    c.lr = common.per_256(c, 3e-4)
    c.model.update(
        fusion="mid",
        fusion_layers=2,
        fusion_norm=False,
        gelu="erf",
        qkv_bias="qv",
        project_bias=False,
        normalise_targets="patch_channel",
    )
    c.augment.update(crop="multi_scale", flip=0.0)
    c.optim.update(
        b1=0.9,
        b2=0.95,
        weight_decay=0.05,
        warmup="40 epochs",
        min_lr=common.per_256(c, 1e-5),
    )
    c.checkpoint.every = "20 epochs"
    c.evaluators = common.evaluators(
        val={"kind": "reconstruction", "split": "val", "every": "100 epochs"},
        knn={"kind": "knn", "split": "val", "every": "100 epochs"},
    )
    return c
