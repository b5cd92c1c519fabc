"""Every picture and click comes out once, in order and at its time, whatever the container."""

import numbered_media
import numpy as np
import pytest
from numbered_media import COUNT, FPS

from av_mae.prepare.media import decode

# (container, video codec, B-frames, sound codec, at varying times)
PAIRS = [
    ("mp4", "libx264", 0, "aac", False), ("mp4", "libx264", 3, "aac", True),
    ("mp4", "libsvtav1", 0, "libopus", True), ("mov", "libx264", 3, "pcm_s16le", True),
    ("mov", "mpeg4", 2, "pcm_s16le", False), ("mov", "prores", 0, "pcm_s16le", True),
    ("3gp", "mpeg4", 2, "aac", False), ("mkv", "libx264", 3, "flac", True),
    ("mkv", "libx265", 3, "aac", True), ("mkv", "mpeg2video", 2, "ac3", False),
    ("mkv", "ffv1", 0, "pcm_s16le", True), ("webm", "libvpx", 0, "libopus", True),
    ("webm", "libvpx-vp9", 0, "libopus", False), ("flv", "libx264", 3, "aac", True),
    ("flv", "flv", 0, "libmp3lame", False), ("ts", "libx264", 0, "aac", False),
    ("ts", "libx264", 3, "aac", True), ("ts", "libx265", 3, "libmp3lame", True),
    ("ts", "mpeg2video", 2, "mp2", False), ("mpg", "mpeg1video", 2, "mp2", False),
    ("mpg", "mpeg2video", 2, "mp2", False), ("vob", "mpeg2video", 2, "ac3", False),
    ("nut", "mpeg4", 2, "libmp3lame", False), ("mxf", "mpeg2video", 2, "pcm_s16le", False),
    ("wmv", "wmv2", 0, "mp2", False), ("asf", "libx264", 0, "aac", False),
    ("avi", "libx264", 0, "pcm_s16le", False), ("avi", "libx264", 3, "pcm_s16le", False),
    ("avi", "mpeg4", 0, "pcm_s16le", False), ("avi", "mpeg4", 2, "pcm_s16le", False),
    ("avi", "msmpeg4", 0, "pcm_s16le", False), ("avi", "huffyuv", 0, "pcm_s16le", False),
    ("gif", "gif", 0, None, True),
]  # fmt: skip


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: "-".join(map(str, pair)))
def test_every_picture_and_click_once_in_order_at_its_time(tmp_path, pair):
    container, codec, b_frames, sound, varying = pair
    lengths = np.random.default_rng(0).integers(1, 8, COUNT) if varying else np.ones(COUNT)
    times = (np.cumsum(lengths) - lengths[0]) / FPS
    seconds = times[-1] + 1 / FPS
    at = [0.5, seconds - 0.5]
    path = tmp_path / f"clip.{container}"
    numbered_media.write(path, codec, b_frames, sound, times=times, at=at)
    clip = decode.decode(path, fps=FPS)
    shown = numbered_media.pictures_of(clip)
    assert numbered_media.runs(clip) == list(range(COUNT))
    late = [shown.index(number) / FPS - times[number] for number in range(COUNT)]
    assert max(map(abs, late)) < 0.5 / FPS
    assert not clip.damage and not clip.notes
    if sound:
        assert numbered_media.clicks(clip.audio) == pytest.approx(at, abs=0.005)

    part = decode.decode(path, fps=FPS, start=clip.start + 0.4, end=clip.start + 1.4)
    assert not part.damage
    assert numbered_media.pictures_of(part) == shown[10:35]
    if sound:
        heard = [moment - 0.4 for moment in at if 0.4 <= moment < 1.35]
        assert numbered_media.clicks(part.audio) == pytest.approx(heard, abs=0.005)
