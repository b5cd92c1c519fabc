"""Time stamps that start again, jump, are those of decoding, or leave long gaps."""

import pathlib

import av
import made_media
import numbered_media
import numpy as np
import pytest

from av_mae.inference import clip as inference_clip
from av_mae.prepare.media import decode

HALF = [i / 25 for i in range(25)]


def joined(folder, suffix, **sound):
    """Two recordings of a second each in one file, byte after byte."""
    parts = [
        numbered_media.write(folder / f"{first}.{suffix}", times=HALF, first=first, **kwargs)
        for first, kwargs in ((0, sound | {"at": [0.3]}), (30, sound | {"at": [0.6]}))
    ]
    path = folder / f"joined.{suffix}"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


@pytest.mark.parametrize(
    ("suffix", "codec", "sound"),
    [("ts", "libx264", "aac"), ("webm", "libvpx", "libopus"), ("mkv", "libx264", "aac"),
     ("avi", "libx264", "pcm_s16le"), ("mpg", "mpeg2video", "mp2"), ("ts", "mpeg2video", None)],
)  # fmt: skip
@pytest.mark.parametrize("b_frames", [0, 2])
def test_a_recording_joined_to_another_follows_it(tmp_path, suffix, codec, sound, b_frames):
    b_frames *= codec != "libvpx"
    clip = decode.decode(joined(tmp_path, suffix, codec=codec, b_frames=b_frames, sound=sound))
    shown = numbered_media.runs(clip)
    if suffix == "ts":  # packets in which the count of packets starts again are called incomplete
        assert "incomplete packet" in clip.damage
        shown += {21, 22, 23, 24}.difference(shown)
    assert sorted(shown) == [*range(25), *range(30, 55)]
    said = ("time stamps start again or jump: moved, pictures and sound alike",)
    assert clip.notes == (() if suffix == "avi" else said)  # AVI's count frames from the first
    assert len(clip.frames) == pytest.approx(50, abs=1)
    if sound:
        assert numbered_media.clicks(clip.audio) == pytest.approx([0.3, 1.6], abs=0.025)


@pytest.mark.parametrize("suffix", ["flv", "mp4", "mov"])
def test_a_recording_that_cannot_be_reached_behind_another_is_told(tmp_path, suffix):
    clip = decode.decode(joined(tmp_path, suffix, sound="aac"))
    assert numbered_media.runs(clip) == list(range(25))
    assert clip.damage.endswith(" s: what follows is not read")
    assert not decode.decode(tmp_path / f"0.{suffix}").damage


def test_a_wave_behind_another_is_told(tmp_path):
    path = made_media.write_sound(tmp_path / "clip.wav", made_media.click(0.5, 1.0))
    path.write_bytes(2 * path.read_bytes())
    clip = decode.decode(path, kind="sound")
    assert clip.duration == pytest.approx(1.0, abs=0.001)
    assert clip.damage == "file damaged after 1.00 s: what follows is not read"


def test_sound_joined_to_sound_follows_it(tmp_path):
    parts = []
    for at in (0.3, 0.6):
        with av.open(str(tmp_path / "part.ogg"), "w") as file:
            stream = numbered_media.add_sound(file, "libopus")
            numbered_media.encode_sound(file, stream, made_media.click(at, 1.0))
        parts.append((tmp_path / "part.ogg").read_bytes())
    (tmp_path / "chain.ogg").write_bytes(b"".join(parts))
    clip = decode.decode(tmp_path / "chain.ogg", kind="sound")
    assert clip.duration == pytest.approx(2.0, abs=0.02)
    assert numbered_media.clicks(clip.audio) == pytest.approx([0.3, 1.6], abs=0.02)


def remuxed(path: pathlib.Path, change, suffix: str) -> pathlib.Path:
    """The same packets with other time stamps: `change(number of its stream, packet)`."""
    made = path.with_name(f"remuxed.{suffix}")
    with av.open(str(path)) as source, av.open(str(made), "w") as sink:
        streams = {stream.index: sink.add_stream_from_template(stream) for stream in source.streams}
        counts = dict.fromkeys(streams, 0)
        for packet in source.demux():
            if packet.size:
                index = packet.stream.index
                change(counts[index], packet)
                counts[index] += 1
                packet.stream = streams[index]
                sink.mux(packet)
    return made


def stamped(pts: int) -> bytes:
    """A presentation time of 90 kHz as the header of a packet in a transport stream has it."""
    parts = (0x21 | pts >> 29 & 0xE, pts >> 22 & 0xFF, pts >> 14 | 1, pts >> 7 & 0xFF, pts << 1 | 1)
    return bytes(part & 0xFF for part in parts)


