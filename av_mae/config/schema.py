"""The schema of an experiment: every key of a config, its type and limits, its default and meaning.

A config file returns an `ml_collections.ConfigDict`; `av_mae.config.parse` turns it, once, into the
frozen dataclasses below. `docs/configuration.md` is written from them: the comment of a key stands
behind it or on the line above.
"""

import dataclasses
import hashlib
import json
import re
from typing import Annotated, Any, Literal

from annotated_types import Interval, Predicate, doc

from av_mae.config import limits
from av_mae.config import modality as modality_lib
from av_mae.config.limits import (
    Amount,
    Count,
    Duration,
    Extent,
    Few,
    Occasion,
    Probability,
    Seed,
    Share,
    Size,
)

ConfigError = limits.ConfigError

# width, depth, heads, mlp (Dosovitskiy et al. 2021; Ti, S: Touvron et al. 2021).
VARIANTS = {
    "Ti": (192, 12, 3, 768),
    "S": (384, 12, 6, 1536),
    "B": (768, 12, 12, 3072),
    "L": (1024, 24, 16, 4096),
    "H": (1280, 32, 16, 5120),
}
# The same of models for small data and CPUs, published nowhere.
SMALL = {
    "pico": (96, 4, 3, 384),
    "nano": (128, 4, 4, 512),
}


Sampling = Literal["dense", "dense_cyclic", "dense_linspace", "uniform", "uniform_floor"]
Positions = Literal["sincos", "sincos3d", "learned"]
_WEIGHTS = ("none", "balanced", "sqrt", "effective")
ClassWeights = Annotated[
    str,
    Predicate(lambda text: text in _WEIGHTS or text.endswith(".csv")),
    doc(f"one of {', '.join(_WEIGHTS)}, or a file NAME.csv"),
]


