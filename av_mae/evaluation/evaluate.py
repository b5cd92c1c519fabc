"""All evaluators of a config on the checkpoint of a workdir, written to `results.json`."""

import dataclasses
import json
import math
import pathlib

import jax
from absl import logging

from av_mae import evaluation
from av_mae.config import schema
from av_mae.experiment import checkpoint, fingerprint
from av_mae.experiment.run import Run
from av_mae.report import history, page


def evaluate(experiment: schema.Experiment, workdir: pathlib.Path) -> dict[str, float]:
    """Scores the best checkpoint of `workdir` (the newest, if none is kept as the best).

    An evaluator of other modalities than in training has them in its name, as in `test[audio]`, so
    that the scores of the whole model stay what they are.

    Returns:
        `{"<evaluator>/<metric>": value}`, also written to `<workdir>/results.json` and its report.

    Raises:
        ConfigError: no checkpoint, or one whose parameters or labels do not fit the config.
    """
    workdir = pathlib.Path(workdir)
    saved = checkpoint.read(workdir)
    named = {}
    for name, config in experiment.evaluators.items():
        usual = saved.experiment.evaluators.get(name, config).modalities
        other = f"[{','.join(config.modalities)}]" if config.modalities != usual else ""
        named[name + other] = config

    run = Run.build(dataclasses.replace(experiment, evaluators=named), train=False)
    if run.task.labelled:
        fingerprint.compare_labels(saved.labels, run.info.labels, workdir)
    pairs = (saved.params, run.abstract.params), (saved.rest, run.abstract.rest)
    for difference in filter(None, (fingerprint.difference(*pair) for pair in pairs)):
        raise schema.ConfigError(
            f"the checkpoint in {workdir} does not fit the config: {difference}; use the config "
            "that the run was trained with"
        )
    put = lambda x, like: jax.device_put(x, like.sharding)  # noqa: E731
    params, rest = (jax.tree.map(put, *pair) for pair in pairs)

    reporter = run.reporter(workdir, resume_step=None)
    evaluators = evaluation.make(run, reporter)
    if not evaluators:
        raise schema.ConfigError(
            f"no evaluator of the config runs on {run.experiment.dataset.path}, which has "
            f"{', '.join(run.info.splits)}; name one in evaluators.NAME.split"
        )
    results = evaluation.score(evaluators, list(evaluators), saved.step, params, rest)
    reporter.evaluation(saved.step, results)
    reporter.close()
    if jax.process_index() == 0:
        write(workdir, saved.step, results)
        page.finish(workdir)
    return results


def write(workdir: pathlib.Path, step: int, results: dict[str, float]) -> None:
    """Writes `results.json`, where other scores of the same step stay.

    A file that cannot be read is moved aside.
    """
    path, kept = workdir / history.RESULTS, {}
    try:
        if path.exists():
            before = json.loads(path.read_text())
            kept = dict(before["results"]) if before["step"] == step else {}
    except (ValueError, KeyError, TypeError) as error:
        aside = path.with_name(path.name + ".damaged")
        path.replace(aside)
        logging.warning("%s cannot be read (%r); it is kept as %s", path, error, aside)
    plain = {k: v if math.isfinite(v) else None for k, v in results.items()}  # JSON has no infinity
    history.write_whole(path, json.dumps({"step": step, "results": kept | plain}, indent=1))