@pytest.mark.parametrize("seconds", [36_000, 900])
@pytest.mark.parametrize("number", [1, 20])
def test_a_stray_time_stamp_costs_its_picture_at_most(tmp_path, seconds, number):
    path = numbered_media.write(tmp_path / "clip.ts", sound="aac", at=[0.3, 1.6])
    with av.open(str(path)) as file:
        pts = [packet.pts for packet in file.demux(video=0) if packet.size][number]
    data = path.read_bytes()
    assert data.count(stamped(pts)) == 1
    path.write_bytes(data.replace(stamped(pts), stamped(pts + 90_000 * seconds)))
    clip = decode.decode(path)
    assert set(range(50)) - set(numbered_media.runs(clip)) <= {number}
    assert clip.duration == pytest.approx(2.0, abs=0.05) and not clip.damage
    assert numbered_media.clicks(clip.audio) == pytest.approx([0.3, 1.6], abs=0.025)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "flv"])
def test_decoding_times_written_for_presentation_times_lose_no_picture(tmp_path, suffix):
    def decoding(_, packet):
        packet.dts = packet.pts = packet.dts + round(0.2 / packet.time_base)

    path = numbered_media.write(tmp_path / "clip.mp4", b_frames=3)
    clip = decode.decode(remuxed(path, decoding, suffix))
    assert numbered_media.pictures_of(clip) == list(range(50))
    assert clip.notes == ("time stamps are not in the order of the pictures: sorted",)


GAPS = [0.0, 1.0, 2.0, 3.0, 6.0, 7.0, 8.0]


@pytest.mark.parametrize("suffix", ["mkv", "webm", "mp4", "ts", "gif"])
@pytest.mark.parametrize(
    ("start", "end"), [(0.0, 2.5), (2.2, 2.8), (3.5, 5.5), (4.0, 7.5), (6.5, 7.9), (None, None)]
)
def test_in_a_gap_the_picture_on_screen_is_held(tmp_path, suffix, start, end):
    """As in a screen recording."""
    codec = {"webm": "libvpx", "gif": "gif"}.get(suffix, "libx264")
    path = numbered_media.write(tmp_path / f"clip.{suffix}", codec, times=GAPS)
    clip = decode.decode(path, fps=4.0, start=start, end=end)
    begin, end = start or 0.0, end or 8.04
    moments = begin + np.arange(len(clip.frames)) / 4
    assert len(clip.frames) == pytest.approx((end - begin) * 4, abs=4 if suffix == "ts" else 1)
    assert numbered_media.pictures_of(clip) == [
        int(np.searchsorted(GAPS, moment + 1e-3)) - 1 for moment in moments
    ]
    assert not clip.damage and not clip.notes


def test_a_wav_without_a_length_is_whole(tmp_path):
    """As programs write it that cannot go back in what they write to."""
    path = made_media.write_sound(tmp_path / "clip.wav", made_media.click(0.5, 1.004))
    data = path.read_bytes()
    at = data.index(b"data")
    path.write_bytes(data[: at + 4] + (0x7FFFF000).to_bytes(4, "little") + data[at + 8 :])
    clip = decode.decode(path, kind="sound")
    assert clip.duration == pytest.approx(1.004, abs=1e-3) and not clip.damage


@pytest.mark.parametrize("kind", ["f32le", "f64le"])
def test_what_is_no_number_is_silence(tmp_path, kind):
    wave_s = made_media.click(0.2, 1.0)
    wave_s[30_000:30_006] = [np.nan, np.inf, -np.inf, np.nan, np.inf, np.nan]
    with av.open(str(tmp_path / "clip.wav"), "w") as file:
        sound = file.add_stream(f"pcm_{kind}", rate=made_media.RATE, layout="mono")
        form = "flt" if kind == "f32le" else "dbl"
        wave_s = wave_s.astype(np.float32 if form == "flt" else np.float64)
        frame = av.AudioFrame.from_ndarray(wave_s[None], format=form, layout="mono")
        frame.sample_rate = made_media.RATE
        file.mux(sound.encode(frame))
        file.mux(sound.encode(None))
    clip = decode.decode(tmp_path / "clip.wav", kind="sound")
    assert numbered_media.clicks(clip.audio) == pytest.approx([0.2], abs=0.005)
    assert not np.abs(clip.audio[9_900:10_100].astype(int)).max() > 100
    assert clip.notes == ("6 samples of sound are no finite numbers: silence",)


def test_pictures_read_again_are_counted_once(tmp_path):
    """Those of a file whose time stamps are out of order, against the memory that they may take."""
    path = numbered_media.write(tmp_path / "clip.mp4", b_frames=3)

    def decoding(_, packet):
        packet.dts = packet.pts = packet.dts + round(0.2 / packet.time_base)

    path = remuxed(path, decoding, "ts")
    size = 50 * 64 * 96 * 3
    assert len(inference_clip.read(path, most_bytes=size).frames) == 50
    with pytest.raises(ValueError, match="too large: the frames need more than"):
        inference_clip.read(path, most_bytes=size - 1)
