"""Work in processes that may hang, die or fail."""

import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest

from av_mae.prepare import pool


def double(number):
    time.sleep(0.02 * (number % 3))  # later tasks end before earlier ones
    return 2 * number


kept = []


def obstinate(task):
    if task == "hang":
        time.sleep(600)
    if task == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if task == "grow":
        return len(b"x" * 2**29)
    if task == "grow and hang":
        grown = b"x" * 2**29
        time.sleep(600)
        return len(grown)
    if task == "grow a little":
        kept.append(b"x" * 2**26)
    if task == "fail":
        raise KeyError("of the work's own making")
    if task.startswith("die amid"):  # while the result is on its way
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGKILL)).start()
        return b"x" * 2**28
    if task.startswith("die once") and not os.path.exists(task.split()[-1]):
        open(task.split()[-1], "w").close()
        os.kill(os.getpid(), signal.SIGSEGV)
    return os.getpid() if task == "who" else task


def results(tasks, workers=2, patience=60.0, work=obstinate, memory=None):
    made = pool.ordered(work, tasks, workers=workers, patience=patience, memory=memory)
    return list(made)


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_tasks(workers):
    assert results(range(40), workers, work=double) == [2 * i for i in range(40)]


def test_nothing_to_do_starts_nothing():
    assert results([], workers=0) == []


def test_a_hung_task_costs_itself_only():
    found = results(["a", "hang", "b", "c"], patience=1.0)
    assert found == ["a", pool.Lost("took too long: more than 1 s"), "b", "c"]


def test_a_task_that_kills_its_process_costs_itself_only():
    found = results(["a", "die", "b", "c"])
    assert found == [
        "a",
        pool.Lost("decoder crashed: its process ended with SIGKILL"),
        "b",
        "c",
    ]


def test_a_process_that_dies_amid_its_answer_leaves_the_others_alone():
    found = results(["a", "die amid", "b", "c"])
    assert found[1] == pool.Lost("decoder crashed: its process ended with SIGKILL")
    assert found[:1] + found[2:] == ["a", "b", "c"]


def test_a_task_whose_process_was_killed_by_chance_is_done_again(tmp_path):
    task = f"die once {tmp_path / 'dead'}"
    assert results(["a", task, "b"]) == ["a", task, "b"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell the size")
@pytest.mark.parametrize("greedy", ["grow", "grow and hang"])
def test_a_task_that_needs_too_much_memory_costs_itself_only(greedy):
    lost = pool.Lost("out of memory: more than 0.25 GiB")
    assert results(["a", greedy, "b"], workers=1, memory=2**28) == ["a", lost, "b"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell the size")
def test_a_process_that_grew_over_many_tasks_costs_none_of_them():
    little = ["grow a little"] * 6
    assert results(little, workers=1, memory=2**28) == little


def test_a_task_that_needs_memory_gets_it_without_a_limit():
    assert results(["grow"]) == [2**29]


def test_an_error_of_the_work_is_raised_with_its_traceback():
    with pytest.raises(pool.WorkError, match="of the work's own making"):
        results(["a", "fail", "b"])


def test_tasks_are_not_begun_far_ahead():
    begun = []

    def tasks():
        for i in range(1000):
            begun.append(i)
            yield i

    taking = pool.ordered(double, tasks(), workers=1, patience=60.0)
    next(taking)
    assert len(begun) < 10
    taking.close()


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_leaving_early_leaves_no_process():
    taking = pool.ordered(obstinate, ["who", *["hang"] * 10], workers=1, patience=60.0)
    worker = next(taking)
    assert alive(worker)
    taking.close()
    assert not alive(worker)


HANGING = """
import sys, test_pool
for pid in test_pool.pool.ordered(test_pool.obstinate, ["who", "hang"], workers=1, patience=600):
    print(pid, flush=True)
"""


def test_a_busy_process_ends_when_its_parent_is_killed():
    parent = subprocess.Popen(
        [sys.executable, "-c", HANGING],
        cwd=pathlib.Path(__file__).parent,
        stdout=subprocess.PIPE,
        text=True,
    )
    worker = int(parent.stdout.readline())
    time.sleep(0.3)  # it hangs now
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 20
    while alive(worker) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(worker)
