"""`python -m av_mae.main` with half a second to each batch, for tests that stop it between two."""

import runpy
import time

from av_mae.input import pipeline

if __name__ == "__main__":
    train_batches = pipeline.train_batches

    def slowly(*args, **kwargs):
        for batch in train_batches(*args, **kwargs):
            time.sleep(0.5)
            yield batch

    pipeline.train_batches = slowly
    runpy.run_module("av_mae.main", run_name="__main__")
