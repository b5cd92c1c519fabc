"""Finetuning on UCF101: VideoMAE's recipe (Tong et al. 2022), with sound as well.

    python -m av_mae.main --config=configs/ucf101/finetune.py --workdir=runs/ucf101_finetune \
        --config.init_from.path=runs/ucf101_pretrain

Arguments: `modalities=video` is VideoMAE itself; `variant=B/16x2`. Data: data/ucf101/README.md.
VideoMAE ran on 8 GPUs; its hours are not known.

What to expect: with `modalities=video` after 3200 epochs of pretraining on UCF101, top-1 91.3 and
top-5 98.5 from 5 x 3 views (VideoMAE's model zoo, split 1, training on all of its clips; see
data/ucf101/README.md for that). Not reproduced here: VideoMAE also uses RandAugment and random
erasing, which this project does not have.
"""

import ml_collections

from configs import common


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    c = common.finetune(
        common.options(arg, variant="B/16x2"),
        records="ucf101",
        video={
            "frames": 16,
            "stride": 4,
            "mean": (0.485, 0.456, 0.406),
            "std": (0.229, 0.224, 0.225),
        },
        audio={"seconds": 2.56, "mels": 128},
    )
    # VideoMAE counts clips: 8 GPUs x 16, each clip twice in its batch.
    c.dataset.repeat = 2
    c.total, c.batch_size = "100 epochs", 256
    c.lr = common.per_256(c, 5e-4 / 2)
    c.model.update(
        fusion="mid",
        fusion_layers=2,
        fusion_norm=False,
        gelu="erf",
        qkv_bias="qv",
        final_norm=False,
        head_norm=True,
        head_scale=0.001,
        head_dropout=0.5,
        drop_path=0.2,
    )
    c.augment.update(
        crop="random_resized",
        crop_area=(0.08, 1.0),
        crop_aspect=(0.75, 4 / 3),
        flip=0.5,
        mixup=0.8,
        cutmix=1.0,
    )
    c.optim.update(
        b1=0.9,
        b2=0.999,
        weight_decay=0.05,
        warmup="5 epochs",
        min_lr=common.per_256(c, 1e-5 / 2),
        layer_decay=0.7,
        label_smoothing=0.1,
    )
    c.evaluators = common.evaluators(
        val={"split": "val", "every": "5 epochs"},
        test={
            "split": "test",
            "every": "end",
            "batch_size": 16,
            "temporal_views": 5,
            "spatial_views": 3,
            "merge": "softmax",
        },
    )
    return c
