#!/usr/bin/env bash
# UCF101's seven classes with sound, through configs/ucf101 shrunk by flags only: one pretraining,
# six finetunings, the tables: writes docs/results/ucf101.md and comparison.html beside the runs.
# Needs records/ucf101; RUNS names the folder of the workdirs.
set -euo pipefail
records=${RECORDS:-records/ucf101}
runs=${RUNS:-runs/ucf101}
python=${PYTHON:-python}

train() {
  "$python" -m av_mae.main --config="$1" --config.dataset.path="$records" --config.batch_size=32 \
    --config.model.width=128 --config.model.depth=4 --config.model.heads=4 --config.model.mlp=512 \
    --config.optim.warmup="3 epochs" --config.optim.min_lr=1e-6 --config.optim.clip=1.0 \
    --config.optim.schedule=cosine \
    --config.log_every="1 epochs" --config.checkpoint.every="10 epochs" "${@:2}"
}
video=(--config.modalities.video.size=64 --config.modalities.video.patch="(2, 32, 32)")
audio=(--config.modalities.audio.mels=64 --config.modalities.audio.patch="(16, 32)")

train configs/ucf101/pretrain.py --workdir="$runs/pretrain" "${video[@]}" "${audio[@]}" \
  --config.total="40 epochs" --config.lr=1e-3 --config.model.decoder_width=96 \
  --config.model.decoder_depth=2 --config.model.decoder_heads=3 --config.model.decoder_mlp=384
finetune() {
  train configs/ucf101/finetune.py:modalities="$1" --workdir="$runs/${1/,/_}_$2" \
    --config.total="20 epochs" --config.lr=5e-4 --config.dataset.repeat=1 \
    --config.optim.layer_decay=0.9 --config.model.head_dropout=0.1 --config.augment.cutmix=0.0 --config.augment.mixup=0.2 \
    --config.augment.rand_augment=0 --config.augment.erase=0.0 --config.dataset.sampling=dense \
    --config.augment.crop_area="(0.5, 1.0)" --config.evaluators.val.every="10 epochs" "${@:3}"
}
for start in pretrained scratch; do
  from=()
  [[ $start == pretrained ]] && from=(--config.init_from.path="$runs/pretrain")
  finetune video "$start" "${video[@]}" "${from[@]}" &
  finetune audio "$start" "${audio[@]}" "${from[@]}" &
  wait -n
  wait -n
  finetune audio,video "$start" "${video[@]}" "${audio[@]}" "${from[@]}"
done
"$python" -m av_mae.report --metric=test/accuracy,val/accuracy,test/loss \
  --workdirs="$runs/audio_scratch,$runs/video_scratch,$runs/audio_video_scratch,$runs/audio_pretrained,$runs/video_pretrained,$runs/audio_video_pretrained" \
  --out=docs/results/ucf101.md --html="$runs/comparison.html"
