"""What a run will need: memory, work and time of its real step, on devices one need not have.

    python -m av_mae.tools.plan --config=configs/audioset/pretrain.py --topology=v5p:4x4x4 \\
        --clips=1900000 --labels=527 --json=plan.json

For TPUs the step is compiled by libtpu, which needs no TPU; for GPUs that are not here the figures
are estimated from the config, and say so. `--topology=here` plans for this machine.
"""

from typing import Any

from absl import flags

from av_mae.config import schema
from av_mae.planning import plan
from av_mae.tools import experiments

_TOPOLOGY = flags.DEFINE_string(
    "topology", "here", "here, TPUs (v5e:16x16, 2*v5p:4x4x4), or GPUs (gpu:8, a100:16)."
)
_COSTS = flags.DEFINE_bool(
    "costs", True, "Count FLOPs and bytes of scanned layers, too: two more compilations."
)
_TEXT = flags.DEFINE_string(
    "text", None, "File for the compiled program, such as benchmarks.traffic reads."
)
flags.adopt_module_key_flags(experiments)  # so that --help names them, too


def main() -> None:
    """Runs the program; exits with 0 if the step fits, 1 if it does not, 65 for records that cannot
    be used and 78 for a bad config."""

    def figures(experiment: schema.Experiment) -> dict[str, Any]:
        return plan.make(
            experiment,
            _TOPOLOGY.value,
            experiments.CLIPS.value,
            experiments.LABELS.value,
            costs=_COSTS.value,
            text=_TEXT.value,
        )

    experiments.main(
        "av_mae.tools.plan", figures, plan.table, status=lambda found: int(found["fits"] is False)
    )


if __name__ == "__main__":
    main()
