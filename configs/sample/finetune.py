"""Motion and sound of the embedded sample: a class is a pair of both, so either alone sees half.

    python -m av_mae.main --config=configs/sample/finetune.py --workdir=runs/demo/finetune \
        --config.init_from.path=runs/demo/pretrain

Arguments: `modalities=audio`, `modalities=video`, `modalities=audio,video`. `make demo` runs all
three, about two minutes each on two CPU cores, and prints their scores side by side.
"""

import ml_collections

from av_mae import recipes


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    c = recipes.finetune(
        recipes.options(arg, variant="pico/16x2"),
        records="sample",
        video={"frames": 8, "stride": 6, "size": 64},
        audio={"seconds": 1.92, "mels": 64},
    )
    c.total, c.batch_size = "300 steps", 32
    c.lr = 1e-3
    c.model.update(fusion="mid", fusion_layers=1)
    c.optim.update(b2=0.999, warmup="30 steps", clip=1.0, layer_decay=0.75)
    c.log_every = "20 steps"
    c.checkpoint.every = "100 steps"
    c.evaluators = recipes.evaluators(
        val={"split": "val", "every": "100 steps"},
        test={"split": "test", "every": "end"},
    )
    return c
