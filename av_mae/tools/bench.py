"""How fast this machine trains an experiment: its steps, its input, and both together.

    python -m av_mae.tools.bench --config=configs/sample/pretrain.py --steps=20 --json=bench.json

Steps are timed on a batch that lies on the devices, input without any step, and both as in
training. `--clips=N --labels=N` measure steps on noise, without records. `--trace=DIR` writes a
profile of the last of them for TensorBoard or Perfetto.
"""

from typing import Any

from absl import flags

from av_mae.config import schema
from av_mae.experiment.run import Run
from av_mae.planning import speed
from av_mae.tools import experiments
from av_mae.training import host, loop

WHAT = ("step", "input", "both")
_WHAT = flags.DEFINE_list("what", list(WHAT), "What to time.")
_STEPS = flags.DEFINE_integer("steps", 20, "Steps, or batches, of each.", lower_bound=1)
_TRACE = flags.DEFINE_string("trace", None, "Folder for a profile of the last thing timed.")
flags.adopt_module_key_flags(experiments)  # so that --help names them, too


def main() -> None:
    """Runs the program; exits with 0, 65 (unusable records) or 78 (a config that cannot run)."""
    experiments.main("av_mae.tools.bench", _figures, speed.table)


def _figures(experiment: schema.Experiment) -> dict[str, Any]:
    host.keep_compiled()
    host.keep_memory()
    what, clips = _WHAT.value, experiments.CLIPS.value
    if not what or set(what) - set(WHAT):
        raise schema.ConfigError(f"--what={','.join(what)}: expected some of {', '.join(WHAT)}")
    if clips is not None:  # noise needs no input
        what = [name for name in what if name == "step"]
    bench = prepared(experiment, clips, experiments.LABELS.value)
    return speed.measure(bench, what, _STEPS.value, _TRACE.value)


def prepared(e: schema.Experiment, clips: int | None, labels: int | None) -> speed.Bench:
    """The step compiled for the experiment's records, or for noise where `clips` is given.

    Raises:
        ConfigError: the config cannot run here, or has neither records nor `clips`.
    """
    if clips is not None:
        return speed.on_noise(e, clips, labels or 0)
    run = Run.build(e)
    return speed.Bench(run, loop.batches(run, 0))


if __name__ == "__main__":
    main()
