"""Pretraining on Kinetics-400: VideoMAE's recipe (Tong et al. 2022), with sound on request.

    python -m av_mae.main --config=configs/kinetics400/pretrain.py \
        --workdir=runs/kinetics400_pretrain

Arguments: `variant=S/16x2`, B, L or H; `modalities=audio,video`, where the default, `video`, is
VideoMAE itself. Data: data/kinetics400/README.md. VideoMAE ran on 32 GPUs (S) and 64 (the others);
its hours are not known.

What to expect: no score of its own; finetuned by configs/kinetics400/finetune.py, which says what
is published. Nothing comparable is published for both modalities. Not reproduced here.

1600 epochs are for all sizes; `--config.total="800 epochs"` is VideoMAE's other B. Its programs run
one epoch more than they are asked for. With sound, two layers on top see both modalities, and one
decoder reconstructs either.
"""

import ml_collections

from av_mae import recipes

# Clips a batch, over all GPUs.
CLIPS = {"S": 32 * 32, "B": 64 * 32, "L": 64 * 8, "H": 64 * 16}
# Layers of the decoder; Scenic's L has 4, as in recipes.DECODERS.
DECODER_DEPTHS = {"S": 4, "B": 4, "L": 12, "H": 12}


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    chosen = recipes.options(arg, modalities="video")
    return recipe(chosen, "kinetics400", clips=recipes.for_size(CLIPS, chosen), rate=1.5e-4)


def recipe(
    chosen: recipes.Options, records: str, *, clips: int, rate: float
) -> ml_collections.ConfigDict:
    """VideoMAE's pretraining with a batch of `clips`, peak learning rate `rate` for 256 of them."""
    c = recipes.pretrain(
        chosen,
        records=records,
        video={
            "frames": 16,
            "stride": 4,
            "mask_ratio": 0.9,
            "masking": "tube",
            "mean": (0.485, 0.456, 0.406),
            "std": (0.229, 0.224, 0.225),
        },
        audio={"seconds": 2.56, "mels": 128, "mask_ratio": 0.75},
    )
    c.total, c.batch_size = "1600 epochs", clips
    c.lr = recipes.per_256(c, rate)
    c.model.update(
        fusion="mid",
        fusion_layers=2,
        fusion_norm=False,
        gelu="erf",
        qkv_bias="qv",
        decoder_depth=DECODER_DEPTHS.get(chosen.size, 4),
        project_bias=False,
        normalise_targets="patch_channel",
    )
    c.augment.update(crop="multi_scale", flip=0.0)
    c.optim.update(
        b1=0.9,
        b2=0.95,
        weight_decay=0.05,
        warmup="40 epochs",
        schedule="cosine_videomae",
        min_lr=recipes.per_256(c, 1e-5),
    )
    c.checkpoint.every = "20 epochs"
    c.evaluators = recipes.evaluators(
        val={"kind": "reconstruction", "split": "val", "every": "100 epochs"},
        knn={"kind": "knn", "split": "val", "every": "100 epochs"},
    )
    return c
