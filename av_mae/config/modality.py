"""What a modality is: its input shape, its patches, its token grid and how many tokens are hidden.

The one place where video and audio differ; models, masking and losses see only this interface.
"""

import abc
import dataclasses
import math
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from annotated_types import Interval
from jaxtyping import Array, Float

from av_mae.config.limits import Amount, ConfigError, Extent, Rate, Share, Size

VideoMasking = Literal["random", "tube"]
AudioMasking = Literal["random", "time", "freq", "time_freq"]

# Of one input: 4 GiB of floats, and as many tokens as a table of positions can have.
_MOST_VALUES, _MOST_TOKENS = 2**30, 2**20


@dataclasses.dataclass(frozen=True)
class Modality(abc.ABC):
    """An n-dimensional input `[b, *axes, channels]` cut into a grid of patches.

    Attributes:
        name: key of the modality in configs and batches.
        channels: values at one place of the input.
        patch: patch extent along each axis, slowest axis first.
        mask_ratio: share of the tokens hidden from the encoder during pretraining.
        masking: how the hidden tokens are drawn; see `av_mae.models.masking`.
        weight: factor of this modality's term in the reconstruction loss.
    """

    name: ClassVar[str]
    channels: ClassVar[int]

    patch: tuple[int, ...]
    mask_ratio: Share
    masking: str
    weight: float

    def __post_init__(self) -> None:
        key = f"modalities.{self.name}"
        if len(self.patch) != len(self.axes) or min(self.patch) < 1:
            raise ConfigError(
                f"{key}.patch is {self.patch}, expected {len(self.axes)} positive sizes"
            )
        if self.tokens < 1:
            raise ConfigError(
                f"{key}: an input of {self.axes} holds no whole patch of {self.patch}; "
                "use a smaller patch or a larger input"
            )
        values = math.prod(self.input_shape)
        if values > _MOST_VALUES or self.tokens > _MOST_TOKENS:
            raise ConfigError(
                f"{key}: an input of {self.axes} has {values:,} values and {self.tokens:,} patches "
                f"of {self.patch}, expected at most {_MOST_VALUES:,} and {_MOST_TOKENS:,}; use a "
                "smaller input or larger patches"
            )

    @property
    @abc.abstractmethod
    def axes(self) -> tuple[int, ...]:
        """Extent of one input along each axis, without batch and channels."""

    @property
    @abc.abstractmethod
    def seconds(self) -> float:
        """Time that one input shows."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one model input, without the batch axis."""
        return (*self.axes, self.channels)

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of whole patches along each axis; a remainder is dropped."""
        return tuple(extent // size for extent, size in zip(self.axes, self.patch, strict=True))

    @property
    def tokens(self) -> int:
        return math.prod(self.grid)

    @property
    def patch_dim(self) -> int:
        """Number of values in one patch."""
        return math.prod(self.patch) * self.channels

    @property
    def hidden(self) -> int:
        """Number of tokens hidden from the encoder; the same for every example."""
        return hidden_tokens(self.grid, self.mask_ratio, self.masking)

    @property
    def visible(self) -> int:
        return self.tokens - self.hidden

    def patchify(self, x: Float[Array, "b ..."]) -> Float[Array, "b n p"]:
        """Cuts `[b, *input_shape]` into `[b, tokens, patch_dim]`.

        Tokens and the values inside a patch are in axis order, last axis fastest, channels last.
        """
        if x.shape[1:] != self.input_shape:
            raise ValueError(
                f"{self.name} input has shape {x.shape[1:]}, expected {self.input_shape} "
                f"(batch first); change modalities.{self.name} or the input"
            )
        pairs = list(zip(self.grid, self.patch, strict=True))
        x = x[(slice(None), *(slice(0, g * p) for g, p in pairs))]
        x = x.reshape(x.shape[0], *(size for pair in pairs for size in pair), self.channels)
        n = len(self.grid)
        x = x.transpose(0, *range(1, 2 * n, 2), *range(2, 2 * n + 1, 2), 2 * n + 1)
        return x.reshape(x.shape[0], self.tokens, self.patch_dim)

    def unpatchify(self, x_bnp: Float[Array, "b n p"]) -> Float[Array, "b ..."]:
        """Inverse of `patchify` on the part of the input that whole patches cover."""
        n = len(self.grid)
        x = x_bnp.reshape(x_bnp.shape[0], *self.grid, *self.patch, self.channels)
        order = [axis for i in range(n) for axis in (1 + i, 1 + n + i)]
        x = x.transpose(0, *order, 2 * n + 1)
        extents = [g * p for g, p in zip(self.grid, self.patch, strict=True)]
        return x.reshape(x.shape[0], *extents, *self.input_shape[n:])


@dataclasses.dataclass(frozen=True)
class Video(Modality):
    """Frames `[b, f, h, w, 3]`, cut into tubelets of (time, height, width).

    Attributes:
        frames: frames a model input holds.
        stride: distance between sampled frames, counted at `fps`.
        fps: the rate in frames a second that `stride` counts in (25 in AudioSet and UCF101);
            records at another rate are stepped through accordingly.
        size: height and width in pixels.
        mean, std: normalisation of RGB in [0, 1]; the default maps to [-1, 1].
        remove_still: whether each pixel's mean over the frames is replaced by `mean`, so that only
            what moves is left (for a fixed camera, such as crops of a mouth).
    """

    name: ClassVar[str] = "video"
    channels: ClassVar[int] = 3

    frames: Extent = 16
    stride: Size = 4
    fps: Rate = 25.0
    size: Extent = 224
    patch: tuple[int, ...] = (2, 16, 16)
    mask_ratio: Share = 0.9
    masking: VideoMasking = "random"
    weight: Amount = 1.0
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    remove_still: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not all(deviation > 0 for deviation in self.std):
            raise ConfigError(f"modalities.video.std is {self.std}, expected values above 0")
        names = ("frames", "height", "width")
        for axis, extent, size in zip(names, self.axes, self.patch, strict=True):
            if extent % size:
                raise ConfigError(
                    f"modalities.video: {axis} {extent} is not divisible by its patch size {size}; "
                    f"use {extent // size * size or size} or {(extent // size + 1) * size}"
                )

    @property
    def axes(self) -> tuple[int, ...]:
        return (self.frames, self.size, self.size)

    @property
    def seconds(self) -> float:
        """Time that the sampled frames span, the last frame's stride included."""
        return self.frames * self.stride / self.fps


