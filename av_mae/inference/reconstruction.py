"""What a pretrained model was given of a clip and what it filled in."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib import figure

from av_mae.config.modality import Audio
from av_mae.inference import shown, views
from av_mae.inference.clip import Clip
from av_mae.report import pictures

if TYPE_CHECKING:
    from av_mae import api


@dataclasses.dataclass(frozen=True, repr=False)
class Reconstruction:
    """What a model was given and what it filled in; keys are `original`, `masked`, `predicted`.

    `predicted` shows the visible patches as they are and the hidden ones as the decoder fills them
    in; sounds but the original are made from the spectrograms. Where the model does not see what
    stands still (`remove_still`), pictures show only what moves, the original ones too.

    Attributes:
        frames: uint8 `[f h w 3]`, shown at `fps`; empty without video, like those below without
            audio.
        spectrogram: natural-log mel energies float32 `[t m]`, 100 columns a second.
        waveform: float32 `[s]` at 16 kHz.
        seconds: start and end of the shown part in the clip, by modality.
    """

    frames: dict[str, UInt8[np.ndarray, "f h w 3"]]
    fps: float
    spectrogram: dict[str, Float[np.ndarray, "t m"]]
    waveform: dict[str, Float[np.ndarray, " s"]]
    seconds: dict[str, tuple[float, float]]

    def __repr__(self) -> str:
        parts = []
        if self.frames:
            count, height, width, _ = self.frames["original"].shape
            parts.append(f"{count} frames of {height}x{width}")
        if self.spectrogram:
            parts.append(f"{len(self.spectrogram['original']) / 100:.2f} s of sound")
        return f"Reconstruction({', '.join(parts)}; original, masked, predicted)"

    def plot(self, columns: int = 8) -> figure.Figure:
        """The original, what of it was visible, and what was filled in, as a figure.

        Args:
            columns: most frames of each.
        """
        rows = []
        if self.frames:
            rows += [(kind, pictures.film(x, columns)) for kind, x in self.frames.items()]
        if self.spectrogram:
            rows += pictures.coloured(self.spectrogram).items()
        heights = [10 * image.shape[0] / image.shape[1] for _, image in rows]
        drawn = figure.Figure(figsize=(10, sum(heights) + 0.3 * len(rows)), layout="constrained")
        axes = np.ravel(drawn.subplots(len(rows), height_ratios=heights))
        for axis, (kind, image) in zip(axes, rows, strict=True):
            axis.imshow(image)
            axis.set_title(kind, loc="left", fontsize="medium")
            axis.set_axis_off()
        return drawn

    def sound_of_frames(self, kind: str = "predicted") -> Float[np.ndarray, " s"] | None:
        """The part of a waveform that is heard while the frames are shown; None without either."""
        if kind not in self.waveform or not self.frames:
            return None
        begin = self.seconds["video"][0] - self.seconds["audio"][0]
        length = len(self.frames[kind]) / self.fps
        samples = [round(max(t, 0.0) * Audio.sample_rate) for t in (begin, begin + length)]
        return self.waveform[kind][slice(*samples)]

    def example(self, title: str) -> pictures.Example:
        """The same for the report's pictures and pages."""
        longest = max(end - start for start, end in self.seconds.values())
        return pictures.Example(
            title, self.frames, self.fps, self.spectrogram, self.waveform, longest
        )


def of(model: "api.Model", clip: Clip, seed: int, modalities: Sequence[str]) -> Reconstruction:
    """Hides tokens in the middle of the clip as in pretraining, and fills them in again.

    Raises:
        ValueError: not a pretraining model, an unknown modality, or a clip without any of them.
    """
    known = model.used(clip, modalities)
    cut = views.evaluation(clip, known, model.experiment.dataset)
    example = shown.example(model.fill(cut, seed), 0, known, clip.source)
    waves = dict(example.waves)
    if waves:
        length = len(waves["predicted"])
        waves["original"] = (cut.batch["audio"][0, :length] / 32768.0).astype(np.float32)
    seconds = {name: tuple(x[0].tolist()) for name, x in cut.seconds.items()}
    return Reconstruction(
        dict(example.frames), example.fps, dict(example.spectrograms), waves, seconds
    )
