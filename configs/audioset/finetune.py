"""Finetuning on AudioSet-500k (527 labels, several a clip) with MBT, as Scenic's AV-MAE.

    python -m av_mae.main --config=configs/audioset/finetune.py --workdir=runs/audioset_finetune \
        --config.init_from.path=runs/audioset_pretrain

Arguments: `modalities=audio,video`, `variant=L/16x2`. Data: data/audioset/README.md.

What to expect: mAP 46.6 (audio), 31.1 (video), 51.8 (both) from four clips, says Scenic's README
for L after 120 epochs of pretraining on AudioSet-2M. Not reproduced here.

Scenic's config also asks for masks in time, with a ratio of 0 that turns them off; so do we.
"""

import ml_collections

from av_mae import recipes


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    c = recipes.finetune(
        recipes.options(arg, variant="L/16x2"),
        records="audioset500k",
        video={"frames": 32, "stride": 2},
        audio={"seconds": 10.0, "mels": 128},
    )
    c.seed = 42
    c.total, c.batch_size = "50 epochs", 128
    c.lr = recipes.per_256(c, 3.2)
    c.dataset.multilabel = True
    c.model.update(
        fusion="bottleneck",
        fusion_layers=6,
        bottlenecks=4,
        fusion_norm=False,
        shared_norm=True,
        drop_path=0.3,
        drop_path_rescale=False,
    )
    c.augment.update(
        crop="jitter",
        jitter_scale=(0.9, 1.33),
        flip=0.5,
        color=0.8,
        gray=0.1,
        audio_roll=True,
        freq_masks=2,
        freq_mask_bins=36,
        mixup=0.5,
        mix_per_modality=True,
    )
    c.optim.update(
        name="sgd",
        momentum=0.9,
        weight_decay=0.0,
        warmup="2.5 epochs",
        clip=1.0,
        layer_decay=0.75,
        label_smoothing=0.3,
    )
    c.evaluators = recipes.evaluators(
        test={"split": "test", "every": "5 epochs"},
        test_4_clips={"split": "test", "every": "end", "batch_size": 32, "temporal_views": 4},
    )
    return c
