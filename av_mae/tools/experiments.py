"""Flags of the tools that look at a whole experiment: which one, and what stands in for records."""

from absl import flags

from av_mae.config import command_line

CONFIG = command_line.define_config()
CLIPS = flags.DEFINE_integer("clips", None, "Training clips; None: those of the records.")
LABELS = flags.DEFINE_integer("labels", None, "Labels; None: those of the records.")
JSON = flags.DEFINE_string("json", None, "File for all figures, as JSON.")
