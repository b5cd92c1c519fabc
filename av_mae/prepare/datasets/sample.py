"""The embedded data set, rendered into OUT/media: nine classes of moving shapes with sounds.

A shape moves in one of three ways, to one of three sounds: a class is a pair (motion, sound).
Pictures alone tell three motions apart and sound alone three sounds, so that one modality can be
right in a third of the clips, and both together in all of them. Neither a single frame nor the
average spectrum gives the answer away: all motions share one distribution of shapes, sizes, places
and angles, and rising and falling tones pass through the same pitches.
"""

import contextlib
import dataclasses
import itertools
import json
import math
import os
import pathlib
from collections.abc import Callable, Mapping

import av
import numpy as np
from jaxtyping import Float, UInt8

from av_mae.input import storage
from av_mae.prepare import pool
from av_mae.prepare.datasets import folder
from av_mae.prepare.lists.listing import Listing, Options

TAKES = ()

MOTIONS = ("moving", "turning", "breathing")
SOUNDS = ("rising", "falling", "beeping")
CLASSES = tuple(f"{motion}+{sound}" for motion in MOTIONS for sound in SOUNDS)
CLIPS = {"train": 60, "val": 10, "test": 30}  # of each class

SIZE = 64
FPS = 25
SECONDS = 2.0
RATE = 44_100

# Changes when the same clip would look or sound different.
_REVISION = 1
_STAMP = "rendered.json"
_PATIENCE = 60.0


@dataclasses.dataclass(frozen=True)
class Task:
    """One file to render, from random numbers of its own."""

    path: str
    motion: str
    sound: str
    seed: tuple[int, ...]


def clips(source: str, options: Options) -> Listing:
    """Renders the files that do not exist yet, and lists all.

    Raises:
        ValueError: a source is given, or `out` is remote.
        OSError: the folder cannot be written.
    """
    if source:
        raise ValueError(f"--dataset=sample is rendered; leave out --source={source}")
    if storage.is_address(options.out):
        raise ValueError(f"--dataset=sample is rendered into a local folder, not {options.out}")
    media = pathlib.Path(options.out) / "media"
    render(media, options.workers)
    # The renderer's own stamp file lies beside the folders of the splits and is left out.
    return Listing(folder.clips(str(media), options).entries)


def render(root: pathlib.Path, workers: int, clips: Mapping[str, int] = CLIPS) -> None:
    """Renders `root/<split>/<motion>+<sound>/<number>.mp4`; files that are there are kept.

    Raises:
        OSError: the folder cannot be written.
    """
    stamp, revision = root / _STAMP, json.dumps({"revision": _REVISION})
    missing = [
        Task(f"{root}/{split}/{motion}+{sound}/{i:04d}.mp4", motion, sound, (_REVISION, s, c, i))
        for s, (split, count) in enumerate(clips.items())
        for c, (motion, sound) in enumerate(itertools.product(MOTIONS, SOUNDS))
        for i in range(count)
    ]
    if stamp.is_file() and stamp.read_text() == revision:
        missing = [task for task in missing if not os.path.exists(task.path)]
    for path in {os.path.dirname(task.path) for task in missing}:
        os.makedirs(path, exist_ok=True)
    if not stamp.is_file() and missing:
        stamp.write_text(revision)
    workers = min(workers, len(missing))
    results = pool.ordered(render_clip, missing, workers=workers, patience=_PATIENCE)
    with contextlib.closing(results):
        for task, lost in zip(missing, results, strict=True):
            if lost is not None:
                raise OSError(f"cannot render {task.path}: {lost.reason}")
    stamp.write_text(revision)


def render_clip(task: Task) -> None:
    """Writes one file with H.264 video and AAC sound, under another name until it is whole."""
    rng = np.random.default_rng(task.seed)
    frames, wave = draw(task.motion, rng), play(task.sound, rng)
    temporary = f"{task.path}.tmp"
    options = {"fflags": "+bitexact", "movflags": "+faststart"}
    with av.open(temporary, "w", format="mp4", options=options) as file:
        # Without the last option one file in five differs from the others.
        coding = {"preset": "veryfast", "crf": "20", "x264-params": "cpu-independent=1"}
        video = file.add_stream("libx264", rate=FPS, options=coding)
        video.height, video.width = frames.shape[1:3]
        video.pix_fmt = "yuv420p"
        video.thread_count = 1  # the same bytes on any number of cores
        audio = file.add_stream("aac", rate=RATE, layout="mono", options={"aac_coder": "fast"})
        for frame in frames:
            # Left to the encoder, the conversion's last bits differ from one run to the next.
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="yuv420p")
            file.mux(video.encode(picture))
        file.mux(video.encode(None))
        sound = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
        sound.sample_rate = RATE
        file.mux(audio.encode(sound))
        file.mux(audio.encode(None))
    os.replace(temporary, task.path)


