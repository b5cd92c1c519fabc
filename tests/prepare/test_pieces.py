"""Long media: read once from beginning to end, or sought in, while little of them is held."""

import weakref

import made_media
import numbered_media
import numpy as np
import pytest
from PIL import Image

from av_mae.inference import clip as inference_clip
from av_mae.inference import stream
from av_mae.prepare.media import clock, container, decode, picture, read

PAIRS = [("mp4", "libx264", 3, "aac"), ("ts", "libx264", 3, "aac"), ("mpg", "mpeg2video", 2, "mp2"),
         ("webm", "libvpx", 0, "libopus"), ("avi", "mpeg4", 2, "pcm_s16le"),
         ("mkv", "libx264", 0, None), ("gif", "gif", 0, None)]  # fmt: skip
FIXED = ("mpg", "avi")  # containers that keep a rate and no times


def write(path, pair):
    """Pictures 0 to 59 that begin at uneven times, where the container has times."""
    suffix, codec, b_frames, sound = pair
    lengths = np.ones(60) if suffix in FIXED else np.resize([1, 2, 5, 1, 1, 2], 60)
    times = (np.cumsum(lengths) - lengths[0]) / 25
    path = path / f"a.{suffix}"
    return numbered_media.write(path, codec, b_frames, sound, times=times, at=[0.3, 1.0])


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair[0])
@pytest.mark.parametrize("start, end", [(None, None), (0.4, 2.1)])
def test_pieces_are_the_whole_cut(tmp_path, pair, start, end):
    path = write(tmp_path, pair)
    whole = decode.decode(path, start=start, end=end, fps=25.0)
    pieces = list(decode.pieces(path, 0.3, start=start, end=end, fps=25.0))
    assert len(pieces) > 4 and {len(piece.frames) for piece in pieces[:-2]} == {8}
    numbers = [number for piece in pieces for number in numbered_media.pictures_of(piece)]
    assert numbers == numbered_media.pictures_of(whole)
    ends = [piece.start + piece.duration for piece in pieces]
    assert [piece.start for piece in pieces[1:]] == pytest.approx(ends[:-1], abs=1e-4)
    assert ends[-1] == pytest.approx(whole.start + whole.duration, abs=1e-4)
    if pair[-1]:
        heard = np.concatenate([p.audio for p in pieces if p.audio is not None])
        np.testing.assert_array_equal(heard, whole.audio)
    assert (pieces[-1].damage, pieces[-1].notes) == (whole.damage, whole.notes)


def test_little_of_a_long_file_is_held(tmp_path):
    path = made_media.write(tmp_path / "a.mp4", [made_media.picture(i % 50) for i in range(1500)])
    alive: weakref.WeakSet = weakref.WeakSet()

    class Picture:
        def __init__(self, _):
            alive.add(self)

    most = total = 0
    for piece in decode.pieces(path, 1.0, Picture):
        most, total = max(most, len(alive)), total + len(piece.frames)
    assert total == 1500 and most <= 3 * 25


