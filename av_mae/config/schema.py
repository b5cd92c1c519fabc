"""The schema of an experiment: every key a config may set, its type, its default and its meaning.

A config file returns an `ml_collections.ConfigDict`; `av_mae.config.parse` turns it, once, into the
frozen dataclasses below.
"""

import dataclasses
import hashlib
import json
import re
from typing import Any

from av_mae.config import modality as modality_lib

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
class MediaSequence:
    """What DMVR's files do not say themselves; for `dataset.format="mediasequence"`."""

    labels: str = ""  # file of label names, one a line, in index order
    classes: int = 0  # number of labels where there is no such file; 0 = none are read
    fps: float = 0.0  # frames a second of files without times; 0 = modalities.video.fps
    sound: str = "auto"  # waveform, melspec; auto: the waveform, or else melspec
    sample_rate: int = 16_000  # of waveforms; a multiple of 16,000
    complete: bool = False  # every clip has pictures and sound: no masks for those that lack one


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Where the records lie and which splits play which part."""

    path: str = ""  # folder written by `python -m av_mae.prepare`, or of MediaSequence files
    source: str = ""  # or a folder or csv of media files, prepared at first use; see docs/data.md
    prepare: str = ""  # flags of that preparation, as in "--fps=25 --short_side=128"
    cache: str = ""  # where its records are kept; "" = ~/.cache/av_mae/records
    format: str = "records"  # records, mediasequence (DMVR's tf.SequenceExamples; docs/data.md)
    mediasequence: MediaSequence = dataclasses.field(default_factory=MediaSequence)
    train: str = "train"  # split trained on; of MediaSequence files, a table such as train@1024
    multilabel: bool = False  # several labels a clip: sigmoid instead of softmax
    sampling: str = "dense"  # dense, dense_cyclic, dense_linspace, uniform, uniform_floor
    test_short_side: int = 0  # views are cut from whole frames resized to it (Scenic); 0 = off
    repeat: int = 1  # augmented copies of a clip in one batch (Hoffer et al. 2020)
    canvas: tuple[int, int] = (0, 0)  # height, width of pictures that devices crop; 0 = hosts do
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
    rand_augment: int = 0  # operations drawn in turn (RandAugment, Cubuk et al. 2020); 0 = off
    rand_augment_magnitude: float = 7.0  # their mean strength, 0 to 10
    rand_augment_deviation: float = 0.5  # of the strength, from one operation to the next
    flip: float = 0.5  # probability of a horizontal flip
    color: float = 0.0  # probability of brightness, saturation, contrast and hue jitter
    gray: float = 0.0  # probability of dropping colour
    erase: float = 0.0  # probability of a box of noise (random erasing, Zhong et al. 2020)
    audio_roll: bool = False  # circular shift of the spectrogram in time
    freq_masks: int = 0  # SpecAugment (Park et al. 2019)
    freq_mask_bins: int = 0  # largest width of one
    time_masks: int = 0  # the same along time
    time_mask_columns: int = 0  # largest width of one, in 10 ms
    mixup: float = 0.0  # Beta parameter; 0 = off
    cutmix: float = 0.0  # the same, for boxes of video and spans of sound
    mix_per_modality: bool = False  # one mixing weight for each modality
    drop_modality: float = 0.0  # probability that a clip keeps only one of its modalities


@dataclasses.dataclass(frozen=True)
class Optim:
    """Optimizer and schedule; the learning rate itself is `lr` at the top level."""

    name: str = "adamw"  # adamw, sgd
    b1: float = 0.9  # AdamW: decay of the mean gradient
    b2: float = 0.95  # AdamW: decay of the mean square
    eps: float = 1e-8  # AdamW: added to the root mean square
    momentum: float = 0.9  # SGD
    momentum_dtype: str = "float32"  # of the mean gradient: bfloat16 saves two bytes a parameter
    weight_decay: float = 0.05  # decoupled: times the learning rate
    decay_kernels_only: bool = True  # no decay on biases, norms, tokens and positions
    warmup: str = "0 steps"  # linear, from 0
    schedule: str = "cosine"  # cosine, constant, linear; cosine_videomae: at the peak a step sooner
    min_lr: float = 0.0  # at the end of a cosine or linear schedule
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
    remat: str = "dots"  # none, dots (keep matrix products), full (keep nothing)
    fsdp: int = 1  # devices that share one copy of the parameters; the rest is data parallel
    tensor: int = 1  # devices that share the work of every layer, its heads and hidden units


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """When the state of a run is written, and what is kept of it."""

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
    """What a run starts from."""

    path: str = ""  # workdir or checkpoint to start from; "" = random weights


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything that defines a run."""

    task: str = "pretrain"  # pretrain, classify: a module of av_mae/tasks
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
        """Plain nested dict; `av_mae.config.parse` reads it back to an equal experiment."""
        return dataclasses.asdict(self)

    def digest(self) -> str:
        """Short hash of all keys, for file names and tables."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


CHOICES = {
    "dataset.format": ("records", "mediasequence"),
    "dataset.mediasequence.sound": ("auto", "waveform", "melspec"),
    "dataset.sampling": ("dense", "dense_cyclic", "dense_linspace", "uniform", "uniform_floor"),
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
    "optim.schedule": ("cosine", "constant", "linear", "cosine_videomae"),
    "optim.momentum_dtype": ("float32", "bfloat16"),
    "compute.dtype": ("float32", "bfloat16"),
    "compute.remat": ("none", "dots", "full"),
    "evaluators.*.kind": ("classification", "reconstruction", "knn"),
    "evaluators.*.merge": ("logits", "softmax"),
}

# Smallest values of numbers that cannot be smaller.
MINIMA = {
    "batch_size": 1,
    "lr": 0,
    "dataset.mediasequence.classes": 0,
    "dataset.mediasequence.fps": 0,
    "dataset.mediasequence.sample_rate": 1,
    "dataset.test_short_side": 0,
    "dataset.repeat": 1,
    "dataset.workers": 0,
    "model.width": 1,
    "model.depth": 1,
    "model.heads": 1,
    "model.mlp": 1,
    "model.bottlenecks": 0,
    "model.decoder_width": 1,
    "model.decoder_depth": 0,
    "model.decoder_heads": 1,
    "model.decoder_mlp": 1,
    "augment.freq_masks": 0,
    "augment.freq_mask_bins": 0,
    "augment.time_masks": 0,
    "augment.time_mask_columns": 0,
    "augment.rand_augment": 0,
    "augment.rand_augment_deviation": 0,
    "augment.mixup": 0,
    "augment.cutmix": 0,
    "optim.accumulate": 1,
    "optim.clip": 0,
    "optim.weight_decay": 0,
    "compute.fsdp": 1,
    "compute.tensor": 1,
    "checkpoint.keep": 1,
    "evaluators.*.batch_size": 0,
    "evaluators.*.temporal_views": 1,
    "evaluators.*.spatial_views": 1,
    "evaluators.*.neighbours": 1,
}

# Numbers from 0 to less than 1.
SHARES = (
    "model.drop_path",
    "model.dropout",
    "model.attention_dropout",
    "model.head_dropout",
    "optim.b1",
    "optim.b2",
    "optim.momentum",
    "optim.ema",
    "optim.label_smoothing",
)

# Numbers from 0 to 1.
PROBABILITIES = (
    "augment.flip",
    "augment.color",
    "augment.gray",
    "augment.erase",
    "augment.drop_modality",
)

# Numbers with a smallest and a largest value, probabilities among them.
RANGES = dict.fromkeys(PROBABILITIES, (0, 1)) | {"augment.rand_augment_magnitude": (0, 10)}

# Keys whose text is a length of time; an evaluator may also wait for the "end".
DURATIONS = ("total", "log_every", "optim.warmup", "checkpoint.every", "evaluators.*.every")


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
