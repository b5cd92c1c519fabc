"""Finetuning on Kinetics-400: VideoMAE's recipe (Tong et al. 2022), with sound on request.

    python -m av_mae.main --config=configs/kinetics400/finetune.py \
        --workdir=runs/kinetics400_finetune --config.init_from.path=runs/kinetics400_pretrain

Arguments: `variant=S/16x2`, B, L or H; `modalities=audio,video`, where the default, `video`, is
VideoMAE itself. Data: data/kinetics400/README.md. VideoMAE ran on as many GPUs as stand before the
`*` below, with float16; its hours are not known. `--config.compute.dtype=bfloat16` is near to that.

What to expect: top-1 and top-5 from 5 x 3 views after 1600 epochs of pretraining (VideoMAE's model
zoo): S 79.0, 93.8; B 81.5, 95.1; L 85.2, 96.8; H 86.6, 97.1. Not reproduced here.
B after 800 epochs: 80.0, 94.4, with `--config.total="100 epochs" --config.dataset.repeat=1
--config.batch_size=512 --config.lr=2e-3 --config.optim.min_lr=2e-6`.
"""

import dataclasses

import ml_collections

from av_mae import recipes


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What differs between sizes; rates are for 256 clips, each of them `copies` times there."""

    epochs: int
    rate: float
    clips: int
    copies: int = 2
    layer_decay: float = 0.75
    drop_path: float = 0.1
    head_dropout: float = 0.0
    min_rate: float = 1e-6
    remat: str = "dots"


RECIPES = {
    "S": Recipe(epochs=150, rate=5e-4, clips=32 * 12),
    "B": Recipe(epochs=75, rate=5e-4, clips=64 * 6),
    "L": Recipe(epochs=35, rate=2e-3, clips=64 * 2),
    "H": Recipe(50, 1e-3, 64 * 8, drop_path=0.2, head_dropout=0.5, min_rate=1e-5, remat="full"),
}


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    chosen = recipes.options(arg, modalities="video")
    c = build(chosen, "kinetics400", recipes.for_size(RECIPES, chosen))
    c.evaluators.test.split = "val"  # the official validation set: what all numbers are of
    return c


def build(chosen: recipes.Options, records: str, r: Recipe) -> ml_collections.ConfigDict:
    """VideoMAE's finetuning. It counts clips; batches here count their copies."""
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    video = {"frames": 16, "stride": 4, "mean": mean, "std": std}
    audio = {"seconds": 2.56, "mels": 128}
    c = recipes.finetune(chosen, records=records, video=video, audio=audio)
    c.dataset.update(repeat=r.copies, sampling="dense_linspace")
    c.total, c.batch_size = f"{r.epochs} epochs", r.copies * r.clips
    c.lr = recipes.per_256(c, r.rate / r.copies)
    c.compute.remat = r.remat
    c.model.update(fusion="mid", fusion_layers=2, fusion_norm=False, gelu="erf", qkv_bias="qv")
    c.model.update(final_norm=False, head_norm=True, head_scale=0.001)
    c.model.update(head_dropout=r.head_dropout, drop_path=r.drop_path)
    c.augment.update(crop="random_resized", crop_area=(0.08, 1.0), crop_aspect=(0.75, 4 / 3))
    c.augment.update(rand_augment=4, rand_augment_magnitude=7.0, rand_augment_deviation=0.5)
    c.augment.update(flip=0.5, erase=0.25, mixup=0.8, cutmix=1.0)
    c.optim.update(b1=0.9, b2=0.999, weight_decay=0.05, label_smoothing=0.1)
    c.optim.update(warmup="5 epochs", min_lr=recipes.per_256(c, r.min_rate / r.copies))
    c.optim.update(schedule="cosine_videomae", layer_decay=r.layer_decay)
    views = {"batch_size": 16, "temporal_views": 5, "spatial_views": 3, "merge": "softmax"}
    c.evaluators = recipes.evaluators(
        val={"split": "val", "every": "5 epochs"},
        test={"split": "test", "every": "end", **views},
    )
    return c
