"""Audio-visual pretraining on AudioSet-2M, as Scenic's AV-MAE (Georgescu et al. 2023).

    python -m av_mae.main --config=configs/audioset/pretrain.py --workdir=runs/audioset_pretrain

Arguments: `modalities=audio,video`, `variant=L/16x2`. Data: data/audioset/README.md. Runs on an
accelerator pod: 1.9 million clips, 120 epochs, batch 512; `--config.compute.dtype=bfloat16` halves
the memory of activations. Published float32; hardware and hours were not.

What to expect: no score of its own; finetuned by configs/audioset/finetune.py, mAP 46.6 (audio),
31.1 (video), 51.8 (both), says Scenic's README for L. Not reproduced here.

One deliberate difference: sound is normalised with the data set's own mean and deviation, as
Scenic does in finetuning; its pretraining config leaves it as it is.
"""

import ml_collections

from av_mae import recipes


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    c = recipes.pretrain(
        recipes.options(arg, variant="L/16x2"),
        records="audioset",
        video={"frames": 16, "stride": 4, "mask_ratio": 0.9, "weight": 0.5},
        audio={"seconds": 10.0, "mels": 128, "mask_ratio": 0.7, "weight": 0.5},
    )
    c.seed = 42
    c.total, c.batch_size = "120 epochs", 512
    c.lr = recipes.per_256(c, 3e-4)
    c.dataset.multilabel = True
    c.model.update(fusion="mid", fusion_layers=2, decoder="shared")
    c.augment.update(crop="jitter", jitter_scale=(1.0, 1.0), flip=0.5)
    c.optim.update(b1=0.9, b2=0.95, weight_decay=0.05, warmup="4 epochs")
    c.evaluators = recipes.evaluators(
        test={"kind": "reconstruction", "split": "test", "every": "5 epochs"},
    )
    return c
