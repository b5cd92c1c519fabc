"""Flags of the tools that look at a whole experiment: which one, and what stands in for records."""

from absl import flags
from ml_collections import config_flags

CONFIG = config_flags.DEFINE_config_file("config", None, "Experiment, as in configs/.")
CLIPS = flags.DEFINE_integer("clips", None, "Training clips; None: those of the records.")
LABELS = flags.DEFINE_integer("labels", None, "Labels; None: those of the records.")
JSON = flags.DEFINE_string("json", None, "File for all figures, as JSON.")
