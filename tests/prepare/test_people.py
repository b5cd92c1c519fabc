"""Media of the kinds that people report, and real files, against what is in them."""

import av
import numbered_media
import numpy as np
import pytest

from av_mae.prepare.media import container, decode

CLIPS = 40


@pytest.fixture
def media(shared):
    return shared / "data" / "people" / "media"


def shown(clip):
    """Numbers of grey pictures as made_media draws them, each once."""
    numbers = [round((float(picture_hw3.mean()) - 20) / 4) for picture_hw3 in clip.frames]
    return [b for a, b in zip([None, *numbers], numbers, strict=False) if a != b]


@pytest.mark.parametrize("name", ["n264.avi", "packed.avi"])
def test_pictures_of_avi_files_with_b_frames(media, name):
    assert shown(decode.decode(media / name)) == list(range(56))


@pytest.mark.parametrize(
    ("name", "seconds", "clicks"),
    [("joint.ts", 8.0, [1.0, 7.0]), ("joined_0.webm", 4.0, [0.4, 3.2]),
     ("joined_0.mkv", 4.0, [0.4, 3.2]), ("joined_0.flv", 4.0, [0.4, 3.2])],
)  # fmt: skip
def test_joined_recordings(media, name, seconds, clicks):
    clip = decode.decode(media / name)
    assert shown(clip) == [*range(25), *range(30, 55)]
    assert clip.duration == pytest.approx(seconds, abs=0.05) and not clip.damage
    assert numbered_media.clicks(clip.audio) == pytest.approx(clicks, abs=0.005)


def test_a_second_half_that_no_demuxer_reaches_is_told(media):
    clip = decode.decode(media / "joined_1.mp4")
    assert shown(clip) == list(range(25)) and "cut off" in clip.damage


def test_a_stray_stamp_and_chained_sound(media):
    clip = decode.decode(media / "stray.ts")
    assert clip.duration == pytest.approx(4.0, abs=0.05) and len(shown(clip)) >= 99
    sound = decode.decode(media / "chain.ogg", kind="sound")
    assert numbered_media.clicks(sound.audio) == pytest.approx([0.5, 1.3], abs=0.01)  # Opus pads


@pytest.mark.parametrize("suffix", ["mkv", "webm", "mp4", "ts"])
@pytest.mark.parametrize(("start", "end"), [(0.0, 2.5), (2.2, 2.8), (3.5, 5.5), (4.0, 7.5)])
def test_parts_of_a_screen_recording(media, suffix, start, end):
    clip = decode.decode(media / f"gap.{suffix}", fps=4.0, start=start, end=end)
    begins = {0.0: 0, 1.0: 5, 2.0: 10, 3.0: 15, 6.0: 20, 7.0: 25, 8.0: 30}
    moments = np.arange(len(clip.frames)) / 4 + start
    expected = [begins[max(at for at in begins if at <= moment)] for moment in moments]
    assert shown(clip) == list(dict.fromkeys(expected))
    assert clip.duration == pytest.approx(end - start) and not clip.damage and not clip.notes


def test_sound_without_a_length_or_with_what_is_no_number(media):
    clip = decode.decode(media / "h.wav", kind="sound")
    assert len(clip.audio) == 32_000 and not clip.damage
    clip = decode.decode(media / "n_nan_16000.wav", kind="sound")
    assert numbered_media.clicks(clip.audio) == pytest.approx([0.5], abs=0.005)
    assert clip.notes == ("3 samples of sound are no finite numbers: silence",)


def test_every_picture_that_the_decoder_gives_is_shown(shared):
    """Of all real clips; at a thousand frames a second none hides another."""
    paths = [
        path for path in sorted((shared / "data" / "clips").iterdir()) if path.suffix != ".csv"
    ]
    assert len(paths) == CLIPS
    for path in paths:
        clip = decode.decode(path, lambda _: object(), fps=1000.0, short_side=16)
        with av.open(str(path)) as file:
            video, _ = container.streams(file, "video", container.DEFAULT_LIMITS)
            given = sum(1 for _ in file.decode(video))
        assert len(set(clip.frames)) == given, path.name
