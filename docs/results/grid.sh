#!/usr/bin/env bash
# One pretraining on GRID, six finetunings, and the two best of them with two more seeds: writes
# docs/results/grid.md, and comparison.html beside the runs.
# Needs records/grid (data/grid/README.md); RUNS names the folder of the workdirs.
set -euo pipefail
records=${RECORDS:-records/grid}
runs=${RUNS:-runs/grid}
python=${PYTHON:-python}

train() { "$python" -m av_mae.main --config="$1" --config.dataset.path="$records" "${@:2}"; }

train configs/grid/pretrain.py --workdir="$runs/pretrain"
finetune() { train configs/grid/finetune.py:modalities="$1" --workdir="$runs/${1/,/_}_$2" "${@:3}"; }
start=--config.init_from.path="$runs/pretrain"
for modalities in audio video audio,video; do
  finetune $modalities pretrained "$start" &
  finetune $modalities scratch &
  wait -n
  wait -n
done
for seed in 1 2; do
  finetune audio pretrained_$seed "$start" --config.seed=$seed &
  finetune audio,video pretrained_$seed "$start" --config.seed=$seed &
  wait -n
  wait -n
done
"$python" -m av_mae.report --metric=test/accuracy,val/accuracy,test/loss \
  --workdirs="$(printf "$runs/%s," {audio,video,audio_video}_{scratch,pretrained} {audio,audio_video}_pretrained_{1,2} | sed 's/,$//')" \
  --out=docs/results/grid.md --html="$runs/comparison.html"
