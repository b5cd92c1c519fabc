"""Media whose pictures carry their number and whose sound clicks, in any container."""

import fractions
import itertools
import pathlib
from collections.abc import Sequence

import av
import made_media
import numpy as np

FPS, COUNT = 25, 50
FORMATS = {"mkv": "matroska", "ts": "mpegts", "mpg": "mpeg", "wmv": "asf"}


def picture(number):
    """A picture that shows a number in binary, in stripes that no codec blurs away."""
    stripes = [235 if number + 1 >> bit & 1 else 16 for bit in range(6)]
    return np.tile(np.repeat(np.array(stripes, np.uint8), 16)[None, :, None], (64, 1, 3))


def number_of(picture_hw3):
    stripes = picture_hw3[8:-8].reshape(-1, 6, 16, 3)[:, :, 5:11].mean((0, 2, 3))
    return sum(1 << bit for bit in range(6) if stripes[bit] > 125) - 1


def runs(clip):
    """The numbers in the order in which they are shown, those that stay once."""
    return [number for number, _ in itertools.groupby(pictures_of(clip))]


def pictures_of(clip):
    return [number_of(picture_hw3) for picture_hw3 in clip.frames]


def write(
    path: pathlib.Path,
    codec: str = "libx264",
    b_frames: int = 0,
    sound: str | None = None,
    *,
    times: Sequence[float] = tuple(i / FPS for i in range(COUNT)),
    first: int = 0,
    at: Sequence[float] = (),
) -> pathlib.Path:
    """Pictures with the numbers from `first` on that begin at `times`, and clicks at `at`."""
    container = path.suffix[1:]
    varying = not np.allclose(np.diff(times), 1 / FPS)
    options = {"g": "12", "bf": str(b_frames)} if b_frames else {"g": "12"}
    if codec == "libx264":
        options = {"g": "12", "crf": "10", "bf": str(b_frames)}
    elif codec == "libx265":
        options = {"x265-params": f"bframes={b_frames}:keyint=12:log-level=none"}
    with av.open(str(path), "w", format=FORMATS.get(container)) as file:
        video = file.add_stream(codec, rate=FPS, options=options)
        video.height, video.width = 64, 96
        known = [form.name for form in video.codec_context.codec.video_formats or []]
        wanted = ("yuv420p", "yuv422p10le", "rgb8", "bgra")
        video.pix_fmt = next((form for form in wanted if form in known), "yuv420p")
        video.bit_rate = 3_000_000
        tick = fractions.Fraction(1, 12_800 if container in ("mp4", "mov") else 1000)
        tick = tick if varying else fractions.Fraction(1, FPS)
        video.codec_context.time_base = tick
        heard = None if sound is None else add_sound(file, sound)
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture(first + number), format="rgb24")
            frame.pts, frame.time_base = round(time / tick), tick
            file.mux(video.encode(frame.reformat(format=video.pix_fmt)))
        file.mux(video.encode(None))
        if heard is not None:
            seconds = times[-1] + 1 / FPS
            wave_s = sum(
                (made_media.click(moment, seconds) for moment in at), np.zeros(1, np.float32)
            )
            encode_sound(file, heard, wave_s)
    return path


def add_sound(file, codec):
    layout = "stereo" if codec in ("mp2", "ac3") else "mono"
    return file.add_stream(codec, rate=made_media.RATE, layout=layout)


def encode_sound(file, sound, wave_s):
    context = sound.codec_context
    channels = np.stack([wave_s] * len(context.layout.channels))
    frame = av.AudioFrame.from_ndarray(channels, format="fltp", layout=context.layout.name)
    frame.sample_rate, frame.pts = made_media.RATE, 0
    frame.time_base = fractions.Fraction(1, made_media.RATE)
    pieces = av.AudioResampler(
        context.format, context.layout.name, made_media.RATE, context.frame_size or None
    )
    for piece in [*pieces.resample(frame), *pieces.resample(None)]:
        file.mux(sound.encode(piece))
    file.mux(sound.encode(None))


def clicks(wave_s):
    loud = np.flatnonzero(np.abs(wave_s.astype(float)) > 0.25 * 32768) / 16_000
    return [loud[0], *(b for a, b in itertools.pairwise(loud) if b - a > 0.1)]
