"""Motion and sound of the embedded sample, in `make demo` from a tenth of its labels.

    python -m av_mae.main --config=configs/sample/finetune.py --workdir=runs/demo/finetune \
        --config.init_from.path=runs/demo/pretrain --config.dataset.train='train[:10%]'

Arguments: `modalities=audio`, `modalities=video`, `modalities=audio,video`. A class is a pair of a
motion and a sound, so either alone is right in a third of the clips at best. Pretraining saw all
540 training clips without their labels; a tenth of them is 54, about six a class.

What to expect: half a minute for each on two CPU cores. `make demo` runs all three and the same
from scratch (without `init_from.path`), and prints their scores side by side.

So few clips are known by heart after 60 steps: strong augmentation keeps them from being.
"""

import ml_collections

from av_mae import recipes

pretrain = recipes.load("sample/pretrain")


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    c = recipes.finetune(
        recipes.options(arg, variant="pico/16x2"),
        records="sample",
        video=pretrain.VIDEO,
        audio=pretrain.AUDIO,
    )
    c.total, c.batch_size = "400 steps", 18
    c.lr = 1e-3
    c.model.update(fusion="mid", fusion_layers=1, positions="sincos3d", drop_path=0.1)
    c.augment.update(mixup=0.8, color=0.8, audio_roll=True, freq_masks=1, freq_mask_bins=16)
    c.optim.update(b2=0.999, warmup="20 steps", clip=1.0, label_smoothing=0.1)
    c.log_every = "50 steps"
    c.checkpoint.every = "200 steps"
    c.evaluators = recipes.evaluators(
        val={"split": "val", "every": "200 steps"},
        test={"split": "test", "every": "end"},
    )
    return c
