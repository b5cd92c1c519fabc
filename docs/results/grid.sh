#!/usr/bin/env bash
# One pretraining on GRID, six finetunings, the tables: writes docs/results/grid.md, and
# comparison.html beside the runs.
# Needs records/grid (data/grid/README.md); RUNS names the folder of the workdirs.
set -euo pipefail
records=${RECORDS:-records/grid}
runs=${RUNS:-runs/grid}
python=${PYTHON:-python}

train() { "$python" -m av_mae.main --config="$1" --config.dataset.path="$records" "${@:2}"; }

train configs/grid/pretrain.py --workdir="$runs/pretrain"
for modalities in audio video audio,video; do
  name=${modalities/,/_}
  train configs/grid/finetune.py:modalities="$modalities" \
    --workdir="$runs/${name}_pretrained" --config.init_from.path="$runs/pretrain" &
  train configs/grid/finetune.py:modalities="$modalities" \
    --workdir="$runs/${name}_scratch" &
  wait -n
  wait -n
done
"$python" -m av_mae.report --metric=test/accuracy,val/accuracy,test/loss \
  --workdirs="$runs/audio_scratch,$runs/video_scratch,$runs/audio_video_scratch,$runs/audio_pretrained,$runs/video_pretrained,$runs/audio_video_pretrained" \
  --out=docs/results/grid.md --html="$runs/comparison.html"