def draw(motion: str, rng: np.random.Generator) -> UInt8[np.ndarray, "t h w 3"]:
    """Frames of a shape that keeps its colour on a shaded, noisy ground."""
    seconds_t = np.arange(round(SECONDS * FPS)) / FPS
    moves = _MOTIONS[motion](seconds_t, rng)
    place_t2, angle_t, radius_t = (np.asarray(x, np.float32) for x in moves)
    axis_s = np.arange(SIZE, dtype=np.float32) + np.float32(0.5)
    x_thw = axis_s[None, None, :] - place_t2[:, 0, None, None]
    y_thw = axis_s[None, :, None] - place_t2[:, 1, None, None]
    cos, sin = np.cos(angle_t)[:, None, None], np.sin(angle_t)[:, None, None]
    radius = radius_t[:, None, None]
    u_thw, v_thw = (cos * x_thw + sin * y_thw) / radius, (cos * y_thw - sin * x_thw) / radius
    outline = _OUTLINES[rng.integers(len(_OUTLINES))]
    inside_thw = np.clip((1.0 - outline(u_thw, v_thw)) * radius + 0.5, 0.0, 1.0)
    # A bright shape, and a darker ground that is shaded.
    colour_3, ground_3 = rng.uniform(150.0, 250.0, 3), rng.uniform(10.0, 80.0, 3)
    slope_23 = rng.uniform(-15.0, 15.0, (2, 3))
    line_s = np.linspace(-1.0, 1.0, SIZE)
    shade_hw3 = line_s[:, None, None] * slope_23[0] + line_s[None, :, None] * slope_23[1]
    colour_3, ground_hw3 = colour_3.astype(np.float32), (ground_3 + shade_hw3).astype(np.float32)
    frames = ground_hw3 + inside_thw[..., None] * (colour_3 - ground_hw3)
    frames += np.float32(rng.uniform(2.0, 8.0)) * rng.standard_normal(frames.shape, np.float32)
    return np.clip(frames, 0, 255).astype(np.uint8)


def play(sound: str, rng: np.random.Generator) -> Float[np.ndarray, " s"]:
    """A waveform in [-1, 1]: a tone with overtones, in noise, after a moment of silence."""
    seconds_s = np.arange(round(SECONDS * RATE)) / RATE
    pitch_s, loudness_s = _SOUNDS[sound](seconds_s, rng)
    phase_s = 2 * np.pi * np.cumsum(pitch_s) / RATE
    overtones = rng.uniform(0.0, 0.6, 2)
    tone_s = np.sin(phase_s)
    for i, strength in enumerate(overtones, start=2):
        tone_s += strength * np.sin(i * phase_s)
    tone_s *= loudness_s * (seconds_s > rng.uniform(0.0, 0.3)) / (1 + overtones.sum())
    noise_s = rng.normal(0.0, 10 ** rng.uniform(-2.5, -1.3), len(seconds_s))
    return np.clip(rng.uniform(0.15, 0.8) * (tone_s + noise_s), -1.0, 1.0).astype(np.float32)


def _still(seconds_t: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Place [t, 2], angle [t] and radius [t] of a shape that does nothing."""
    ones_t = np.ones_like(seconds_t)
    place = rng.uniform(0.3 * SIZE, 0.7 * SIZE, 2)
    return ones_t[:, None] * place, ones_t * rng.uniform(0, 2 * np.pi), ones_t * rng.uniform(13, 18)


def _moving(seconds_t: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    place_t2, angle_t, radius_t = _still(seconds_t, rng)
    direction = rng.uniform(0, 2 * np.pi)
    way = rng.uniform(40.0, 60.0) * np.array([np.cos(direction), np.sin(direction)])
    low, high = 0.15 * SIZE, 0.85 * SIZE
    # A triangle wave turns a straight way into one that bounces off the borders.
    turned = (place_t2 + seconds_t[:, None] * way - low) % (2 * (high - low))
    return low + np.minimum(turned, 2 * (high - low) - turned), angle_t, radius_t


def _turning(seconds_t: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    place_t2, angle_t, radius_t = _still(seconds_t, rng)
    speed = rng.choice([-1, 1]) * np.radians(rng.uniform(90.0, 200.0))
    return place_t2, angle_t + speed * seconds_t, radius_t


def _breathing(seconds_t: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    place_t2, angle_t, radius_t = _still(seconds_t, rng)
    phase_t = 2 * np.pi * (seconds_t / rng.uniform(0.9, 1.5) + rng.uniform())
    return place_t2, angle_t, radius_t * np.exp(0.5 * np.sin(phase_t))


def _rising(seconds_s: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Pitch [s] in hertz and loudness [s] of a tone that climbs again and again."""
    climbed_s = (seconds_s / rng.uniform(0.45, 0.8) + rng.uniform()) % 1.0
    pitch_s = _middle(rng) * np.exp2(rng.uniform(0.9, 1.5) * (climbed_s - 0.5))
    return pitch_s, np.minimum(1.0, 20 * np.minimum(climbed_s, 1.0 - climbed_s))


def _falling(seconds_s: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    pitch_s, loudness_s = _rising(seconds_s, rng)
    return pitch_s[::-1], loudness_s[::-1]


def _beeping(seconds_s: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    beat_s = (seconds_s / rng.uniform(0.25, 0.45) + rng.uniform()) % 1.0
    loudness_s = np.clip(20 * np.minimum(beat_s, 0.55 - beat_s), 0.0, 1.0)
    return np.full_like(seconds_s, _middle(rng)), loudness_s


def _middle(rng: np.random.Generator) -> float:
    return 500.0 * 4 ** rng.uniform()


# Shapes whose turning can be seen: below 1 inside, in units of the radius.
_OUTLINES: tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], ...] = (
    lambda u, v: np.maximum(np.abs(u), 2.5 * np.abs(v)),  # bar
    lambda u, v: np.hypot(u, 2.0 * v),  # ellipse
    lambda u, v: 2.0 * np.maximum(v, np.abs(u) * math.sqrt(0.75) - 0.5 * v),  # triangle
)

_MOTIONS = {"moving": _moving, "turning": _turning, "breathing": _breathing}
_SOUNDS = {"rising": _rising, "falling": _falling, "beeping": _beeping}
