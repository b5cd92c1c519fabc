"""A process finds the others of its run where a scheduler started them, and is alone elsewhere."""

import os
import subprocess
import sys

import pytest
import tiny

from av_mae.config import schema
from av_mae.training import host

_JOIN = """
import jax
from av_mae.training import host
host.join(None, None, None)
print(jax.process_index(), jax.process_count(), jax.device_count())
"""


def joined(environments):
    """What each process prints: its number, that of the processes, and that of their devices."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "OMPI_"))}
    clean |= {"XLA_FLAGS": tiny.xla_flags(1), "JAX_PLATFORMS": "cpu"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", _JOIN], env=clean | e, cwd=tiny.ROOT, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )
        for e in environments
    ]  # fmt: skip
    told = [process.communicate(timeout=120) for process in started]
    assert [p.returncode for p in started] == [0] * len(started), told
    return [out.split() for out, _ in told]


def of_slurm(number, **more):
    return {
        "SLURM_JOB_ID": str(os.getpid()),  # decides the port
        "SLURM_NTASKS": "2",
        "SLURM_PROCID": str(number),
        "SLURM_LOCALID": str(number),
        "SLURM_STEP_NUM_NODES": "1",
    } | more


def test_tasks_of_slurm_find_each_other():
    tasks = [of_slurm(number, SLURM_STEP_NODELIST="localhost") for number in range(2)]
    assert joined(tasks) == [["0", "2", "2"], ["1", "2", "2"]]


def test_processes_of_open_mpi_find_each_other():
    started = [
        {
            "OMPI_MCA_orte_hnp_uri": f"{os.getpid() * 2**12}.0;tcp://127.0.0.1:34911",
            "OMPI_COMM_WORLD_SIZE": "2",
            "OMPI_COMM_WORLD_RANK": str(number),
            "OMPI_COMM_WORLD_LOCAL_RANK": str(number),
        }
        for number in range(2)
    ]
    assert joined(started) == [["0", "2", "2"], ["1", "2", "2"]]


def test_a_shell_within_an_allocation_of_slurm_is_alone():
    assert joined([of_slurm(0)]) == [["0", "1", "1"]]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("localhost:1", None, None), "need all of --coordinator"),
        ((None, 2, 0), "need all of --coordinator"),
        (("localhost:1", 2, None), "need all of --coordinator"),
        (("localhost", 2, 0), "expected host:port"),
        (("localhost:1", 2, 2), "--process is 2 of --processes=2; expected 0 to 1"),
    ],
)
def test_half_a_cluster_is_refused(given, says):
    with pytest.raises(schema.ConfigError, match=says):
        host.join(*given)
