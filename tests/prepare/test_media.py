"""One media file to one clip: what is shown when, what is heard when, and what is refused."""

import os
import pathlib
import struct

import made_media
import numpy as np
import pytest

from av_mae.inference import clip as inference_clip
from av_mae.prepare.media import container, decode, stamps

needs_proc = pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs /proc")


def numbers(clip):
    return [made_media.number_of(picture) for picture in clip.frames]


def pictures(count):
    return [made_media.picture(i) for i in range(count)]


def test_frames_at_the_rate_of_the_file(tmp_path):
    clip = decode.decode(made_media.write(tmp_path / "clip.mp4", pictures(50)))
    assert clip.fps == 25.0
    assert numbers(clip) == list(range(50))
    assert clip.audio is None
    assert clip.start == 0.0 and clip.duration == pytest.approx(2.0)


@pytest.mark.parametrize("fps, expected", [(12.5, range(0, 50, 2)), (50.0, np.arange(100) // 2)])
def test_frames_at_another_rate(tmp_path, fps, expected):
    clip = decode.decode(made_media.write(tmp_path / "clip.mp4", pictures(50)), fps=fps)
    assert numbers(clip) == list(expected)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.mov", "clip.ts"])
def test_variable_frame_rate_in_any_container(tmp_path, name):
    times = list(np.round(np.cumsum(np.random.default_rng(0).uniform(0.02, 0.4, 30)), 3))
    clip = decode.decode(made_media.write(tmp_path / name, pictures(30), times), fps=20.0)
    for i, number in enumerate(numbers(clip)[:-1]):
        later = i / 20 + times[0]
        assert times[number] <= later + 0.002 and later < times[min(number + 1, 29)] + 0.002


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts"])
@pytest.mark.parametrize("sound_at", [0.0, 0.7])
@pytest.mark.parametrize("pictures_at", [0.0, 0.5])
def test_a_flash_and_a_click_at_the_same_time_stay_together(tmp_path, name, sound_at, pictures_at):
    flash = 1.2
    times = [pictures_at + i / 25 for i in range(50)]
    shown = [made_media.picture(50 if t >= flash - 1e-6 else 0) for t in times]
    wave = made_media.click(flash - sound_at, 3.0 - sound_at)
    path = made_media.write(tmp_path / name, shown, times, wave=wave, sound_at=sound_at)
    clip = decode.decode(path)
    first_light = numbers(clip).index(50) / clip.fps
    assert made_media.onset(clip.audio) == pytest.approx(first_light, abs=0.025)
    assert first_light == pytest.approx(flash - pictures_at, abs=0.041)


def test_sound_longer_than_the_pictures_is_kept(tmp_path):
    wave = made_media.click(1.8, 2.0)
    clip = decode.decode(made_media.write(tmp_path / "clip.mp4", pictures(5), wave=wave))
    assert len(clip.frames) == 5
    assert clip.duration == pytest.approx(2.0, abs=0.05)
    assert made_media.onset(clip.audio) == pytest.approx(1.8, abs=0.02)


def test_six_channels_become_one(tmp_path):
    wave = np.stack([made_media.click(0.5, 1.0)] * 6)
    path = made_media.write(tmp_path / "clip.mp4", pictures(25), wave=wave, layout="5.1")
    assert made_media.onset(decode.decode(path).audio) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts", "clip.h264"])
@pytest.mark.parametrize("start, end", [(0.62, 1.5), (1.0, None), (None, 0.7), (1.9, 9.0)])
def test_a_part_is_what_the_whole_shows_then(tmp_path, name, start, end):
    wave = None if name.endswith("h264") else made_media.click(1.3, 2.0)
    path = made_media.write(tmp_path / name, pictures(50), wave=wave)
    whole, part = decode.decode(path, fps=25.0), decode.decode(path, fps=25.0, start=start, end=end)
    begin, stop = max(start or 0.0, whole.start), min(end or 9.0, whole.start + 2.0)
    assert part.start == pytest.approx(begin, abs=1e-6)
    assert len(part.frames) == pytest.approx((stop - begin) * 25, abs=1)
    offsets = begin - whole.start + np.arange(len(part.frames)) / 25
    assert numbers(part) == [numbers(whole)[int((offset + 1e-3) * 25)] for offset in offsets]
    if wave is not None and begin < 1.3 < stop - 0.1:
        heard = made_media.onset(whole.audio) + whole.start
        assert made_media.onset(part.audio) + part.start == pytest.approx(heard, abs=0.002)


def test_seeking_reads_only_the_part(tmp_path, monkeypatch):
    path = made_media.write(tmp_path / "clip.mp4", [made_media.picture(i % 50) for i in range(750)])
    taken = []
    place = stamps.Stamps.place
    monkeypatch.setattr(
        stamps.Stamps, "place", lambda self, *frame: taken.append(1) or place(self, *frame)
    )
    clip = decode.decode(path, start=25.0, end=26.0)
    assert len(clip.frames) == 25
    assert len(taken) < 100


def test_no_time_stamps(tmp_path):
    clip = decode.decode(made_media.write(tmp_path / "clip.h264", pictures(50)))
    assert numbers(clip) == list(range(50))
    assert clip.duration == pytest.approx(2.0)
    assert "no time stamps" in clip.notes[0]


@pytest.mark.parametrize(
    "name", ["no extension", "wrong.webm", "a:b%03d, \"ü\n'.mp4", os.fsdecode(b"\xff\xfe.mp4")]
)
def test_awkward_and_wrong_names(tmp_path, name):
    made_media.write(tmp_path / "clip.mp4", pictures(10))
    (tmp_path / "clip.mp4").rename(tmp_path / name)
    assert len(decode.decode(tmp_path / name).frames) == 10


def test_the_short_side_is_reduced_and_never_enlarged(tmp_path):
    path = made_media.write(tmp_path / "clip.mp4", [made_media.picture(0, 120, 200)] * 5)
    assert decode.decode(path, short_side=60).frames[0].shape == (60, 100, 3)
    assert decode.decode(path, short_side=500).frames[0].shape == (120, 200, 3)


def broken(tmp_path, kind):
    path = tmp_path / "file.mp4"
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to(tmp_path / "nowhere")
    elif kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("<html>404 not found</html>\n" * 50)
    elif kind == "playlist":
        made_media.write(tmp_path / "other.ts", pictures(25))
        path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.ts\n")
    elif kind == "picture":
        made_media.write(path, pictures(1), codec="mjpeg", format="mjpeg")
    elif kind == "half":
        made_media.write(path, pictures(50), wave=made_media.click(1.0, 2.0))
        path.write_bytes(path.read_bytes()[:-2000])
    return path


@pytest.mark.parametrize(
    "kind, reason",
    [
        ("absent", "file not found"),
        ("directory", "a folder, not a file"),
        ("pipe", "not a regular file"),  # opening it would wait for ever
        ("link", "file not found"),
        ("empty", "empty file"),
        ("text", "not a media file"),
        ("playlist", "not a "),  # would read other files
        ("half", "not a media file"),  # the index of an mp4 stands at its end
    ],
)
def test_what_is_no_clip_is_refused_with_the_reason(tmp_path, kind, reason):
    with pytest.raises(container.UnreadableError, match=f"^{reason}"):
        decode.decode(broken(tmp_path, kind))


def test_text_is_not_drawn_as_pictures(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("labels of this folder\n" * 100)
    with pytest.raises(container.UnreadableError, match="not a "):
        decode.decode(path)


def damaged(tmp_path, first, last, name="clip.ts"):
    """A file of 2 s with noise over a part of its bytes, given as shares."""
    path = pathlib.Path(made_media.write(tmp_path / name, noisy(50)))
    data = bytearray(path.read_bytes())
    begin, end = round(first * len(data)), round(last * len(data))
    data[begin:end] = np.random.default_rng(0).bytes(end - begin)
    path.write_bytes(data)
    return path


def noisy(count):
    rng = np.random.default_rng(0)
    ground = rng.integers(0, 60, (48, 64, 3))
    return [np.uint8(np.clip(made_media.picture(i % 50) + ground, 0, 255)) for i in range(count)]


def test_damage_in_the_middle_keeps_both_ends(tmp_path):
    clip = decode.decode(damaged(tmp_path, 0.4, 0.5))
    assert "damaged" in clip.damage
    expected = noisy(50)
    for i in (0, 10, 45, 49):
        assert np.abs(clip.frames[i].astype(int) - expected[i]).mean() < 12
    assert clip.duration == pytest.approx(2.0, abs=0.05)


def test_a_file_that_was_cut_off_says_so(tmp_path):
    path = pathlib.Path(made_media.write(tmp_path / "clip.mkv", noisy(75)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    clip = decode.decode(path)
    assert "cut off" in clip.damage and "of 3.00 s" in clip.damage
    assert 1.0 < clip.duration < 2.5


def test_too_little_of_a_clip_is_refused(tmp_path):
    path = pathlib.Path(made_media.write(tmp_path / "clip.mkv", noisy(250)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 20])
    with pytest.raises(container.UnreadableError, match="too little could be decoded: cut off"):
        decode.decode(path)


def test_limits_of_length_time_and_memory(tmp_path):
    path = made_media.write(tmp_path / "clip.mp4", pictures(50))
    with pytest.raises(container.UnreadableError, match="too long: longer than 1 s"):
        decode.decode(path, limits=container.Limits(seconds=1.0))
    with pytest.raises(container.UnreadableError, match="took too long"):
        decode.decode(path, limits=container.Limits(patience=0.0))
    with pytest.raises(ValueError, match="too large: .* give fps, short_side"):
        inference_clip.read(path, most_bytes=100_000)
    with pytest.raises(container.UnreadableError, match="too many pixels: 64x48, limit 3,000"):
        decode.decode(path, limits=container.Limits(pixels=3000))


def test_a_part_behind_the_end_says_where_the_end_is(tmp_path):
    path = made_media.write(tmp_path / "clip.mp4", pictures(50))
    with pytest.raises(container.UnreadableError, match="the pictures end at 2.00 s"):
        decode.decode(path, start=10.0, end=20.0)


PEAK = """
import re, sys
from av_mae.prepare.media import container, decode
try:
    clip = decode.decode(sys.argv[1], fps=12.5, short_side=256)
    print(clip.frames[0].shape[0], end=" ")
except container.UnreadableError as error:
    print(str(error).partition(":")[0], end=" ")
print(int(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1]) // 1024)
"""


def read_in_a_child(path):
    """(what came of it, peak memory in MiB)."""
    outcome, _, peak = made_media.child(PEAK, os.fspath(path)).strip().rpartition(" ")
    return outcome, int(peak)


@needs_proc
def test_a_header_of_60000_by_60000_costs_no_memory(tmp_path):
    """The picture itself claims it: 10 GB if it were believed."""
    path = pathlib.Path(
        made_media.write(tmp_path / "clip.avi", pictures(5), codec="mjpeg", format="avi")
    )
    data = path.read_bytes()
    start_of_frame = b"\xff\xc0\x00\x11\x08"
    honest, lie = struct.pack(">HH", 48, 64), struct.pack(">HH", 60_000, 60_000)
    assert data.count(start_of_frame + honest) == 5
    path.write_bytes(data.replace(start_of_frame + honest, start_of_frame + lie))
    outcome, peak = read_in_a_child(path)
    assert outcome in ("too many pixels", "no picture could be decoded")
    assert peak < 250


@needs_proc
def test_large_frames_are_scaled_one_by_one(shared):
    outcome, peak = read_in_a_child(shared / "data" / "bad" / "huge_real_8192.mp4")
    assert outcome == "256"
    assert peak < 400  # one decoded frame is 100 MB, and libav keeps a second one


@needs_proc
def test_a_container_header_of_60000_by_60000_is_not_believed(shared):
    outcome, peak = read_in_a_child(shared / "data" / "bad" / "huge_header.mp4")
    assert outcome == "144"
    assert peak < 250


LEAK = """
import sys
from av_mae.prepare.media import container, decode
def memory():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20
def read_all(times):
    for path in sys.argv[1:] * times:
        try:
            decode.decode(path, fps=5.0, short_side=64)
        except container.UnreadableError:
            pass
read_all(100)  # the allocator's own pools fill up
before = memory()
read_all(200)
print(memory() - before)
"""


@needs_proc
def test_reading_again_and_again_takes_no_more_memory(tmp_path):
    good = made_media.write(tmp_path / "a.mp4", pictures(25), wave=made_media.click(0.5, 1.0))
    bad = os.fspath(damaged(tmp_path, 0.3, 0.6))
    none = os.fspath(broken(tmp_path, "text"))
    # The allocator alone takes 5 MB; clips that are not let go of would be 50.
    assert float(made_media.child(LEAK, good, bad, none)) < 16
