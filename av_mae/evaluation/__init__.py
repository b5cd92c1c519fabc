"""Scores of a model on a split: evaluators on a schedule, or all of them on a checkpoint."""
