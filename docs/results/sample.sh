#!/usr/bin/env bash
# What pretraining is worth on the sample with a tenth of its labels: the runs of `make demo` with three
# seeds, both modalities from scratch, too. Writes comparison.html and a table beside the runs.
# Needs records/sample (data/sample/README.md); RUNS names the folder of the workdirs.
set -euo pipefail
records=${RECORDS:-records/sample}
runs=${RUNS:-runs/sample}
python=${PYTHON:-python}

train() { "$python" -m av_mae.main --config="$1" --config.dataset.path="$records" "${@:2}"; }

for seed in 0 1 2; do
  train configs/sample/pretrain.py --workdir="$runs/pretrain_$seed" --config.seed=$seed
  finetune() {
    train configs/sample/finetune.py:modalities="$1" --workdir="$runs/$2_$seed" --config.seed=$seed \
      --config.dataset.train='train[:10%]' "${@:3}"
  }
  finetune audio,video scratch
  for modalities in audio,video audio video; do
    finetune $modalities ${modalities/,/_}_pretrained --config.init_from.path="$runs/pretrain_$seed"
  done
done
"$python" -m av_mae.report --metric=test/accuracy \
  --workdirs="$(printf "$runs/%s," {audio_video_pretrained,scratch,audio_pretrained,video_pretrained}_{0,1,2} | sed 's/,$//')" \
  --out="$runs/sample.md" --html="$runs/comparison.html"
