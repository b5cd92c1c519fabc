"""Peak memory and time of the tools for media on long files, which are made here.

python -m benchmarks.long_files --model=runs/demo/finetune_audio_video --out=long_files.json
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import av
import numpy as np
from absl import app, flags

_MODEL = flags.DEFINE_string("model", None, "Workdir of a classifier.", required=True)
_OUT = flags.DEFINE_string("out", None, "JSON file to write.", required=True)
_SHARE = flags.DEFINE_float("share", 1.0, "Of the lengths below, for a trial.", 0.0001, 1.0)

# (name, seconds, width, height, frames a second)
FILES = (
    ("10 s, 720p.mp4", 10, 1280, 720, 30),
    ("11 min, 720p.mp4", 660, 1280, 720, 30),
    ("2 h, 160 x 120.mp4", 7200, 160, 120, 25),
    ("2 h, 160 x 120.ts", 7200, 160, 120, 25),
)
COMMANDS = {
    "predict": ["predict"],
    "predict --hop=5": ["predict", "--hop=5"],
    "features": ["features", "--pooled_only", "--hop=5"],
}


def main(_: list[str]) -> None:
    """Measures every command on every file; the first file shows what the program takes itself."""
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for name, seconds, width, height, fps in FILES:
            path = pathlib.Path(folder, name)
            write(path, max(3, round(seconds * _SHARE.value)), width, height, fps)
            for command, words in COMMANDS.items():
                out = [f"--out={folder}/f.npz"] if words[0] == "features" else []
                found = measure(["-m", f"av_mae.tools.{words[0]}", f"--model={_MODEL.value}",
                                 *words[1:], *out, str(path)])  # fmt: skip
                results.append({"file": name, "command": command, **found})
                print(results[-1], flush=True)
            path.unlink()
    settings = {"cores": os.cpu_count(), "share": _SHARE.value}
    pathlib.Path(_OUT.value).write_text(json.dumps({**settings, "results": results}, indent=1))


def write(path: pathlib.Path, seconds: int, width: int, height: int, fps: int) -> None:
    """Moving stripes with a tone; a second of them is encoded once and repeated."""
    wave_s = (0.3 * np.sin(np.arange(16_000) * 0.2)).astype(np.float32)[None]
    with av.open(str(path), "w", format="mpegts" if path.suffix == ".ts" else None) as file:
        video, audio = file.add_stream("mpeg4", rate=fps), file.add_stream("aac", rate=16_000)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.options = {"g": "25"}
        audio.layout = "mono"
        stripes = np.tile(np.arange(width) % 64 * 4, (height, 1)).astype(np.uint8)
        shifted = [np.repeat(np.roll(stripes, i, 1)[..., None], 3, 2) for i in range(fps)]
        frames = [
            av.VideoFrame.from_ndarray(x, "rgb24").reformat(format="yuv420p") for x in shifted
        ]
        for second in range(seconds):
            for number, frame in enumerate(frames):
                frame.pts = second * fps + number
                file.mux(video.encode(frame))
            sound = av.AudioFrame.from_ndarray(wave_s, "fltp", "mono")
            sound.sample_rate, sound.pts = 16_000, second * 16_000
            file.mux(audio.encode(sound))
        file.mux(video.encode(None))
        file.mux(audio.encode(None))


def measure(arguments: list[str]) -> dict[str, float]:
    """Seconds and peak memory of a Python process, which has to succeed."""
    begin = time.monotonic()
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{arguments} failed")
    seconds = round(time.monotonic() - begin, 1)
    return {"seconds": seconds, "peak_mib": usage.ru_maxrss // 1024}


if __name__ == "__main__":
    app.run(main)
