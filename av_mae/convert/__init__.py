"""Checkpoints of other programs, in and out: one file a family, and the table of parameters."""
