"""All evaluators of a config on the checkpoint of a workdir, written to `results.json`."""

import dataclasses
import json
import math
import pathlib
from typing import Any

import jax
from absl import logging

from av_mae.config import schema
from av_mae.evaluation import evaluators
from av_mae.experiment import checkpoint, fingerprint
from av_mae.experiment.run import Run
from av_mae.report import history, page


def evaluate(experiment: schema.Experiment, workdir: pathlib.Path) -> dict[str, float]:
    """Scores the best checkpoint of `workdir` (the newest, if none is kept as the best).

    An evaluator that is given other modalities than in training says so in its name, as in
    `test[audio]`, so that the scores of the whole model stay what they are.

    Returns:
        `{"<evaluator>/<metric>": value}`, also written to `<workdir>/results.json` and its report.

    Raises:
        ConfigError: no checkpoint, or one whose parameters or labels do not fit the config.
    """
    workdir = pathlib.Path(workdir)
    saved = checkpoint.read(workdir)
    run = Run.build(_named_apart(experiment, saved.experiment))
    if run.task.labelled:
        checkpoint.compare_labels(saved.labels, run.info.labels, workdir)
    params = _place(saved.params, run.abstract.params, workdir)
    rest = _place(saved.rest, run.abstract.rest, workdir)
    reporter = run.reporter(workdir, resume_step=None)
    every = evaluators.make(run, reporter)
    results = evaluators.evaluate(every, list(every), saved.step, params, rest)
    reporter.evaluation(saved.step, results)
    reporter.close()
    if jax.process_index() == 0:
        write(workdir, saved.step, results)
        page.write(workdir)
    return results


def write(workdir: pathlib.Path, step: int, results: dict[str, float]) -> None:
    """Writes `results.json`, where other scores of the same step stay, and logs the numbers."""
    path = workdir / "results.json"
    kept = _kept(path, step)
    plain = {k: v if math.isfinite(v) else None for k, v in results.items()}  # JSON has no infinity
    text = json.dumps({"step": step, "results": kept | plain}, indent=1)
    history.write_whole(path, text)
    for name, value in results.items():
        logging.info("%-32s %.4f", name, value)


def _kept(path: pathlib.Path, step: int) -> dict[str, float | None]:
    """The scores of this step that are written already; a damaged file is moved aside."""
    if not path.exists():
        return {}
    try:
        before = json.loads(path.read_text())
        return dict(before["results"]) if before["step"] == step else {}
    except (ValueError, KeyError, TypeError) as error:
        aside = path.with_name(path.name + ".damaged")
        path.replace(aside)
        logging.warning("%s cannot be read (%r); it is kept as %s", path, error, aside)
        return {}


def _named_apart(experiment: schema.Experiment, trained: schema.Experiment) -> schema.Experiment:
    named = {}
    for name, evaluator in experiment.evaluators.items():
        usual = trained.evaluators.get(name, evaluator).modalities
        other = f"[{','.join(evaluator.modalities)}]" if evaluator.modalities != usual else ""
        named[name + other] = evaluator
    return dataclasses.replace(experiment, evaluators=named)


def _place(found: Any, abstract: Any, workdir: pathlib.Path) -> Any:
    """Puts host arrays where the run has them, after checking that they fit."""
    difference = fingerprint.difference(found, abstract)
    if difference:
        raise schema.ConfigError(
            f"the checkpoint in {workdir} does not fit the config: {difference}; use the config "
            "that the run was trained with"
        )
    return jax.tree.map(lambda x, s: jax.device_put(x, s.sharding), found, abstract)
