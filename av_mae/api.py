"""Running trained models on clips: load a model, classify, embed, reconstruct."""

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, overload

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from flax import nnx
from jaxtyping import Float

from av_mae import tasks
from av_mae.config import schema
from av_mae.config.modality import Modality, video_and_audio
from av_mae.convert import read
from av_mae.experiment import fingerprint
from av_mae.experiment.step import split
from av_mae.inference import features, reconstruction, stream, timeline, together, views
from av_mae.inference.clip import Clip
from av_mae.inference.clip import read as read_clip
from av_mae.inference.reconstruction import Reconstruction
from av_mae.inference.timeline import Timeline
from av_mae.tasks import metrics

Source = Clip | str | os.PathLike[str]  # a clip, or the path of a file that holds one

# Rows that go through a model at once; more views than this come in several batches.
_ROWS = 8


def load(
    path: str | os.PathLike[str],
    step: int | None = None,
    *,
    known: Mapping[str, Any] | schema.Experiment | None = None,
) -> "Model":
    """Loads a model from the workdir of a run, one of its checkpoints, or a foreign file.

    Args:
        path: what `av_mae.convert.read` reads; docs/checkpoints.md has the table.
        known: what a foreign file does not show of its model, as `{"model.heads": 6}`.

    Raises:
        ValueError: no checkpoint there, a damaged one, or a foreign one that does not show enough
            of its model; says which keys are wanted.
    """
    saved = read.read(path, known, step)
    task = tasks.make(saved.experiment, saved.labels)
    empty = nnx.eval_shape(lambda: task.init(nnx.Rngs(0)))
    graphdef, params, rest = split(empty)
    for found, expected in ((saved.params, params), (saved.rest, rest)):
        difference = fingerprint.difference(found, expected)
        if difference:
            raise ValueError(
                f"{os.fspath(path)} was written by another version of the model: {difference}"
            )
    module = nnx.merge(graphdef, *jax.device_put((saved.params, saved.rest)))
    return Model(module, saved.experiment, saved.labels, source=os.fspath(path), step=saved.step)


