"""All evaluators of a config on the checkpoint of a workdir, written to `results.json`."""

import json
import pathlib
from typing import Any

import jax
from absl import logging

from av_mae import checkpoint, config, evaluators, run, sharding
from av_mae.report import page


def evaluate(experiment: config.Experiment, workdir: pathlib.Path) -> dict[str, float]:
    """Scores the best checkpoint of `workdir` (the newest, if none is kept as the best).

    Returns:
        `{"<evaluator>/<metric>": value}`, also written to `<workdir>/results.json` and its report.

    Raises:
        ConfigError: no checkpoint, or one whose parameters do not fit the config.
    """
    workdir = pathlib.Path(workdir)
    saved = checkpoint.read(workdir)
    plan = run.build(experiment)
    params = _place(saved.params, plan.abstract.params, workdir)
    rest = _place(saved.rest, plan.abstract.rest, workdir)
    reporter = plan.reporter(workdir, resume_step=None)
    every = evaluators.make(plan, reporter)
    results = evaluators.evaluate(every, list(every), saved.step, params, rest)
    reporter.evaluation(saved.step, results)
    reporter.close()
    if jax.process_index() == 0:
        write(workdir, saved.step, results)
        page.write(workdir)
    return results


def write(workdir: pathlib.Path, step: int, results: dict[str, float]) -> None:
    """Writes `results.json` and logs its numbers."""
    text = json.dumps({"step": step, "results": results}, indent=1)
    (workdir / "results.json").write_text(text)
    for name, value in results.items():
        logging.info("%-32s %.4f", name, value)


def _place(found: Any, abstract: Any, workdir: pathlib.Path) -> Any:
    """Puts host arrays where the plan wants them, after checking that they fit."""
    shapes = lambda tree: {  # noqa: E731
        sharding.path_name(k): v.shape for k, v in jax.tree_util.tree_flatten_with_path(tree)[0]
    }
    have, want = shapes(found), shapes(abstract)
    wrong = sorted(k for k in have.keys() | want.keys() if have.get(k) != want.get(k))
    if wrong:
        name = wrong[0]
        raise config.ConfigError(
            f"the checkpoint in {workdir} does not fit the config: {len(wrong)} arrays differ, "
            f"first {name}: {have.get(name)} there, {want.get(name)} wanted; use the config that "
            "the run was trained with"
        )
    return jax.tree.map(lambda x, s: jax.device_put(x, s.sharding), found, abstract)
