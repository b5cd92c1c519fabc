"""Audio-visual pretraining on VGGSound, as Scenic's AV-MAE (Georgescu et al. 2023).

    python -m av_mae.main --config=configs/vggsound/pretrain.py --workdir=runs/vggsound_pretrain

Arguments: `modalities=audio,video`, `variant=L/16x2`. Data: data/vggsound/README.md. Runs on an
accelerator pod: 172 thousand clips, 400 epochs, batch 512; `--config.compute.dtype=bfloat16`
halves the memory of activations. Published float32; hardware and hours were not.

What to expect: no score of its own; finetuned by configs/vggsound/finetune.py, top-1 57.2 (audio),
50.3 (video), 65.0 (both), says Scenic's README for L. Not reproduced here.
"""

import ml_collections

from av_mae import recipes


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    c = recipes.pretrain(
        recipes.options(arg, variant="L/16x2"),
        records="vggsound",
        video={"frames": 16, "stride": 4, "mask_ratio": 0.9, "weight": 0.5},
        audio={"seconds": 8.0, "mels": 128, "mask_ratio": 0.5, "weight": 0.5},
    )
    c.seed = 42
    c.total, c.batch_size = "400 epochs", 512
    c.lr = recipes.per_256(c, 1.5e-4)
    c.model.update(fusion="separate", decoder="shared")
    c.augment.update(crop="jitter", jitter_scale=(1.0, 1.0), flip=0.5)
    c.optim.update(b1=0.9, b2=0.95, weight_decay=0.05, warmup="4 epochs")
    c.evaluators = recipes.evaluators(
        test={"kind": "reconstruction", "split": "test", "every": "10 epochs"},
        knn={"kind": "knn", "split": "test", "every": "50 epochs"},
    )
    return c
