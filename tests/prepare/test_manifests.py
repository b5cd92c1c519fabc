"""The 74 real and broken files of the shared folder against what their manifests say of them."""

import csv
import ctypes
import itertools
import math
import os
import re

import made_media
import numpy as np
import pytest

from av_mae.prepare import pool
from av_mae.prepare.media import container, decode

FPS = 12.5

# Refused, as both columns `what` and `expect` of the manifest demand.
REFUSED = {
    "trunc_moov_missing.mp4": "not a media file",
    "zero_byte.mp4": "empty file",
    "text_renamed.mp4": "not a media file",
    "random_bytes.avi": "not a media file",
    "html_404.mp4": "not a media file",
    "audio_only.mp4": "no video stream",
}
DAMAGED = {
    "trunc_faststart_half.mp4": "cut off: 4.64 of 10.00 s",
    "trunc_avi.avi": "cut off",
    "trunc_webm.webm": "cut off: 2.67 of 8.27 s",
    "bitflips.mp4": "picture damaged after 2.83 s",
    "decord_corrupted.mp4": "picture damaged after 2.80 s",
}
# The manifest describes the first streams of this file; here the best ones are taken.
SEVERAL_STREAMS = {"tcodec_nasa_13013.mp4": (480, 270, 390, 29.97)}
ROTATED = {"decord_video_90.mov", "decord_video_270.mov", "rotated90.mp4"}
COUNT = 74


@pytest.fixture(scope="module")
def files(shared):
    """{file name: its row with the columns of `bad` named as those of `clips`, path}."""
    found = {}
    for folder in ("clips", "bad"):
        with open(shared / "data" / folder / "manifest.csv", newline="") as file:
            for row in csv.DictReader(file):
                path = shared / "data" / folder / row["file"]
                found[row["file"]] = (_common(row), path)
    assert len(found) == COUNT
    return found


def _common(row):
    """(width, height, fps, frames, seconds of sound or None, seconds, pixel aspect)."""
    size = row.get("resolution") or row.get("pyav_size") or "0x0"
    sound = row.get("audio_seconds_decoded", row.get("audio_s_decoded"))
    aspect = re.search(r"SAR (\d+)/(\d+)", row.get("notes", ""))
    return {
        "width": int(size.split("x")[0]),
        "height": int(size.split("x")[1]),
        "fps": float(row.get("fps") or row.get("pyav_fps") or 0),
        "frames": int(row.get("video_frames_decoded") or row.get("frames_decoded") or 0),
        "sound": float(sound) if sound else None,
        "seconds": float(row.get("duration_s") or row.get("header_duration_s") or 0),
        "aspect": int(aspect[1]) / int(aspect[2]) if aspect else 1.0,
        "silent": row.get("audio_rms_db") == "-120.0" or row["file"] == "silent_audio.mp4",
    }


def decoded(path):
    """The clip of a file at 12.5 frames a second, its pictures averaged, or why there is none."""
    try:
        return decode.decode(path, _small, fps=FPS, short_side=256)
    except container.UnreadableError as error:
        return str(error)


def _small(picture_hw3):
    return picture_hw3.astype(np.float32).mean((0, 1))


@pytest.fixture(scope="module")
def outcomes(files):
    paths = [str(path) for _, path in files.values()]
    results = pool.ordered(decoded, paths, workers=2, patience=60.0)
    return dict(zip(files, results, strict=True))


@pytest.fixture(scope="module")
def clips(outcomes):
    return {name: clip for name, clip in outcomes.items() if not isinstance(clip, str)}


def test_what_is_refused_and_why(outcomes):
    refused = {name: reason for name, reason in outcomes.items() if isinstance(reason, str)}
    assert {name: reason.partition(":")[0] for name, reason in refused.items()} == REFUSED


def test_what_is_damaged_and_how(clips):
    damaged = {name: clip.damage for name, clip in clips.items() if clip.damage}
    assert damaged.keys() == DAMAGED.keys()
    for name, reason in DAMAGED.items():
        assert reason in damaged[name]


def test_sound_where_the_manifest_has_sound_and_as_long(files, clips):
    for name, clip in clips.items():
        row, _ = files[name]
        assert (clip.audio is not None) == (row["sound"] is not None), name
        if clip.audio is not None and name not in DAMAGED:
            late = {"audio_late.mp4": 2.976, "video_late.mp4": -2.0}.get(name, 0.0)
            # Sound is cut or filled up to the first picture, at most 0.05 s in the other files.
            assert len(clip.audio) / 16_000 == pytest.approx(row["sound"] + late, abs=0.05), name
            assert row["silent"] == (np.abs(clip.audio).max() < 2), name