class Model:
    """A trained model with its preprocessing and its label names.

    Every method takes any clip, or the path of a media file, of which it reads what it needs:
    longer ones are cut to what the model sees, shorter ones hold their last frame and end in
    silence, and a modality that the clip lacks is left out, with a warning.
    `modalities=("audio",)` leaves the others out on purpose.
    """

    def __init__(
        self,
        module: nnx.Module,
        experiment: schema.Experiment,
        labels: Sequence[str] = (),
        *,
        source: str = "this model",
        step: int = 0,
    ):
        """`module` is what the task of `experiment` makes; `source` is its name in messages."""
        self.experiment, self.labels = experiment, tuple(labels)
        self.source, self.step = source, step
        self._task = tasks.make(experiment, labels)
        self._graphdef, *self._variables = split(module)

        def jitted(method: str) -> Callable[..., Any]:
            def run(variables: Any, *inputs: Any, **choices: Any) -> Any:
                model = nnx.merge(self._graphdef, *variables)
                return getattr(self._task, method)(model, *inputs, **choices)

            return jax.jit(run, static_argnames="layer")

        self._predict, self._features = jitted("predict"), jitted("features")
        self._reconstruct = jitted("reconstruct")

    def __repr__(self) -> str:
        e = self.experiment
        inputs = " and ".join(f"{m.seconds:g} s of {name}" for name, m in e.modalities.items())
        labels = f", {len(self.labels)} labels" if self.labels and e.task != "pretrain" else ""
        return f"Model({self.source}, step {self.step}: {e.task} of {inputs}{labels})"

    @overload
    def classify(
        self,
        clip: Source,
        top: int = 5,
        *,
        modalities: Sequence[str] = ...,
        temporal_views: int = ...,
        spatial_views: int = ...,
    ) -> dict[str, float]: ...

    @overload
    def classify(
        self,
        clip: Sequence[Source],
        top: int = 5,
        *,
        modalities: Sequence[str] = ...,
        temporal_views: int = ...,
        spatial_views: int = ...,
    ) -> list[dict[str, float]]: ...

    def classify(
        self,
        clip: Source | Sequence[Source],
        top: int = 5,
        *,
        modalities: Sequence[str] = (),
        temporal_views: int = 0,
        spatial_views: int = 0,
    ) -> dict[str, float] | list[dict[str, float]]:
        """`{label: probability}` of the `top` most probable labels, best first; a list for a list.

        Args:
            clip: one, or a list of them, which go through the model together.
            temporal_views, spatial_views: views averaged; 0 = as the run's evaluation does. Of a
                file of more than 20 s it is windows that are spread over it: see `timeline`.

        Raises:
            ValueError: not a classifier, an unknown modality, or a clip without any of them.
        """
        self.expect("classify")
        views_of_each = (temporal_views, spatial_views)
        if not isinstance(clip, Clip | str | os.PathLike):
            return together.best_labels(self, clip, top, modalities, *views_of_each)
        if isinstance(clip, Clip) or any(views_of_each):
            return together.best_labels(self, [clip], top, modalities, *views_of_each)[0]
        return self.timeline(clip, modalities=modalities).top(top)

    def timeline(
        self,
        path: str | os.PathLike[str],
        *,
        window: float | None = None,
        hop: float | None = None,
        modalities: Sequence[str] = (),
        start: float | None = None,
        end: float | None = None,
        frame_rate: float | None = None,
    ) -> timeline.Timeline:
        """What a media file of any length shows, window by window and in all.

        Args:
            window: seconds a window; None = what the model sees at once.
            hop: seconds between the starts of windows; None = the window. Without both, windows are
                where evaluation takes its views, of more than 20 s one for each 10 s up to ten.
            start, end: the part of the file, seconds.
            frame_rate: pictures a second, if the path is a folder of frames.

        Raises:
            ValueError: not a classifier, an unknown modality, or no media file.
        """
        self.expect("classify")
        return timeline.judge(
            self,
            path,
            window=window,
            hop=hop,
            modalities=modalities,
            start=start,
            end=end,
            frame_rate=frame_rate,
        )

    def function(
        self, name: Literal["features", "predict"]
    ) -> tuple[Callable[[Any, Mapping[str, jax.Array]], Any], Any]:
        """The model as a pure function, for programs of one's own, and its parameters.

        Args:
            name: `features` gives tokens `{"video": [b n d], "audio": [b m d]}`, `predict` the
                logits `[b k]` of a classifier.

        Returns:
            `(function, params)`; `function(params, batch)` can be differentiated, jitted and
            exported. A batch is what `batch` gives: `video` uint8 `[b f h w 3]` and `audio` int16
            `[b s]`, or one of them.

        Raises:
            ValueError: `predict` of a model that is no classifier.
        """
        if name == "predict":
            self.expect("classify")
        params, rest = self._variables

        def function(params: Any, batch: Mapping[str, jax.Array]) -> Any:
            return getattr(self._task, name)(nnx.merge(self._graphdef, params, rest), dict(batch))

        return function, params

    def batch(
        self, clips: Sequence[Source], *, modalities: Sequence[str] = ()
    ) -> dict[str, jax.Array]:
        """What the model sees of the middle of each clip, all of the same modalities, stacked."""
        found = together.stacked(self, clips, modalities).batch
        return {name: jnp.asarray(x) for name, x in found.items()}

    def logits(self, cut: views.Views) -> Float[np.ndarray, "v k"]:
        """The classifier's output for many views."""
        return self._in_batches(self._predict, cut.batch)

    def probabilities(self, logits_bvk: Float[np.ndarray, "b v k"]) -> Float[np.ndarray, "b k"]:
        """Of the labels of clips seen in v views, merged as in evaluation."""
        scores_bk = metrics.merge_views(logits_bvk, self.evaluator.merge)
        multilabel = self.experiment.dataset.multilabel
        return np.asarray((jax.nn.sigmoid if multilabel else jax.nn.softmax)(scores_bk))

    @property
    def evaluator(self) -> schema.Evaluator:
        """How the run scores clips: the first of its evaluators that classifies."""
        kept = self.experiment.evaluators.values()
        return next((e for e in kept if e.kind == "classification"), schema.Evaluator())

    def features(
        self, clip: Source, *, modalities: Sequence[str] = (), layer: int | None = None
    ) -> dict[str, Float[np.ndarray, "..."]]:
        """Encoder output for the middle of the clip, nothing hidden.

        Args:
            layer: tokens as they leave this layer, before any norm; 0 = as they enter the first.
                None = the encoder's output.

        Returns:
            Tokens `video` `[n d]` and `audio` `[m d]`, and `pooled` `[d]`: the mean over modalities
            of the mean over their tokens.

        Raises:
            ValueError: an unknown modality or layer, or a clip without any of them.
        """
        clip = self.seen(clip, modalities)
        found = views.evaluation(clip, self.used(clip, modalities), self.experiment.dataset)
        tokens = {name: x_vnd[0] for name, x_vnd in self.embed(found, layer).items()}
        return tokens | {"pooled": features.pooled(tokens)}

    def fill(self, cut: views.Views, seed: int) -> dict[str, Any]:
        """What a pretrained model fills in of one view, by modality; see `reconstruct`."""
        self.expect("pretrain")
        keys_b = jax.random.key(seed)[None]
        return jax.device_get(self._reconstruct(self._variables, cut.batch, keys_b))

    def embed(
        self, cut: views.Views, layer: int | None = None
    ) -> dict[str, Float[np.ndarray, "v _ d"]]:
        """Encoder output `[v n d]` of many views, by modality; see `features` for `layer`."""
        self.check_layer(layer)
        return self._in_batches(functools.partial(self._features, layer=layer), cut.batch)

    def reconstruct(
        self, clip: Source, seed: int = 0, *, modalities: Sequence[str] = ()
    ) -> Reconstruction:
        """Hides tokens in the middle of the clip as in pretraining, and fills them in again.

        Args:
            seed: of the tokens that are hidden.

        Raises:
            ValueError: not a pretraining model, an unknown modality, or a clip without any of them.
        """
        return reconstruction.of(self, self.seen(clip, modalities), seed, modalities)

    def seen(self, clip: Source, modalities: Sequence[str]) -> Clip:
        """The clip, or of a file the middle that the model sees."""
        return clip if isinstance(clip, Clip) else stream.seen(clip, self.known(modalities))

    def used(self, clip: Clip, modalities: Sequence[str] = ()) -> dict[str, Modality]:
        """The modalities of the model that are asked for (none = all) and that the clip has."""
        known = self.known(modalities)
        wanted = list(known)
        there = {"video": clip.frames is not None, "audio": clip.audio is not None}
        here = [name for name in wanted if there[name]]
        lacking = " and no ".join(name for name in wanted if not there[name])
        if not here:
            raise ValueError(
                f"{clip.source} has no {lacking}, and {self.source} needs {' or '.join(wanted)}"
            )
        if lacking:
            logging.warning("%s has no %s: using its %s alone", clip.source, lacking, here[0])
        video, _ = video_and_audio({name: known[name] for name in here})
        if video and video.frames > 1 and clip.frames is not None and len(clip.frames) == 1:
            said = "%s shows one picture: it stands still for the %.2f s that %s sees"
            logging.warning(said, clip.source, video.seconds, self.source)
        return {name: known[name] for name in here}

    def known(self, names: Sequence[str] = ()) -> dict[str, Modality]:
        """The modalities of the model that are asked for; none = all.

        Raises:
            ValueError: the model does not know one of them.
        """
        every = self.experiment.modalities
        if wrong := [name for name in names if name not in every]:
            raise ValueError(
                f"unknown modality {wrong[0]!r}; {self.source} knows {', '.join(every)}"
            )
        return {name: modality for name, modality in every.items() if not names or name in names}

    def check_layer(self, layer: int | None) -> None:
        """Raises ValueError if the model has no such layer."""
        depth = self.experiment.model.depth
        if layer is not None and not 0 <= layer <= depth:
            raise ValueError(f"layer {layer}: {self.source} has {depth}; expected 0 to {depth}")

    def expect(self, task: str) -> None:
        """Raises ValueError, with what to do instead, unless the model was trained for `task`."""
        e, wanted = self.experiment, tasks.find(task)
        if not issubclass(tasks.find(e.task), wanted):
            instead = wanted.instead(self.source, e.init_from.path)
            raise ValueError(f"{self.source} is a {e.task} model: {instead}")
        if task == "classify" and not self.labels:
            raise ValueError(f"{self.source} is an encoder without a classifier; use features")

    def _in_batches(self, function: Callable[..., Any], batch: dict[str, np.ndarray]) -> Any:
        """Applies to a few rows at a time; the last rows are padded, so one program fits all."""
        rows = len(next(iter(batch.values())))
        size = min(rows, _ROWS)
        parts = []
        for begin in range(0, rows, size):
            part = {k: x[begin : begin + size] for k, x in batch.items()}
            missing = max(begin + size - rows, 0)
            part = {k: np.pad(x, [(0, missing)] + [(0, 0)] * (x.ndim - 1)) for k, x in part.items()}
            parts.append(jax.device_get(function(self._variables, part)))
        return jax.tree.map(lambda *x: np.concatenate(x).astype(np.float32)[:rows], *parts)


__all__ = ["Clip", "Model", "Reconstruction", "Timeline", "load", "read_clip"]
