"""The clock counts as waiting for input only what devices wait."""

import threading
import time

from av_mae import timing


class Step:
    """What a step gives, which its devices have once it is `done`."""

    def __init__(self):
        self.done = threading.Event()

    def block_until_ready(self):
        assert self.done.wait(60)


def share_waited(step: Step) -> float:
    clock = timing.Clock(0)
    clock.started(step)
    time.sleep(0.05)  # the clock learns of a step that is done
    with clock.waiting():
        time.sleep(0.2)
    step.done.set()
    return clock.lap(1)[1]


def test_input_that_comes_while_devices_work_costs_nothing():
    assert share_waited(Step()) == 0


def test_devices_that_have_nothing_to_do_wait():
    step = Step()
    step.done.set()
    assert 0.5 < share_waited(step) <= 1
