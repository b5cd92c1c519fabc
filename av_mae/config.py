"""The schema of an experiment: every key a config may set, its type, its default and its meaning.

A config file returns an `ml_collections.ConfigDict`; `parse` turns it, once, into the frozen
dataclasses below. An unknown key or a value of the wrong kind stops there with the nearest key.
"""

import dataclasses
import difflib
import hashlib
import json
import re
import types
import typing
from collections.abc import Mapping
from typing import Any

import ml_collections

from av_mae import modality as modality_lib

# width, depth, heads, mlp (Dosovitskiy et al. 2021; Ti, S: Touvron et al. 2021).
VARIANTS = {
    "Ti": (192, 12, 3, 768),
    "S": (384, 12, 6, 1536),
    "B": (768, 12, 12, 3072),
    "L": (1024, 24, 16, 4096),
    "H": (1280, 32, 16, 5120),
}


class ConfigError(ValueError):
    """A config that cannot run; the message names the key and what to write instead."""


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Where the records lie and which splits play which part."""

    path: str = ""  # folder written by `python -m av_mae.prepare`
    train: str = "train"  # split trained on
    multilabel: bool = False  # several labels a clip: sigmoid instead of softmax
    sampling: str = "dense"  # dense: `stride` apart from a random start; uniform: one a segment
    repeat: int = 1  # augmented copies of a clip in one batch (Hoffer et al. 2020)
    workers: int = 0  # parallel readers; 0 = one a core


@dataclasses.dataclass(frozen=True)
class Model:
    """Architecture. Field by field the published choices; see docs/models.md."""

    width: int = 768  # of the encoder
    depth: int = 12  # layers of the encoder, the fused ones included
    heads: int = 12  # attention heads
    mlp: int = 3072  # hidden width of the two-layer perceptrons
    fusion: str = "early"  # early, separate, shared, mid; finetuning also: bottleneck
    fusion_layers: int = 2  # fused layers of mid and bottleneck (2 or more) fusion, at the top
    bottlenecks: int = 4  # tokens of bottleneck fusion (MBT, Nagrani et al. 2021)
    bottlenecks_at_test: bool = True  # False: no exchange outside training steps
    fusion_norm: bool = True  # LayerNorm where separate layers end and fused ones begin (MBT: none)
    fusion_norm_layer: int = 0  # or after this many layers, as in the pretraining one starts from
    decoder: str = "shared"  # shared, separate, joint
    decoder_width: int = 384  # as above, of the decoder
    decoder_depth: int = 4  # layers
    decoder_heads: int = 6  # attention heads
    decoder_mlp: int = 1536  # hidden width of its perceptrons
    gelu: str = "tanh"  # tanh (Scenic) or erf (VideoMAE)
    norm_eps: float = 1e-6  # added to the variance in every LayerNorm
    outer_norm_eps: float = 0.0  # of decoder and head norms; 0 = norm_eps (Hugging Face: 1e-5)
    final_norm: bool = True  # LayerNorm after each encoder
    shared_norm: bool = False  # one final norm for separate and bottleneck encoders (MBT)
    decoder_norm: bool = True  # LayerNorm after each decoder
    project_bias: bool = True  # bias between encoder and decoder (VideoMAE: none)
    qkv_bias: str = "qkv"  # qkv (Scenic), qv (VideoMAE: no bias on keys), none
    layer_scale: float = 0.0  # initial gamma of the residual branches; 0 = absent
    positions: str = "sincos"  # sincos: fixed, 1-D over tokens; sincos3d: by grid axis; learned
    decoder_positions: str = "sincos"  # the same choices
    modality_tokens: bool = False  # a learned vector added to all tokens of a modality
    inpainting: bool = False  # decode each modality from the other's visible tokens
    normalise_targets: str = "none"  # patch, patch_channel (VideoMAE); raw: before mean and std
    loss_on_visible: bool = False  # reconstruct the visible patches, too
    pool: str = "mean"  # mean, max, token (a class token), first (VideoMAE: the first patch)
    shared_head: bool = True  # one head for all modalities (MBT), or one each
    head_norm: bool = False  # LayerNorm after pooling (VideoMAE's fc_norm)
    head_width: int = 0  # of a tanh layer before the classifier; 0 = none
    head_dropout: float = 0.0  # of the pooled features
    head_scale: float = 0.0  # scale of the classifier's initial weights; 0 = zeros
    linear_probe: bool = False  # frozen encoder, standardised features, trained head
    drop_path: float = 0.0  # of the last layer, growing linearly from 0
    drop_path_rescale: bool = True  # divide kept branches by 1 - rate (Scenic does not)
    dropout: float = 0.0  # after embeddings and perceptrons
    attention_dropout: float = 0.0  # of attention weights


@dataclasses.dataclass(frozen=True)
class Augment:
    """What happens to training examples only, in this order."""

    crop: str = "random_resized"  # random_resized, multi_scale, jitter, centre
    crop_area: tuple[float, float] = (0.5, 1.0)  # random_resized: share of the picture
    crop_aspect: tuple[float, float] = (0.75, 4.0 / 3.0)  # random_resized: width / height
    jitter_scale: tuple[float, float] = (0.9, 1.33)  # jitter: zoom before the crop
    flip: float = 0.5  # probability of a horizontal flip
    color: float = 0.0  # probability of brightness, saturation, contrast and hue jitter
    gray: float = 0.0  # probability of dropping colour
    audio_roll: bool = False  # circular shift of the spectrogram in time
    freq_masks: int = 0  # SpecAugment (Park et al. 2019)
    freq_mask_bins: int = 0  # largest width of one
    time_masks: int = 0  # the same along time
    time_mask_columns: int = 0  # largest width of one, in 10 ms
    mixup: float = 0.0  # Beta parameter; 0 = off
    cutmix: float = 0.0  # the same, for boxes of video and spans of sound
    mix_per_modality: bool = False  # one mixing weight for each modality


@dataclasses.dataclass(frozen=True)
class Optim:
    """Optimizer and schedule; the learning rate itself is `lr` at the top level."""

    name: str = "adamw"  # adamw, sgd
    b1: float = 0.9  # AdamW: decay of the mean gradient
    b2: float = 0.95  # AdamW: decay of the mean square
    eps: float = 1e-8  # AdamW: added to the root mean square
    momentum: float = 0.9  # SGD
    weight_decay: float = 0.05  # decoupled: times the learning rate
    decay_kernels_only: bool = True  # no decay on biases, norms, tokens and positions
    warmup: str = "0 steps"  # linear, from 0
    schedule: str = "cosine"  # cosine, constant, linear
    min_lr: float = 0.0  # at the end of the schedule
    clip: float = 0.0  # global gradient norm; 0 = off
    layer_decay: float = 1.0  # lr factor from one layer to the one below
    ema: float = 0.0  # decay of the averaged parameters that are evaluated; 0 = off
    label_smoothing: float = 0.0  # share of the target spread over all classes
    accumulate: int = 1  # micro-batches a step


@dataclasses.dataclass(frozen=True)
class Compute:
    """How the step runs: precision, layer loop, memory, mesh."""

    dtype: str = "float32"  # float32 or bfloat16; norms, softmax and losses stay float32
    scan: bool = True  # one compiled layer in a loop, or all layers unrolled
    remat: str = "none"  # none, dots (keep matrix products), full (keep nothing)
    fsdp: int = 1  # devices that share one copy of the parameters; the rest is data parallel


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    every: str = "1 epochs"  # a killed run goes on from the newest one
    keep: int = 2  # newest checkpoints kept
    best: str = ""  # metric kept separately at its best, e.g. "val/accuracy"; "" = none


@dataclasses.dataclass(frozen=True)
class Evaluator:
    """One evaluator on a schedule; results are named `<its key>/<metric>`."""

    kind: str = "classification"  # classification, reconstruction, knn
    split: str = "val"  # split scored
    every: str = "1 epochs"  # "end" = only after the last step
    batch_size: int = 0  # clips; 0 = the training batch size
    temporal_views: int = 1  # cuts in time a clip
    spatial_views: int = 1  # crops a cut
    merge: str = "logits"  # average of logits or of softmax probabilities over views
    modalities: tuple[str, ...] = ()  # the subset given to the model; () = all
    train_split: str = "train"  # knn: where the neighbours come from
    neighbours: int = 10  # knn: how many vote


@dataclasses.dataclass(frozen=True)
class InitFrom:
    path: str = ""  # workdir or checkpoint to start from; "" = random weights
    kind: str = "auto"


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything that defines a run."""

    task: str = "pretrain"  # pretrain, classify
    seed: int = 0  # of parameters, order, masks and augmentation
    total: str = "100 epochs"  # length of the run
    batch_size: int = 256  # rows a step, over all devices and micro-batches
    lr: float = 1.5e-4  # peak learning rate, as it is used: nothing scales it
    dataset: Dataset = dataclasses.field(default_factory=Dataset)
    modalities: dict[str, modality_lib.Modality] = dataclasses.field(default_factory=dict)
    model: Model = dataclasses.field(default_factory=Model)
    augment: Augment = dataclasses.field(default_factory=Augment)
    optim: Optim = dataclasses.field(default_factory=Optim)
    compute: Compute = dataclasses.field(default_factory=Compute)
    checkpoint: Checkpoint = dataclasses.field(default_factory=Checkpoint)
    evaluators: dict[str, Evaluator] = dataclasses.field(default_factory=dict)
    init_from: InitFrom = dataclasses.field(default_factory=InitFrom)
    log_every: str = "50 steps"  # line, metrics.jsonl, TensorBoard

    def to_dict(self) -> dict[str, Any]:
        """Plain nested dict; `parse` reads it back to an equal experiment."""
        return dataclasses.asdict(self)

    def digest(self) -> str:
        """Short hash of all keys, for file names and tables."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


CHOICES = {
    "task": ("pretrain", "classify"),
    "dataset.sampling": ("dense", "uniform"),
    "model.fusion": ("early", "separate", "shared", "mid", "bottleneck"),
    "model.decoder": ("shared", "separate", "joint"),
    "model.gelu": ("tanh", "erf"),
    "model.qkv_bias": ("qkv", "qv", "none"),
    "model.positions": ("sincos", "sincos3d", "learned"),
    "model.decoder_positions": ("sincos", "sincos3d", "learned"),
    "model.normalise_targets": ("none", "patch", "patch_channel", "raw"),
    "model.pool": ("mean", "max", "token", "first"),
    "augment.crop": ("random_resized", "multi_scale", "jitter", "centre"),
    "optim.name": ("adamw", "sgd"),
    "optim.schedule": ("cosine", "constant", "linear"),
    "compute.dtype": ("float32", "bfloat16"),
    "compute.remat": ("none", "dots", "full"),
}


def variant(name: str) -> tuple[dict[str, int], tuple[int, int, int]]:
    """`"L/16x2"` -> (widths of the encoder, video patch (time, height, width))."""
    match = re.fullmatch(r"(\w+)/(\d+)x(\d+)", name)
    if not match or match[1] not in VARIANTS:
        known = ", ".join(VARIANTS)
        raise ConfigError(f"variant {name!r}: expected <{known}>/<patch>x<frames>, as in B/16x2")
    width, depth, heads, mlp = VARIANTS[match[1]]
    frames, pixels = int(match[3]), int(match[2])
    sizes = {"width": width, "depth": depth, "heads": heads, "mlp": mlp}
    return sizes, (frames, pixels, pixels)


def parse(config: Mapping[str, Any] | ml_collections.ConfigDict) -> Experiment:
    """Checks a config mapping (ConfigDict or dict) key by key and returns the experiment.

    Raises:
        ConfigError: unknown key, wrong type, unknown choice, or values that contradict each other.
    """
    plain = config.to_dict() if isinstance(config, ml_collections.ConfigDict) else config
    experiment = _build(Experiment, plain, "")
    _check(experiment)
    return experiment


_UNITS = {"step": "steps", "epoch": "epochs", "example": "examples", "percent": "%"}


def steps(duration: str, *, steps_per_epoch: float, batch_size: int, total: int = 0) -> int:
    """`"5 epochs"`, `"200 steps"`, `"10000 examples"` or `"5 %"` (of `total` steps) in steps."""
    match = re.fullmatch(r"([\d.]+(?:e\d+)?)\s*([a-z]+|%)", duration.strip())
    unit = _UNITS.get(match[2].rstrip("s"), match[2]) if match else ""
    if not match or unit not in ("steps", "epochs", "examples", "%"):
        raise ConfigError(
            f"duration {duration!r}: expected a number and steps, epochs, examples or %, "
            'as in "5 epochs"'
        )
    size = {"steps": 1.0, "epochs": steps_per_epoch, "examples": 1 / batch_size, "%": total / 100}
    return round(float(match[1]) * size[unit])


def _build(kind: type, values: Any, where: str) -> Any:
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where} is {values!r}, expected a dict of {_names(kind)}")
    hints = typing.get_type_hints(kind)
    known = {f.name: hints[f.name] for f in dataclasses.fields(kind)}
    for key in values:
        if key not in known:
            raise ConfigError(_unknown(f"{where}{key}", key, known))
    try:
        return kind(**{k: _value(known[k], v, f"{where}{k}") for k, v in values.items()})
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _value(hint: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        return _value(next(a for a in args if a is not type(None)), value, where)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return _build(hint, value, where + ".")
    if origin is dict:
        return _mapping(args[1], value, where)
    if origin is tuple:
        return _tuple(args, value, where)
    return _scalar(hint, value, where)


def _mapping(kind: type, value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where} is {value!r}, expected a dict by name")
    if kind is modality_lib.Modality:
        for name in value:
            if name not in modality_lib.KINDS:
                raise ConfigError(_unknown(f"{where}.{name}", name, modality_lib.KINDS))
        order = [name for name in modality_lib.KINDS if name in value]
        return {n: _build(modality_lib.KINDS[n], value[n], f"{where}.{n}.") for n in order}
    return {name: _build(kind, sub, f"{where}.{name}.") for name, sub in value.items()}


def _tuple(args: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, (tuple, list)):
        raise ConfigError(f"{where} is {value!r}, expected a tuple, as in (1, 2)")
    if args[-1] is Ellipsis:
        args = (args[0],) * len(value)
    if len(value) != len(args):
        raise ConfigError(f"{where} is {tuple(value)}, expected {len(args)} values")
    pairs = enumerate(zip(args, value, strict=True))
    return tuple(_scalar(a, v, f"{where}[{i}]") for i, (a, v) in pairs)


def _scalar(kind: type, value: Any, where: str) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ConfigError(
            f"{where} is {value!r} ({type(value).__name__}), expected {kind.__name__}"
        )
    return value


def _unknown(where: str, key: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
    return f"unknown key {where!r}; {hint}"


def _names(kind: type) -> str:
    return ", ".join(f.name for f in dataclasses.fields(kind))


def _check(e: Experiment) -> None:
    for path, choices in CHOICES.items():
        value: Any = e
        for name in path.split("."):
            value = getattr(value, name)
        if value not in choices:
            raise ConfigError(f"{path} is {value!r}, expected one of {', '.join(choices)}")
    _check_sizes(e)
    _check_fusion(e)
    for name in ("total", "log_every"):
        steps(getattr(e, name), steps_per_epoch=1.0, batch_size=1)


def _check_sizes(e: Experiment) -> None:
    if not e.modalities:
        raise ConfigError("modalities is empty, expected video, audio or both")
    if e.batch_size < 1 or e.batch_size % e.optim.accumulate:
        raise ConfigError(
            f"batch_size {e.batch_size} is not divisible by optim.accumulate {e.optim.accumulate}"
        )
    if e.batch_size % e.dataset.repeat:
        raise ConfigError(
            f"batch_size {e.batch_size} is not divisible by dataset.repeat {e.dataset.repeat}"
        )
    m = e.model
    for key, width, heads in (
        ("model", m.width, m.heads),
        ("model.decoder", m.decoder_width, m.decoder_heads),
    ):
        if width % heads:
            raise ConfigError(f"{key}: width {width} is not divisible by {heads} heads")


def _check_fusion(e: Experiment) -> None:
    m = e.model
    if e.task == "pretrain" and m.fusion == "bottleneck":
        raise ConfigError("model.fusion bottleneck is for finetuning; pretrain with mid or early")
    if m.fusion in ("mid", "bottleneck") and not 0 <= m.fusion_layers <= m.depth:
        raise ConfigError(
            f"model.fusion_layers is {m.fusion_layers}, expected 0 to model.depth ({m.depth})"
        )
    if not 0 <= m.fusion_norm_layer < m.depth:
        raise ConfigError(
            f"model.fusion_norm_layer is {m.fusion_norm_layer}, expected 0 (where fusion begins) "
            f"or less than model.depth ({m.depth})"
        )
    if m.inpainting and len(e.modalities) < 2:
        raise ConfigError("model.inpainting needs two modalities; add one or turn it off")
