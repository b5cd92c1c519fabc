"""`python -m av_mae.prepare` with a sample of six clips a class, for tests of whole commands."""

import runpy

from av_mae.prepare.datasets import sample

if __name__ == "__main__":
    sample.CLIPS.update(train=4, val=1, test=1)
    runpy.run_module("av_mae.prepare", run_name="__main__")