@dataclasses.dataclass(frozen=True)
class MediaSequence:
    """What DMVR's files do not say themselves; for `dataset.format="mediasequence"`."""

    labels: str = ""  # file of label names, one a line, in index order
    classes: Count = 0  # number of labels where there is no such file; 0 = none are read
    fps: Amount = 0.0  # frames a second of files without times; 0 = modalities.video.fps
    # which sound of a file is read; auto: the waveform, or else melspec
    sound: Literal["auto", "waveform", "melspec"] = "auto"
    sample_rate: Size = 16_000  # of waveforms; a multiple of 16,000
    complete: bool = False  # every clip has pictures and sound: no masks for those that lack one


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Where the records lie and which splits play which part."""

    path: str = ""  # folder written by `python -m av_mae.prepare`, or of MediaSequence files
    source: str = ""  # or a folder or csv of media files, prepared at first use; see docs/data.md
    prepare: str = ""  # flags of that preparation, as in "--fps=25 --short_side=128"
    cache: str = ""  # where its records are kept; "" = ~/.cache/av_mae/records
    # mediasequence: DMVR's tf.SequenceExamples; docs/data.md
    format: Literal["records", "mediasequence"] = "records"
    mediasequence: MediaSequence = dataclasses.field(default_factory=MediaSequence)
    # split trained on, or train+val, train[:10%]; of MediaSequence files a table, train@1024
    train: str = "train"
    multilabel: bool = False  # several labels a clip: sigmoid instead of softmax
    sampling: Sampling = "dense"  # which frames of a clip are seen; docs/training.md
    # how often a training clip comes: once an epoch, or by its classes; docs/training.md
    class_sampling: Literal["natural", "balanced", "sqrt"] = "natural"
    test_short_side: Count = 0  # views are cut from whole frames resized to it (Scenic); 0 = off
    repeat: Size = 1  # augmented copies of a clip in one batch (Hoffer et al. 2020)
    canvas: tuple[int, int] = (0, 0)  # height, width of pictures that devices crop; 0 = hosts do
    workers: Few = 0  # parallel readers; 0 = one a core


@dataclasses.dataclass(frozen=True)
class Model:
    """Architecture. Field by field the published choices; see docs/models.md."""

    width: Size = 768  # of the encoder
    depth: Size = 12  # layers of the encoder, the fused ones included
    heads: Size = 12  # attention heads
    mlp: Size = 3072  # hidden width of the two-layer perceptrons
    # bottleneck: finetuning only
    fusion: Literal["early", "separate", "shared", "mid", "bottleneck"] = "early"
    fusion_layers: Few = 2  # fused layers of mid and bottleneck (2 or more) fusion, at the top
    bottlenecks: Count = 4  # tokens of bottleneck fusion (MBT, Nagrani et al. 2021)
    bottlenecks_at_test: bool = True  # False: no exchange outside training steps
    fusion_norm: bool = True  # LayerNorm where separate layers end and fused ones begin (MBT: none)
    fusion_norm_layer: Few = 0  # or after this many layers, as in the pretraining one starts from
    decoder: Literal["shared", "separate", "joint"] = "shared"  # for all modalities, or one each
    decoder_width: Size = 384  # as above, of the decoder
    decoder_depth: Count = 4  # layers
    decoder_heads: Size = 6  # attention heads
    decoder_mlp: Size = 1536  # hidden width of its perceptrons
    gelu: Literal["tanh", "erf"] = "tanh"  # Scenic has tanh, VideoMAE erf
    norm_eps: Amount = 1e-6  # added to the variance in every LayerNorm
    outer_norm_eps: Amount = 0.0  # of decoder and head norms; 0 = norm_eps (Hugging Face: 1e-5)
    final_norm: bool = True  # LayerNorm after each encoder
    shared_norm: bool = False  # one final norm for separate and bottleneck encoders (MBT)
    decoder_norm: bool = True  # LayerNorm after each decoder
    project_bias: bool = True  # bias between encoder and decoder (VideoMAE: none)
    # Scenic has qkv, VideoMAE qv: no bias on keys
    qkv_bias: Literal["qkv", "qv", "none"] = "qkv"
    layer_scale: Amount = 0.0  # initial gamma of the residual branches; 0 = absent
    positions: Positions = "sincos"  # sincos: fixed, 1-D over tokens; sincos3d: by grid axis
    decoder_positions: Positions = "sincos"  # as above, of the decoder
    modality_tokens: bool = False  # a learned vector added to all tokens of a modality
    inpainting: bool = False  # decode each modality from the other's visible tokens
    # VideoMAE has patch_channel; raw: pixels before mean and std
    normalise_targets: Literal["none", "patch", "patch_channel", "raw"] = "none"
    loss_on_visible: bool = False  # reconstruct the visible patches, too
    # token: a class token; first: the first patch (VideoMAE)
    pool: Literal["mean", "max", "token", "first"] = "mean"
    shared_head: bool = True  # one head for all modalities (MBT), or one each
    head_norm: bool = False  # LayerNorm after pooling (VideoMAE's fc_norm)
    head_width: Count = 0  # of a tanh layer before the classifier; 0 = none
    head_dropout: Share = 0.0  # of the pooled features
    head_scale: Amount = 0.0  # scale of the classifier's initial weights; 0 = zeros
    linear_probe: bool = False  # frozen encoder, standardised features, trained head
    drop_path: Share = 0.0  # of the last layer, growing linearly from 0
    drop_path_rescale: bool = True  # divide kept branches by 1 - rate (Scenic does not)
    dropout: Share = 0.0  # after embeddings and perceptrons
    attention_dropout: Share = 0.0  # of attention weights


@dataclasses.dataclass(frozen=True)
class Augment:
    """What happens to training examples only, in this order."""

    # how a square is cut from the picture
    crop: Literal["random_resized", "multi_scale", "jitter", "centre"] = "random_resized"
    crop_area: tuple[float, float] = (0.5, 1.0)  # random_resized: share of the picture
    crop_aspect: tuple[float, float] = (0.75, 4.0 / 3.0)  # random_resized: width / height
    jitter_scale: tuple[float, float] = (0.9, 1.33)  # jitter: zoom before the crop
    rand_augment: Few = 0  # operations drawn in turn (RandAugment, Cubuk et al. 2020); 0 = off
    rand_augment_magnitude: Annotated[float, Interval(ge=0, le=10)] = 7.0  # their mean strength
    rand_augment_deviation: Amount = 0.5  # of the strength, from one operation to the next
    flip: Probability = 0.5  # probability of a horizontal flip
    color: Probability = 0.0  # probability of brightness, saturation, contrast and hue jitter
    gray: Probability = 0.0  # probability of dropping colour
    erase: Probability = 0.0  # probability of a box of noise (random erasing, Zhong et al. 2020)
    audio_roll: bool = False  # circular shift of the spectrogram in time
    freq_masks: Few = 0  # SpecAugment (Park et al. 2019)
    freq_mask_bins: Count = 0  # largest width of one
    time_masks: Few = 0  # the same along time
    time_mask_columns: Count = 0  # largest width of one, in 10 ms
    mixup: Amount = 0.0  # Beta parameter; 0 = off
    cutmix: Amount = 0.0  # the same, for boxes of video and spans of sound
    mix_per_modality: bool = False  # one mixing weight for each modality
    drop_modality: Probability = 0.0  # probability that a clip keeps only one of its modalities


@dataclasses.dataclass(frozen=True)
class Optim:
    """Optimizer and schedule; the learning rate itself is `lr` at the top level."""

    name: Literal["adamw", "sgd"] = "adamw"  # the optimizer
    b1: Share = 0.9  # AdamW: decay of the mean gradient
    b2: Share = 0.95  # AdamW: decay of the mean square
    eps: Amount = 1e-8  # AdamW: added to the root mean square
    momentum: Share = 0.9  # SGD
    # of the mean gradient; bfloat16 saves two bytes a parameter
    momentum_dtype: Literal["float32", "bfloat16"] = "float32"
    weight_decay: Amount = 0.05  # decoupled: times the learning rate
    decay_kernels_only: bool = True  # no decay on biases, norms, tokens and positions
    warmup: Duration = "0 steps"  # linear, from 0
    # cosine_videomae: at the peak a step sooner
    schedule: Literal["cosine", "constant", "linear", "cosine_videomae"] = "cosine"
    min_lr: Amount = 0.0  # at the end of a cosine or linear schedule
    clip: Amount = 0.0  # global gradient norm; 0 = off
    layer_decay: Amount = 1.0  # lr factor from one layer to the one below
    ema: Share = 0.0  # decay of the averaged parameters that are evaluated; 0 = off
    label_smoothing: Share = 0.0  # share of the target spread over all classes
    # of classes in the loss, by their numbers of training clips or from a csv; docs/training.md
    class_weights: ClassWeights = "none"
    class_weights_beta: Share = 0.999  # effective: 0 = equal weights, towards 1 = balanced ones
    accumulate: Size = 1  # micro-batches a step


@dataclasses.dataclass(frozen=True)
class Compute:
    """How the step runs: precision, layer loop, memory, mesh."""

    # of activations; norms, softmax and losses stay float32
    dtype: Literal["float32", "bfloat16"] = "float32"
    scan: bool = True  # one compiled layer in a loop, or all layers unrolled
    # what gradients compute again: nothing, all but matrix products (dots), or everything
    remat: Literal["none", "dots", "full"] = "dots"
    fsdp: Size = 1  # devices that share one copy of the parameters; the rest is data parallel
    tensor: Size = 1  # devices that share the work of every layer, its heads and hidden units


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """When the state of a run is written, and what is kept of it."""

    every: Duration = "1 epochs"  # a killed run goes on from the newest one
    keep: Annotated[int, Interval(ge=1)] = 2  # newest checkpoints kept
    best: str = ""  # metric kept separately at its best, e.g. "val/accuracy"; "" = none


@dataclasses.dataclass(frozen=True)
class Evaluator:
    """One evaluator on a schedule; results are named `<its key>/<metric>`."""

    kind: str = "classification"  # classification, reconstruction, knn: a module of evaluation
    split: str = "val"  # split scored, or a selection such as train[:20%]
    every: Occasion = "1 epochs"  # "end" = only after the last step; "never" = it is switched off
    batch_size: Count = 0  # clips; 0 = the training batch size
    temporal_views: Extent = 1  # cuts in time a clip
    spatial_views: Extent = 1  # crops a cut
    merge: Literal["logits", "softmax"] = "logits"  # what is averaged over views
    modalities: tuple[str, ...] = ()  # the subset given to the model; () = all
    train_split: str = "train"  # knn: where the neighbours come from
    neighbours: Size = 10  # knn: how many vote


@dataclasses.dataclass(frozen=True)
class InitFrom:
    """What a run starts from."""

    path: str = ""  # workdir or checkpoint to start from; "" = random weights


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything that defines a run."""

    task: str = "pretrain"  # pretrain, classify: a module of av_mae/tasks
    seed: Seed = 0  # of parameters, order, masks and augmentation
    total: Duration = "100 epochs"  # length of the run
    batch_size: Size = 256  # rows a step, over all devices and micro-batches
    lr: Amount = 1.5e-4  # peak learning rate, as it is used: nothing scales it
    dataset: Dataset = dataclasses.field(default_factory=Dataset)
    modalities: dict[str, modality_lib.Modality] = dataclasses.field(default_factory=dict)
    model: Model = dataclasses.field(default_factory=Model)
    augment: Augment = dataclasses.field(default_factory=Augment)
    optim: Optim = dataclasses.field(default_factory=Optim)
    compute: Compute = dataclasses.field(default_factory=Compute)
    checkpoint: Checkpoint = dataclasses.field(default_factory=Checkpoint)
    evaluators: dict[str, Evaluator] = dataclasses.field(default_factory=dict)
    init_from: InitFrom = dataclasses.field(default_factory=InitFrom)
    log_every: Duration = "50 steps"  # line, metrics.jsonl, TensorBoard

    def to_dict(self) -> dict[str, Any]:
        """Plain nested dict; `av_mae.config.parse` reads it back to an equal experiment."""
        return dataclasses.asdict(self)

    def digest(self) -> str:
        """Short hash of all keys, for file names and tables."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def variant(name: str) -> tuple[dict[str, int], tuple[int, int, int]]:
    """`"L/16x2"` -> (widths of the encoder, video patch (time, height, width))."""
    match = re.fullmatch(r"(\w+)/(\d+)x(\d+)", name)
    every = VARIANTS | SMALL
    if not match or match[1] not in every:
        known = ", ".join(every)
        raise ConfigError(f"variant {name!r}: expected <{known}>/<patch>x<frames>, as in B/16x2")
    width, depth, heads, mlp = every[match[1]]
    frames, pixels = int(match[3]), int(match[2])
    sizes = {"width": width, "depth": depth, "heads": heads, "mlp": mlp}
    return sizes, (frames, pixels, pixels)
