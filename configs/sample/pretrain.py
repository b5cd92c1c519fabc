"""Audio-visual pretraining on the embedded sample: two minutes on two CPU cores.

    python -m av_mae.main --config=configs/sample/pretrain.py --workdir=runs/demo/pretrain

Arguments: `modalities=audio,video`. Data: `python -m av_mae.prepare --dataset=sample
--out=records/sample`, rendered on the spot. `make demo` runs this and the three finetunings.
"""

import ml_collections

from av_mae import recipes


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    c = recipes.pretrain(
        recipes.options(arg, variant="pico/16x2"),
        records="sample",
        video={"frames": 8, "stride": 6, "size": 64, "mask_ratio": 0.75},
        audio={"seconds": 1.92, "mels": 64, "mask_ratio": 0.5},
    )
    c.total, c.batch_size = "300 steps", 32
    c.lr = 1e-3
    c.model.update(fusion="mid", fusion_layers=1)
    c.optim.update(warmup="30 steps", clip=1.0)
    c.log_every = "20 steps"
    c.checkpoint.every = "100 steps"
    c.evaluators = recipes.evaluators(
        val={"kind": "reconstruction", "split": "val", "every": "end"},
    )
    return c
