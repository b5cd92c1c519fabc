"""Scenic's audio-visual MAE (Georgescu et al. 2023): its pretraining and finetuning checkpoints.

Four kinds of model, told by their layers: the multimodal autoencoder (`decoder_projection_rgb`),
the autoencoder of one modality (`decoder_projection`), MBT (`ProjectionHeadAndClassifier_0`) and
the classifier of one modality (`output_projection`). Modalities are called rgb and spectrogram.
"""

import pathlib
import re
from typing import Any

from av_mae.convert import describe, scenic_file, scenic_rules
from av_mae.convert.foreign import Arrays, ForeignFileError
from av_mae.convert.scenic_rules import NAMES

_FACTS = {
    "model.gelu": "tanh",
    "model.norm_eps": 1e-6,
    "model.outer_norm_eps": 0.0,
    "model.qkv_bias": "qkv",
    "model.layer_scale": 0.0,
    "model.shared_head": True,
    "model.drop_path_rescale": False,
}
# Classes of a finetuned model -> data set: seconds of sound and depth of MBT's fused layers.
_AUDIOSET, _VGGSOUND = 527, 309
_SECONDS = {_AUDIOSET: 10.0, _VGGSOUND: 8.0}
_FUSED = {_AUDIOSET: 6, _VGGSOUND: 8}
_HEAD = "ProjectionHeadAndClassifier_0"
_SPELLINGS = {"embedding_spec/": "embedding_spectrogram/"}


def find(source: pathlib.Path) -> pathlib.Path | None:
    """The checkpoint of a file or folder of Scenic."""
    file = scenic_file.find(source)
    return file if file and scenic_file.is_scenic(file) else None


def describe_file(path: pathlib.Path) -> describe.Description:
    """A checkpoint of either of its trainers."""
    arrays = {_spelt(name): x for name, x in scenic_file.read(path).items()}
    step = re.fullmatch(r"checkpoint_(\d+)", path.name)
    return of_params(arrays, str(path), step=int(step[1]) if step else 0)


def of_params(arrays: Arrays, source: str, step: int = 0) -> describe.Description:
    """Describes the parameters of a model of Scenic by their names.

    Raises:
        ForeignFileError: they belong to another model.
    """
    if any(name.startswith("decoder_projection") for name in arrays):
        facts, usual = _autoencoder(arrays, source)
    elif "output_projection/kernel" in arrays or f"{_HEAD}/output_projection/kernel" in arrays:
        facts, usual = _classifier(arrays)
    else:
        raise ForeignFileError(
            f"{source} has neither decoder_projection* nor output_projection, so it is no model of "
            f"av_mae; it begins with {', '.join(list(arrays)[:3])}"
        )
    facts |= _FACTS | _patches(arrays, source)
    kernels = [x for k, x in arrays.items() if k.endswith("output_projection/kernel")]
    return describe.Description(
        "Scenic",
        arrays,
        facts=facts,
        usual=usual,
        rules=lambda e: scenic_rules.rules(e, arrays),
        labels=("",) * kernels[0].shape[1] if facts["task"] == "classify" else (),
        step=step,
        spare=("bottleneck",) if len(scenic_rules.modalities(arrays)) == 1 else (),
    )


def _spelt(name: str) -> str:
    for old, new in _SPELLINGS.items():
        name = name.replace(old, new) if name.startswith(old) else name
    return name


def _autoencoder(p: Arrays, source: str) -> tuple[dict[str, Any], dict[str, Any]]:
    names = scenic_rules.modalities(p)
    encoder = scenic_rules.stack_names(p)
    decoders = scenic_rules.stack_names(p, "Decoder")
    if not encoder or not decoders:
        raise ForeignFileError(f"{source} lacks the layers of its encoder or of its decoder")
    sizes = _sizes(p, encoder[0])
    decoder = _sizes(p, decoders[0])
    decoder = {k.replace("model.", "model.decoder_"): v for k, v in decoder.items()}
    lower = scenic_rules.depth(p, encoder[0])
    upper = scenic_rules.depth(p, "Transformer_concat")
    learned = _learned(p, sizes["model.width"], decoder["model.decoder_width"])
    alone = "decoder_projection/kernel" in p
    project = "decoder_projection" if alone else f"decoder_projection_{NAMES[names[0]]}"
    facts: dict[str, Any] = {
        "task": "pretrain",
        **sizes,
        **decoder,
        **learned,
        "model.depth": lower + upper,
        "model.final_norm": f"{encoder[-1]}/encoder_norm/scale" in p,
        "model.fusion_norm": f"{encoder[0]}/encoder_norm/scale" in p,
        "model.fusion_norm_layer": 0,
        "model.shared_norm": False,
        "model.decoder_norm": f"{decoders[0]}/encoder_norm/scale" in p,
        "model.project_bias": f"{project}/bias" in p,
        "model.modality_tokens": any(k.startswith("Encoder_modality_token") for k in p),
        "model.pool": "token" if "cls" in p else "mean",
    }
    usual: dict[str, Any] = {
        "model.normalise_targets": "none",
        "model.inpainting": False,
        "model.loss_on_visible": False,
    }
    if upper:
        facts |= {"model.fusion": "mid", "model.fusion_layers": upper}
    elif encoder[0] != "Transformer":
        facts["model.fusion"] = "separate"
    elif len(names) == 1:
        facts["model.fusion"] = "early"
    else:
        usual["model.fusion"] = describe.Ask(
            "one encoder for both modalities: early if it saw them together (concat_and_encode), "
            "shared if one after the other (same_encoder)"
        )
    if len(decoders) > 1:
        facts["model.decoder"] = "separate"
    else:
        usual["model.decoder"] = "shared"
    _fixed_positions(usual, learned, p)
    return facts, usual | _inputs(p, frames=16, stride=4, pretraining=True)