@pytest.mark.parametrize("suffix, codec", [("mp4", "libx264"), ("ts", "libx264"), ("ogg", None)])
def test_windows_are_read_in_one_pass(tmp_path, monkeypatch, suffix, codec):
    path = tmp_path / f"a.{suffix}"
    if codec:
        pictures = [made_media.picture(i // 25) for i in range(250)]
        made_media.write(path, pictures, wave=made_media.click(3.5, 10.0), format=
                         "mpegts" if suffix == "ts" else None)  # fmt: skip
    else:
        path = made_media.write_sound(tmp_path / "a.flac", made_media.click(3.5, 10.0))
    opened, shown = [], []
    load, show = container.open_media, clock.Pictures.show
    monkeypatch.setattr(container, "open_media", lambda *a: opened.append(a) or load(*a))
    monkeypatch.setattr(clock.Pictures, "show", lambda *a: shown.append(a[1]) or show(*a))
    found = list(stream.windows(path, 2.0, 0.75))
    assert len(shown) == (250 if codec else 0) and len(opened) <= 3
    begins = [begin for _, begin in found]
    assert begins == pytest.approx([*np.arange(11) * 0.75, 8.0], abs=0.03)
    for clip, begin in found:
        assert clip.start == pytest.approx(begin, abs=0.03)
        assert len(clip.audio) == pytest.approx(32_000, abs=700)
        if begin < 3.4 < begin + 1.8:
            assert clip.start + made_media.onset(clip.audio) == pytest.approx(3.5, abs=0.06)
        if codec:
            assert len(clip.frames) == 50
            middle = made_media.number_of(clip.frames[25])
            assert middle == int(clip.start + 1.0 + 1e-6)


def test_windows_far_apart_are_sought(tmp_path, monkeypatch):
    path = made_media.write(tmp_path / "a.mp4", [made_media.picture(i // 25) for i in range(1250)])
    shown, show = [], clock.Pictures.show
    monkeypatch.setattr(clock.Pictures, "show", lambda *a: shown.append(a[1]) or show(*a))
    found = list(stream.spread(path, [0.0, 24.5, 49.0], 1.0))
    assert [made_media.number_of(clip.frames[0]) for clip, _ in found] == [0, 24, 49]
    assert [len(clip.frames) for clip, _ in found] == [25, 25, 25] and len(shown) < 250


def test_windows_of_files_that_cannot_be_sought_in_take_one_pass(tmp_path, monkeypatch):
    pictures = [made_media.picture(i // 25) for i in range(250)]
    path = made_media.write(tmp_path / "a.ts", pictures, format="mpegts")
    shown, show = [], clock.Pictures.show
    monkeypatch.setattr(clock.Pictures, "show", lambda *a: shown.append(a[1]) or show(*a))
    monkeypatch.setattr(stream, "_MOST_BYTES", 80 * 48 * 64 * 3)
    found = list(stream.spread(path, [0.0, 4.5, 9.0], 1.0))
    assert [made_media.number_of(clip.frames[13]) for clip, _ in found] == [0, 5, 9]
    assert len(shown) <= 250


def test_pictures_that_end_before_the_sound_stay(tmp_path):
    pictures = [made_media.picture(i // 5) for i in range(25)]
    path = made_media.write(tmp_path / "a.mp4", pictures, wave=made_media.click(3.5, 4.0))
    found = list(stream.windows(path, 1.0, 1.0))
    assert [made_media.number_of(clip.frames[-1]) for clip, _ in found] == [4] * len(found)
    assert made_media.onset(found[3][0].audio) == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("pair", [*PAIRS, ("h264", "libx264", 0, None)], ids=lambda pair: pair[0])
def test_how_long_a_file_is_without_decoding_it(tmp_path, monkeypatch, pair):
    path = write(tmp_path, pair)
    monkeypatch.setattr(picture.Scaler, "__call__", None)
    expected = 2.4 if pair[0] in (*FIXED, "h264") else 4.8
    assert stream.seconds(path) == pytest.approx(expected, abs=0.3)


def test_pictures_animations_and_frames_are_windows_too(tmp_path):
    folder = tmp_path / "clip"
    folder.mkdir()
    images = [Image.fromarray(numbered_media.picture(i)) for i in range(40)]
    for number, image in enumerate(images):
        image.save(folder / f"{number}.png")
    images[0].save(tmp_path / "a.webp", save_all=True, append_images=images[1:], duration=100)
    made_media.write_sound(tmp_path / "clip.wav", made_media.click(2.5, 4.0))
    for path in (folder, tmp_path / "a.webp"):
        found = list(stream.windows(path, 1.5, 1.25, frame_rate=10.0, fps=10.0))
        assert [begin for _, begin in found] == [0.0, 1.25, 2.5]
        assert [number for clip, _ in found for number in numbered_media.pictures_of(clip)] == [
            *range(15), *range(12, 27), *range(25, 40)
        ]  # fmt: skip
        assert stream.seconds(path, 10.0) == pytest.approx(4.0)
        assert (found[0][0].audio is None) == (path != folder)
    assert made_media.onset(list(stream.windows(folder, 1.5, 1.5, frame_rate=10.0))[1][0].audio)
    ((clip, begin),) = stream.windows(folder / "7.png", 2.0, 2.0)
    assert numbered_media.pictures_of(clip) == [7] and begin == 0.0
    assert stream.seconds(folder / "7.png") == 0.0


def test_what_cannot_be_held_names_the_flags(tmp_path, monkeypatch):
    path = made_media.write(tmp_path / "a.mp4", [made_media.picture(i % 50) for i in range(150)])
    monkeypatch.setattr(stream, "_MOST_BYTES", 80 * 48 * 64 * 3)
    list(stream.windows(path, 0.5, 0.5))
    with pytest.raises(ValueError, match=r"a\.mp4: .*shorter window \(--window\).*--start, --end"):
        list(stream.windows(path, 5.0, 5.0))
    with pytest.raises(ValueError, match="--start, --end"):
        inference_clip.read(path, most_bytes=1000)


def test_read_says_what_it_is(tmp_path):
    sound = made_media.write_sound(tmp_path / "a.wav", made_media.click(0.5, 1.0))
    silent = made_media.write(tmp_path / "a.mp4", [made_media.picture(0)] * 5)
    assert read.has_sound(sound) and not read.has_sound(silent) and not read.has_sound(tmp_path)
    assert [stream.moment(s) for s in (0, 59.96, 3599.96)] == ["0:00.0", "1:00.0", "1:00:00.0"]
