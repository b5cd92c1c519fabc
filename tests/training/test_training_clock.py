"""The clock counts as waiting for input only what devices wait."""

import threading
import time

from av_mae.training import clock


class Step:
    """What a step gives, which its devices have once it is `done`."""

    def __init__(self):
        self.done = threading.Event()

    def block_until_ready(self):
        assert self.done.wait(60)


def seconds_waited(step: Step) -> float:
    watch = clock.Clock(0)
    watch.started(step)
    if step.done.is_set():
        time.sleep(0.1)  # until the clock has learnt of it
    with watch.waiting():
        time.sleep(0.2)
    step.done.set()
    seconds, share, _ = watch.lap(1)
    return seconds * share


def test_input_that_comes_while_devices_work_costs_nothing():
    assert seconds_waited(Step()) == 0


def test_devices_that_have_nothing_to_do_wait():
    step = Step()
    step.done.set()
    assert seconds_waited(step) >= 0.199
