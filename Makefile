# `make demo` and `make test` are all a newcomer needs; both build .venv first.
PYTHON ?= python3
VENV ?= .venv

SHELL := /bin/bash
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/installed

.PHONY: help venv demo test lint format bench lock clean

help:
	@echo "make demo    prepare a sample, pretrain, finetune, evaluate; ends with a table and report.html"
	@echo "make test    the test suite"
	@echo "make lint    ruff and pyright"
	@echo "make format  rewrite the sources in the house style"
	@echo "make bench   speed of the training step and of the input pipeline"
	@echo "make lock    resolve the dependencies anew into requirements.lock"
	@echo "make clean   remove what the demo, the tests and the tools wrote (not .venv)"

venv: $(INSTALLED)

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; assert (3, 11) <= sys.version_info < (3, 14)' 2> /dev/null || \
		{ echo "Python 3.11, 3.12 or 3.13 is needed; name one: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --require-hashes -r requirements.lock
	$(PY) -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

# The commands of README.md, and the same for either modality alone and from scratch, from a tenth of
# the labels; tests/test_readme.py runs them.
demo: venv
	$(PY) -m av_mae.prepare --dataset=sample --out=records/sample
	$(PY) -m av_mae.main --config=configs/sample/pretrain.py --workdir=runs/demo/pretrain
	$(PY) -m av_mae.main --config=configs/sample/finetune.py:modalities=audio,video --workdir=runs/demo/finetune_audio_video --config.dataset.train='train[:10%]' --config.init_from.path=runs/demo/pretrain
	$(PY) -m av_mae.main --config=configs/sample/finetune.py:modalities=audio --workdir=runs/demo/finetune_audio --config.dataset.train='train[:10%]' --config.init_from.path=runs/demo/pretrain
	$(PY) -m av_mae.main --config=configs/sample/finetune.py:modalities=video --workdir=runs/demo/finetune_video --config.dataset.train='train[:10%]' --config.init_from.path=runs/demo/pretrain
	$(PY) -m av_mae.main --config=configs/sample/finetune.py:modalities=audio,video --workdir=runs/demo/scratch_audio_video --config.dataset.train='train[:10%]'
	$(PY) -m av_mae.report --workdirs=runs/demo/finetune_audio_video,runs/demo/finetune_audio,runs/demo/finetune_video,runs/demo/scratch_audio_video --metric=test/accuracy --html=runs/demo/comparison.html
	@echo "What one should see: with a tenth of the labels, the pretrained model (finetune_audio_video)"
	@echo "is far above the same model from random weights (scratch_audio_video), and above either modality alone."
	@echo "curves and reconstructions: runs/demo/pretrain/report.html; comparison: runs/demo/comparison.html"

# Two processes, a module to each: most of the time goes into compilers that use one core.
test: venv
	$(PY) -m pytest --numprocesses=2 --dist=loadscope --no-loadscope-reorder

lint: venv
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m pyright

format: venv
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

bench: venv
	$(PY) -m benchmarks.input --quick
	$(PY) -m av_mae.tools.bench --config=configs/audioset/pretrain.py:variant=B/16x2 --clips=200 --labels=527 --steps=8 --config.batch_size=2 --config.compute.scan=False

lock:
	$(PY) -m uv pip compile pyproject.toml --universal --python-version 3.11 --upgrade --quiet \
		--extra prepare --extra beam --extra convert --extra dev --generate-hashes --no-annotate \
		--custom-compile-command "make lock" --output-file requirements.lock

clean:
	rm -rf runs/demo records/sample build dist *.egg-info .pytest_cache .ruff_cache
	find av_mae configs tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
