"""Which digit is spoken? Ten classes of the GRID corpus, from lips, voice, or both, on a CPU.

    python -m av_mae.main --config=configs/grid/finetune.py --workdir=runs/grid/finetune \
        --config.init_from.path=runs/grid/pretrain

Arguments: `modalities=audio`, `modalities=video`, `modalities=audio,video`. Without
`init_from.path` the same training is from scratch. Data: data/grid/README.md. A linear model on
crude features gets .457 from sound, .367 from video and .610 from both. What to expect: 2
minutes on one CPU core for sound or lips, 4 for both; the scores are in docs/results.md.

A digit lasts a quarter of a second somewhere in the sentence, hence pooling by maximum: with the
mean, sound alone had learnt about half as much after 25 epochs. Sound and lips keep their own
encoders and heads to the end (late fusion): together in one layer, lips that know the training
clips by heart kept sound from being learnt.
"""

import ml_collections

from av_mae import recipes

pretrain = recipes.load("grid/pretrain")


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    c = recipes.finetune(
        recipes.options(arg, variant="nano/32x2"),
        records="grid",
        video=pretrain.VIDEO,
        audio=pretrain.AUDIO,
    )
    c.total, c.batch_size = "25 epochs", 32
    c.lr = 1e-3
    c.model.update(fusion="bottleneck", fusion_layers=0, shared_head=False)
    c.model.fusion_norm_layer = c.model.depth - 1  # where the pretrained model's fusion begins
    c.model.update(pool="max", drop_path=0.1)
    c.augment.update(
        crop="jitter",
        jitter_scale=(0.75, 1.3),
        flip=0.5,
        freq_masks=1,
        freq_mask_bins=16,
        time_masks=1,
        time_mask_columns=15,
    )
    c.optim.update(b2=0.999, warmup="3 epochs", clip=1.0, label_smoothing=0.1)
    c.log_every = "1 epochs"
    c.checkpoint.every = "5 epochs"
    c.evaluators = recipes.evaluators(
        val={"split": "val", "every": "5 epochs"},
        test={"split": "test", "every": "end"},
    )
    return c