def _classifier(p: Arrays) -> tuple[dict[str, Any], dict[str, Any]]:
    mbt = f"{_HEAD}/output_projection/kernel" in p
    names = scenic_rules.modalities(p)
    sizes = _sizes(p, "Transformer")
    learned = _learned(p, sizes["model.width"], 0)
    head = f"{_HEAD}/" if mbt else ""
    classes = p[f"{head}output_projection/kernel"].shape[1]
    hidden = p.get(f"{head}pre_logits/kernel")
    facts: dict[str, Any] = {
        "task": "classify",
        **sizes,
        **learned,
        "model.final_norm": "Transformer/encoder_norm/scale" in p,
        "model.head_norm": "encoder_norm/scale" in p,
        "model.head_width": 0 if hidden is None else hidden.shape[1],
        "model.modality_tokens": any(k.startswith("Encoder_modality_token") for k in p),
    }
    usual: dict[str, Any] = {
        "dataset.multilabel": classes == _AUDIOSET,
        "model.linear_probe": False,
    }
    pool = facts if "cls" in p else usual
    pool["model.pool"] = "token" if "cls" in p else "mean"
    if mbt:
        facts |= _fusion(p, names)
        usual["model.bottlenecks_at_test"] = True
        if len(names) > 1:
            usual["model.fusion_layers"] = _FUSED.get(classes) or describe.Ask(
                f"how many of its {sizes['model.depth']} layers are fused"
            )
        if "cls" in p:
            facts["model.positions"] = "learned"
    else:
        facts["model.fusion"] = "early"
    _fixed_positions(usual, facts, p)
    usual |= {
        "evaluators.test.split": "test",
        "evaluators.test.every": "end",
        "evaluators.test.temporal_views": 4,
    }
    seconds = _SECONDS.get(classes)
    return facts, usual | _inputs(p, frames=32, stride=2, pretraining=False, seconds=seconds)


def _fusion(p: Arrays, names: list[str]) -> dict[str, Any]:
    """MBT's keys. With one modality it has a bottleneck as well, and never uses it."""
    tokens = p.get("bottleneck")
    made: dict[str, Any] = {
        "model.fusion": "bottleneck",
        "model.fusion_norm": False,
        "model.shared_norm": True,
        "model.bottlenecks": 0 if tokens is None else tokens.shape[1],
    }
    return made | ({"model.fusion_layers": 0} if len(names) == 1 else {})


def _sizes(p: Arrays, stack: str) -> dict[str, Any]:
    block = f"{stack}/encoderblock_0"
    width, heads, _ = p[f"{block}/MultiHeadDotProductAttention_0/query/kernel"].shape
    return {
        "model.width": width,
        "model.depth": scenic_rules.depth(p, stack),
        "model.heads": heads,
        "model.mlp": p[f"{block}/MlpBlock_0/Dense_0/kernel"].shape[1],
    }


def _patches(p: Arrays, source: str) -> dict[str, Any]:
    """Patch sizes; an image is a video of one frame."""
    made: dict[str, Any] = {}
    for name in scenic_rules.modalities(p):
        shape = p[f"{scenic_rules.embedding(p, name)}/kernel"].shape
        kind = (name, len(shape))
        if kind == ("video", 4):
            made |= {"modalities.video.patch": (1, *shape[:2]), "modalities.video.frames": 1}
        elif kind in (("video", 5), ("audio", 4)):
            made[f"modalities.{name}.patch"] = shape[:-2]
        else:
            raise ForeignFileError(f"{source}: a {name} embedding of shape {list(shape)}")
    return made


def _learned(p: Arrays, width: int, decoder_width: int) -> dict[str, Any]:
    """Which positions are learned. A multimodal decoder's tables bear the encoder's name."""
    made: dict[str, Any] = {}
    for name, x in p.items():
        place = re.match(r"posembed_(input|decoder)", name)
        if place:
            of_decoder = place[1] == "decoder" or x.shape[-1] == decoder_width != width
            made["model.decoder_positions" if of_decoder else "model.positions"] = "learned"
    return made


def _fixed_positions(usual: dict[str, Any], facts: dict[str, Any], p: Arrays) -> None:
    """One-dimensional tables, but for images, whose tables are two-dimensional."""
    image = "embedding/kernel" in p and p["embedding/kernel"].ndim == 4
    for key in ("model.positions", "model.decoder_positions"):
        if key not in facts:
            usual[key] = "sincos3d" if image else "sincos"


def _inputs(
    p: Arrays, *, frames: int, stride: int, pretraining: bool, seconds: float | None = None
) -> dict[str, Any]:
    """How the released configs prepare the inputs."""
    names = scenic_rules.modalities(p)
    made: dict[str, Any] = {}
    if "video" in names:
        made |= {"frames": frames, "stride": stride, "size": 224, "mask_ratio": 0.9}
        made = {f"modalities.video.{k}": v for k, v in made.items()}
    if "audio" in names:
        mean, std = (0.0, 1.0) if pretraining or seconds != 10.0 else (1.102, 2.762)
        why = "how long its sound is: 10 s in AudioSet, 8 s in VGGSound"
        audio = {"seconds": seconds or describe.Ask(why), "mels": 128, "mask_ratio": 0.7}
        audio |= {"mean": mean, "std": std}
        made |= {f"modalities.audio.{k}": v for k, v in audio.items()}
    if pretraining and len(names) > 1:
        made |= {f"modalities.{name}.weight": 0.5 for name in names}
    return made
