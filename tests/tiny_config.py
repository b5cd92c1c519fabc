"""The tiny experiment as a config file, without evaluators: `tests/tiny_config.py:pretrain`."""

import ml_collections
import tiny


def get_config(arg: str = "pretrain") -> ml_collections.ConfigDict:
    return tiny.config_dict(tiny.experiment("", arg, evaluators={}))
