"""Files of sound, and the sound of videos, as clips without pictures."""

import made_media
import numpy as np
import pytest

from av_mae.prepare.media import container, decode


def sound(path, **options):
    return decode.decode(path, kind="sound", **options)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3", "a.m4a", "no suffix"])
def test_sound_of_any_format_is_heard_when_it_should(tmp_path, name):
    made = made_media.write_sound(
        tmp_path / (name if "." in name else "a.wav"), made_media.click(0.7, 2.0)
    )
    path = made.rename(tmp_path / name)
    heard = sound(path)
    assert heard.audio.dtype == np.int16 and not heard.damage
    assert heard.duration == pytest.approx(2.0, abs=0.06) and heard.start == 0.0
    assert len(heard.audio) == round(heard.duration * 16_000)
    assert made_media.onset(heard.audio) == pytest.approx(0.7, abs=0.03)


def test_other_rates_and_channels_become_16_khz_mono(tmp_path):
    wave = np.stack([made_media.click(0.5, 1.0)[:: 48_000 // 8_000], np.zeros(8_000, np.float32)])
    heard = sound(made_media.write_sound(tmp_path / "a.wav", wave, rate=8_000, layout="stereo"))
    assert len(heard.audio) == 16_000
    assert np.argmax(np.abs(heard.audio) > 3000) / 16_000 == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3", "a.m4a"])
@pytest.mark.parametrize("start, end", [(1.5, 2.5), (2.0, None), (None, 2.4), (1.0, 9.0)])
def test_a_part_is_what_the_whole_plays_then(tmp_path, name, start, end):
    path = made_media.write_sound(tmp_path / name, made_media.click(2.2, 4.0))
    part = sound(path, start=start, end=end)
    assert part.start == (start or 0.0)
    assert part.duration == pytest.approx(min(end or 4.0, 4.0) - part.start, abs=0.06)
    heard = made_media.onset(part.audio) + part.start
    assert heard == pytest.approx(2.2, abs=0.03)


def test_the_sound_of_a_video_begins_its_own_clock(tmp_path):
    pictures = [made_media.picture(i) for i in range(50)]
    wave = made_media.click(0.6, 1.0)
    path = made_media.write(tmp_path / "a.mp4", pictures, wave=wave, sound_at=0.9)
    heard = sound(path)
    assert heard.start == pytest.approx(0.9, abs=0.05) and not heard.damage
    assert made_media.onset(heard.audio) + heard.start == pytest.approx(1.5, abs=0.03)


def test_what_holds_no_sound_is_refused_with_the_reason(tmp_path):
    made_media.write(tmp_path / "mute.mp4", [made_media.picture(i) for i in range(10)])
    made_media.write(tmp_path / "one.jpg", [made_media.picture(0)], codec="mjpeg", format="mjpeg")
    (tmp_path / "page.wav").write_text("<html>404 not found</html>\n" * 50)
    (tmp_path / "empty.wav").touch()
    reasons = {"mute.mp4": "no sound", "page.wav": "not a ", "empty.wav": "empty file"}
    for name, reason in reasons.items():
        with pytest.raises(container.UnreadableError, match=f"^{reason}"):
            sound(tmp_path / name)


def test_a_part_behind_the_end_and_limits(tmp_path):
    path = made_media.write_sound(tmp_path / "a.wav", made_media.click(0.5, 2.0))
    with pytest.raises(container.UnreadableError, match="it ends at 2.00 s"):
        sound(path, start=5.0)
    with pytest.raises(container.UnreadableError, match="too long: longer than 1 s"):
        sound(path, limits=container.Limits(seconds=1.0))
    with pytest.raises(container.UnreadableError, match="took too long"):
        sound(path, limits=container.Limits(patience=0.0))


def test_damage_costs_its_own_time_only(tmp_path):
    path = made_media.write_sound(tmp_path / "a.m4a", tone(4.0))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = np.random.default_rng(0).bytes(2000)
    path.write_bytes(data)
    heard = sound(path)
    assert "sound damaged after" in heard.damage
    assert heard.duration == pytest.approx(4.0, abs=0.1)
    loud = np.abs(heard.audio[4_000:16_000].astype(int)).mean()
    assert np.abs(heard.audio[-16_000:-4_000].astype(int)).mean() == pytest.approx(loud, rel=0.05)


@pytest.mark.parametrize("share, length", [(0.5, 2.0), (0.05, None)])
def test_a_file_that_was_cut_off_says_so_or_is_refused(tmp_path, share, length):
    path = made_media.write_sound(tmp_path / "a.flac", tone(4.0))
    path.write_bytes(path.read_bytes()[: round(share * path.stat().st_size)])
    if length:
        heard = sound(path)
        assert "cut off" in heard.damage and 1.0 < heard.duration < 3.0
    else:
        with pytest.raises(container.UnreadableError, match="too little could be decoded"):
            sound(path)


def tone(seconds):
    noise = np.random.default_rng(0).normal(0, 0.1, round(seconds * made_media.RATE))
    return (np.sin(np.arange(len(noise)) / 10) / 2 + noise).astype(np.float32)