def test_sizes_upright_with_square_pixels(files, clips):
    for name, clip in clips.items():
        row, _ = files[name]
        width, height = row["width"] * row["aspect"], row["height"]
        if name in SEVERAL_STREAMS:
            width, height = SEVERAL_STREAMS[name][:2]
        if name in ROTATED:
            width, height = height, width
        scale = min(1.0, 256 / min(width, height))
        assert clip.width == pytest.approx(width * scale, abs=1.1), name
        assert clip.height == pytest.approx(height * scale, abs=1.1), name


def length(row, name):
    """Seconds of picture that the frames of a row make up."""
    if name in SEVERAL_STREAMS:
        return SEVERAL_STREAMS[name][2] / SEVERAL_STREAMS[name][3]
    if name == "raw_h264.mp4":  # 125 frames; its own rate is 12.5, 25 is a default of libavformat
        return row["frames"] / 12.5
    return row["frames"] / row["fps"]


def test_as_many_frames_as_the_pictures_last(files, clips):
    for name, clip in clips.items():
        row, _ = files[name]
        if name in DAMAGED:
            least = math.ceil(length(row, name) * FPS - 1)
            assert least <= len(clip.frames) <= row["seconds"] * FPS + 4, name
        elif name == "mee_echo-hereweare.webm":  # 836 frames at "30" with long gaps
            assert len(clip.frames) == pytest.approx(row["seconds"] * FPS, abs=2), name
        else:
            assert len(clip.frames) == pytest.approx(length(row, name) * FPS, abs=1.6), name


def test_every_frame_of_the_manifest_is_decoded(files, clips):
    """At the file's own rate, frames and manifest agree one by one."""
    varying = {"vfr.mp4", "mee_echo-hereweare.webm", "mma2_ntu_rgb.avi", "ae_h264-png_cover.mkv"}
    for name in clips.keys() - DAMAGED.keys() - SEVERAL_STREAMS.keys() - varying:
        row, path = files[name]
        if row["width"] * row["height"] * row["frames"] > 1e7:
            continue  # the larger ones are only slower
        clip = decode.decode(path, _small, fps=None, short_side=64)
        assert len(clip.frames) == pytest.approx(row["frames"], abs=1), name


def test_durations(files, clips):
    for name, clip in clips.items():
        row, _ = files[name]
        if row["seconds"] and name not in DAMAGED:
            late = 2.0 if name == "video_late.mp4" else 0.0
            assert clip.start == pytest.approx(late, abs=0.045), name
            assert clip.duration + clip.start == pytest.approx(row["seconds"], abs=0.05), name


def test_long_gaps_between_frames_hold_the_picture(clips):
    """Variable rate: neighbours repeat where the file runs at 4 frames a second."""
    pictures = clips["vfr.mp4"].frames
    same = [np.array_equal(a, b) for a, b in itertools.pairwise(pictures)]
    assert 0.1 < np.mean(same) < 0.7


def test_the_cover_is_not_the_video(clips):
    means = np.stack(clips["ae_h264-png_cover.mkv"].frames)
    assert len(means) == 26 and np.ptp(means, 0).max() > 0.1  # a running test card


# What the heap keeps for itself is given back first: what is left is in use.
AGAIN = """
import ctypes, gc, sys
from av_mae.prepare.media import container, decode
def memory():
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20
after = []
for i in range(8):
    for path in sys.argv[1:]:
        try:
            decode.decode(path, lambda picture: 0, fps=1.0, short_side=32)
        except container.UnreadableError:
            pass
    after.append(memory())
print(after[-1] - after[2])
"""


@pytest.mark.skipif(
    not os.path.exists("/proc/self/statm") or not hasattr(ctypes.CDLL(None), "malloc_trim"),
    reason="needs /proc and the GNU C library",
)
def test_broken_files_leak_nothing(files):
    broken = [str(path) for _, path in files.values() if path.parent.name == "bad"]
    assert len(broken) == 34
    small = [path for path in broken if os.path.getsize(path) < 150_000]
    assert float(made_media.child(AGAIN, *small)) < 1
