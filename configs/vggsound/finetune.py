"""Finetuning on VGGSound (309 classes) with MBT, as Scenic's AV-MAE.

    python -m av_mae.main --config=configs/vggsound/finetune.py --workdir=runs/vggsound_finetune \
        --config.init_from.path=runs/vggsound_pretrain

Arguments: `modalities=audio,video`, `variant=L/16x2`. Data: data/vggsound/README.md.

What to expect: top-1 57.2 (audio), 50.3 (video), 65.0 (both) from four clips, says Scenic's README
for L. Not reproduced here. The recipe is AudioSet's but for what stands below.

Scenic's config also asks for masks in time, with a ratio of 0 that turns them off; so do we.
"""

import ml_collections

from av_mae import recipes

audioset = recipes.load("audioset/finetune")


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    c = audioset.get_config(arg)
    c.dataset.update(path="records/vggsound", multilabel=False)
    if "audio" in c.modalities:
        c.modalities.audio.seconds = 8.0
    c.batch_size = 64
    c.model.fusion_layers = 8
    c.augment.update(audio_roll=False, freq_masks=1, freq_mask_bins=48)
    return c
