"""What one training step optimises: `pretrain` and `classify`."""

from collections.abc import Sequence

from av_mae.config import schema
from av_mae.tasks import classify, pretrain


def make(
    experiment: schema.Experiment, labels: Sequence[str]
) -> pretrain.Pretrain | classify.Classify:
    """The task of an experiment on a data set with these label names."""
    if experiment.task == "pretrain":
        return pretrain.Pretrain(experiment)
    return classify.Classify(experiment, len(labels))