@dataclasses.dataclass(frozen=True)
class Audio(Modality):
    """A log-mel spectrogram `[b, t, m]` with 100 columns a second, cut into (time, mel) patches.

    Attributes:
        seconds: length of the sound window.
        mels: number of mel bands.
        mean, std: normalisation of the log-mel values; None takes the data set's own statistics.
    """

    name: ClassVar[str] = "audio"
    channels: ClassVar[int] = 1
    sample_rate: ClassVar[int] = 16_000
    hop: ClassVar[int] = 160

    seconds: Annotated[float, Interval(ge=0, le=86_400)] = 10.0
    mels: Extent = 128
    patch: tuple[int, ...] = (16, 16)
    mask_ratio: Share = 0.7
    masking: AudioMasking = "random"
    weight: Amount = 1.0
    mean: float | None = None
    std: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.std is not None and not self.std > 0:
            raise ConfigError(f"modalities.audio.std is {self.std}, expected a value above 0")

    @property
    def axes(self) -> tuple[int, ...]:
        return (self.samples // self.hop, self.mels)

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.axes

    @property
    def samples(self) -> int:
        """Waveform samples in the window."""
        return round(self.seconds * self.sample_rate)


KINDS: dict[str, type[Modality]] = {"video": Video, "audio": Audio}
Modalities = Mapping[str, Modality]  # by name


def video_and_audio(modalities: Modalities) -> tuple[Video | None, Audio | None]:
    """Both by their own types, for code that handles each in its way; None where one is absent."""
    video, audio = modalities.get("video"), modalities.get("audio")
    assert isinstance(video, Video | None) and isinstance(audio, Audio | None)
    return video, audio


def hidden_tokens(grid: tuple[int, ...], ratio: float, masking: str) -> int:
    """Number of hidden tokens of a `masking` on a token grid (video: t h w, audio: t m).

    `random` hides int(ratio n); `tube` hides int(ratio h w) places in every slot; `time` and `freq`
    hide whole columns or rows; `time_freq` hides both so that the visible share is 1 - ratio
    (Audio-MAE, Huang et al. 2022).
    """
    total = math.prod(grid)
    if masking == "random":
        return int(ratio * total)
    if masking == "tube":
        return int(ratio * math.prod(grid[1:])) * grid[0]
    time, freq = hidden_columns(grid, ratio, masking)
    return total - (grid[0] - time) * (grid[1] - freq)


def hidden_columns(grid: tuple[int, ...], ratio: float, masking: str) -> tuple[int, int]:
    """Numbers of hidden (time columns, frequency rows) of a structured audio masking."""
    both = 1.0 - math.sqrt(1.0 - ratio)
    shares = {"time": (ratio, 0.0), "freq": (0.0, ratio), "time_freq": (both, both)}
    time, freq = shares[masking]
    return int(time * grid[0]), int(freq * grid[1])
