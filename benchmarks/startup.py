"""From the command to the end of the first step, by stage, with and without a compilation cache.

    python -m av_mae.prepare --dataset=sample --out=records/sample
    python -m benchmarks.startup --config=configs/sample/pretrain.py --out=startup.json

Starts the real program several times, at first with an empty cache, and reads what it says of its
own start in run.json. Import of the library alone is timed in a process of its own.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from absl import app, flags

from av_mae.config import command_line

_CONFIG = flags.DEFINE_string("config", "sample/pretrain", "Experiment to start.")
_STARTS = flags.DEFINE_integer("starts", 3, "Starts; the first one fills the cache.")
_OUT = flags.DEFINE_string("out", None, "File for the JSON; standard output if not given.")

_IMPORT = "import av_mae, sys; assert 'tensorflow' not in sys.modules"


def main(arguments: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        cache = os.environ | {"JAX_COMPILATION_CACHE_DIR": f"{folder}/cache"}
        starts = [
            start(pathlib.Path(folder) / str(number), cache, arguments[1:])
            for number in range(_STARTS.value)
        ]
    result = {
        "command": command_line.given("benchmarks.startup"),
        "import_seconds": [imported() for _ in range(_STARTS.value)],
        "starts": starts,
    }
    text = json.dumps(result, indent=1)
    if _OUT.value:
        pathlib.Path(_OUT.value).write_text(text + "\n")
    print(text)


def start(workdir: pathlib.Path, environment: dict[str, str], more: list[str]) -> dict[str, float]:
    """Seconds of each stage of one start, as run.json has them."""
    command = [
        sys.executable, "-m", "av_mae.main", f"--config={_CONFIG.value}", f"--workdir={workdir}",
        "--config.total=2 steps", "--config.optim.warmup=0 steps", *more,
    ]  # fmt: skip
    subprocess.run(command, env=environment, check=True, stdout=sys.stderr)
    return json.loads((workdir / "run.json").read_text())["sessions"][-1]["start_up"]


def imported() -> float:
    """Seconds of a process that imports the library, less those of one that does nothing."""
    seconds = []
    for code in (_IMPORT, "pass"):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        seconds.append(time.perf_counter() - begin)
    return seconds[0] - seconds[1]


if __name__ == "__main__":
    app.run(main)
