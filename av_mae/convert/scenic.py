"""Scenic's audio-visual MAE (Georgescu et al. 2023): its pretraining and finetuning checkpoints.

Four kinds of model, told apart by their layers: the multimodal autoencoder
(`decoder_projection_rgb`), the autoencoder of one modality (`decoder_projection`), MBT
(`ProjectionHeadAndClassifier_0`) and the classifier of one modality (`output_projection`).

Files are flax msgpack, with the parameters under `optimizer/target` or `optimizer/target/params`
(older trainers) or `params` (newer ones). This family is only read, never written.
"""

import pathlib
import re
from typing import Any

from flax import serialization, traverse_util

from av_mae.config import schema
from av_mae.convert import describe, scenic_rules
from av_mae.convert.scenic_rules import HEAD
from av_mae.convert.table import Arrays

_PLACES = ("optimizer/target/params", "optimizer/target", "params")
_STATE = (b"optimizer", b"opt_state", b"params", b"global_step", b"model_state", b"rng")

_FACTS = {
    "model.gelu": "tanh",
    "model.norm_eps": 1e-6,
    "model.outer_norm_eps": 0.0,
    "model.qkv_bias": "qkv",
    "model.layer_scale": 0.0,
    "model.shared_head": True,
    "model.drop_path_rescale": False,
}
# The number of classes of a finetuned model identifies its data set, and with it the seconds of
# sound and the depth of MBT's fused layers.
_AUDIOSET, _VGGSOUND = 527, 309
_SECONDS = {_AUDIOSET: 10.0, _VGGSOUND: 8.0}
_FUSED = {_AUDIOSET: 6, _VGGSOUND: 8}


def find(source: pathlib.Path) -> pathlib.Path | None:
    """The checkpoint: a file, or a folder's `checkpoint` or last `checkpoint_<step>`."""
    file = source
    if source.is_dir():
        matches = ((re.fullmatch(r"checkpoint(?:_(\d+))?", p.name), p) for p in source.iterdir())
        steps = [(int(m[1] or -1), p) for m, p in matches if m and p.is_file()]
        file = max(steps, default=(0, source))[1]
    if not file.is_file():
        return None
    with file.open("rb") as opened:
        start = opened.read(64)
    # A msgpack map that begins with a key of a training state.
    is_map = bool(start) and (0x80 <= start[0] <= 0x8F or start[0] in (0xDE, 0xDF))
    return file if is_map and any(name in start for name in _STATE) else None


def read(path: pathlib.Path) -> Arrays:
    """Parameters by path, as in `Transformer/encoderblock_0/LayerNorm_0/scale`.

    Raises:
        ConfigError: truncated, not msgpack, or without parameters.
    """
    with describe.reading(path, "flax checkpoint"):
        state = serialization.msgpack_restore(path.read_bytes())
        for place in _PLACES:
            tree = state
            for key in place.split("/"):
                tree = tree.get(key) if isinstance(tree, dict) else None
            if isinstance(tree, dict) and tree:
                arrays: Any = traverse_util.flatten_dict(tree)
                for name, x in arrays.items():
                    if not all(isinstance(k, str) for k in name) or not hasattr(x, "dtype"):
                        raise schema.ConfigError(
                            f"{path} has {str(name)[:80]} among the parameters at {place}, "
                            "expected arrays under names; is it a checkpoint of Scenic?"
                        )
                return {"/".join(name): x for name, x in arrays.items()}
    keys = ", ".join(map(str, state)) if isinstance(state, dict) else type(state).__name__
    raise schema.ConfigError(f"{path} has no parameters at {' or '.join(_PLACES)}; it holds {keys}")


def describe_file(source: pathlib.Path) -> describe.Description | None:
    """A checkpoint of either of its trainers."""
    path = find(source)
    if not path:
        return None
    step = re.fullmatch(r"checkpoint_(\d+)", path.name)
    return of_params(read(path), str(path), step=int(step[1]) if step else 0)


def of_params(arrays: Arrays, source: str, step: int = 0) -> describe.Description:
    """Describes the parameters of a model of Scenic by their names.

    Raises:
        ConfigError: they belong to another model.
    """
    head = next((h for h in (HEAD, "") if f"{h}output_projection/kernel" in arrays), None)
    if any(name.startswith("decoder_projection") for name in arrays):
        classes = 0
        facts, usual = _autoencoder(arrays, source)
    elif head is not None:
        classes = arrays[f"{head}output_projection/kernel"].shape[1]
        facts, usual = _classifier(arrays, head, classes)
    else:
        raise schema.ConfigError(
            f"{source} has neither decoder_projection* nor output_projection, so it is no model of "
            f"av_mae; it begins with {', '.join(list(arrays)[:3])}"
        )
    facts["model.modality_tokens"] = any(k.startswith("Encoder_modality_token") for k in arrays)
    width, decoder_width = facts["model.width"], facts.get("model.decoder_width", 0)
    for name, x in arrays.items():
        place = re.match(r"posembed_(input|decoder)", name)
        if place:  # a multimodal decoder's tables bear the encoder's name
            of_decoder = place[1] == "decoder" or x.shape[-1] == decoder_width != width
            facts["model.decoder_positions" if of_decoder else "model.positions"] = "learned"

    names, image = scenic_rules.modalities(arrays), False
    for name in names:
        shape = arrays[f"{scenic_rules.embedding(arrays, name)}/kernel"].shape
        kind = (name, len(shape))
        if kind == ("video", 4):  # a video of one frame
            image = True
            facts |= {"modalities.video.patch": (1, *shape[:2]), "modalities.video.frames": 1}
        elif kind in (("video", 5), ("audio", 4)):
            facts[f"modalities.{name}.patch"] = shape[:-2]
        else:
            raise schema.ConfigError(f"{source}: a {name} embedding of shape {list(shape)}")
    for key in ("model.positions", "model.decoder_positions"):
        usual[key] = "sincos3d" if image else "sincos"
    return describe.Description(
        "Scenic",
        arrays,
        facts=facts | _FACTS,
        usual={k: v for k, v in usual.items() if k not in facts},
        rules=lambda e: scenic_rules.rules(e, arrays),
        labels=("",) * classes,
        step=step,
        spare=("bottleneck",) if len(names) == 1 else (),
    )


def _autoencoder(p: Arrays, source: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(facts, usual values) of a pretrained model."""
    names, encoder = scenic_rules.modalities(p), scenic_rules.stack_names(p)
    decoders = scenic_rules.stack_names(p, "Decoder")
    if not encoder or not decoders:
        raise schema.ConfigError(f"{source} lacks the layers of its encoder or of its decoder")
    sizes = _sizes(p, encoder[0])
    decoder = {k.replace(".", ".decoder_"): v for k, v in _sizes(p, decoders[0]).items()}
    upper = scenic_rules.depth(p, "Transformer_concat")
    suffix = "" if "decoder_projection/kernel" in p else f"_{scenic_rules.NAMES[names[0]]}"
    facts: dict[str, Any] = {
        "task": "pretrain",
        **sizes,
        **decoder,
        "model.depth": sizes["model.depth"] + upper,
        "model.final_norm": f"{encoder[-1]}/encoder_norm/scale" in p,
        "model.fusion_norm": f"{encoder[0]}/encoder_norm/scale" in p,
        "model.fusion_norm_layer": 0,
        "model.shared_norm": False,
        "model.decoder_norm": f"{decoders[0]}/encoder_norm/scale" in p,
        "model.project_bias": f"decoder_projection{suffix}/bias" in p,
        "model.pool": "token" if "cls" in p else "mean",
    }
    usual: dict[str, Any] = {
        "model.normalise_targets": "none",
        "model.inpainting": False,
        "model.loss_on_visible": False,
        "model.decoder": "shared",
        "model.fusion": describe.Ask(
            "one encoder for both modalities: early if it saw them together (concat_and_encode), "
            "shared if one after the other (same_encoder)"
        ),
    }
    if upper:
        facts |= {"model.fusion": "mid", "model.fusion_layers": upper}
    elif encoder[0] != "Transformer":
        facts["model.fusion"] = "separate"
    elif len(names) == 1:
        facts["model.fusion"] = "early"
    if len(decoders) > 1:
        facts["model.decoder"] = "separate"
    if len(names) > 1:
        usual |= {f"modalities.{name}.weight": 0.5 for name in names}
    return facts, usual | _inputs(p, frames=16, stride=4)


def _classifier(p: Arrays, head: str, classes: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """(facts, usual values) of a finetuned model, an MBT if it has its `head`."""
    mbt, sizes = head == HEAD, _sizes(p, "Transformer")
    hidden = p.get(f"{head}pre_logits/kernel")
    facts: dict[str, Any] = {
        "task": "classify",
        **sizes,
        "model.fusion": "bottleneck" if mbt else "early",
        "model.final_norm": "Transformer/encoder_norm/scale" in p,
        "model.head_norm": "encoder_norm/scale" in p,
        "model.head_width": 0 if hidden is None else hidden.shape[1],
    }
    usual: dict[str, Any] = {
        "dataset.multilabel": classes == _AUDIOSET,
        "model.linear_probe": False,
        "model.pool": "mean",
        "evaluators.test.split": "test",
        "evaluators.test.every": "end",
        "evaluators.test.temporal_views": 4,
    }
    if "cls" in p:
        facts["model.pool"] = "token"
    if mbt:
        tokens = p.get("bottleneck")
        facts |= {
            "model.fusion_norm": False,
            "model.shared_norm": True,
            "model.bottlenecks": 0 if tokens is None else tokens.shape[1],
        }
        usual["model.bottlenecks_at_test"] = True
        if "cls" in p:
            facts["model.positions"] = "learned"
        if len(scenic_rules.modalities(p)) == 1:  # its bottleneck is never used
            facts["model.fusion_layers"] = 0
        else:
            usual["model.fusion_layers"] = _FUSED.get(classes) or describe.Ask(
                f"how many of its {sizes['model.depth']} layers are fused"
            )
    return facts, usual | _inputs(p, frames=32, stride=2, seconds=_SECONDS.get(classes))


def _sizes(p: Arrays, stack: str) -> dict[str, Any]:
    block = f"{stack}/encoderblock_0"
    width, heads, _ = p[f"{block}/{scenic_rules.ATTENTION}/query/kernel"].shape
    mlp = p[f"{block}/MlpBlock_0/Dense_0/kernel"].shape[1]
    sizes = {"width": width, "depth": scenic_rules.depth(p, stack), "heads": heads, "mlp": mlp}
    return {f"model.{k}": v for k, v in sizes.items()}


def _inputs(p: Arrays, *, frames: int, stride: int, seconds: float | None = None) -> dict[str, Any]:
    """How the released configs prepare the inputs."""
    mean, std = (1.102, 2.762) if seconds == _SECONDS[_AUDIOSET] else (0.0, 1.0)
    why = describe.Ask("how long its sound is: 10 s in AudioSet, 8 s in VGGSound")
    audio = {"seconds": seconds or why, "mels": 128, "mask_ratio": 0.7, "mean": mean, "std": std}
    video = {"frames": frames, "stride": stride, "size": 224, "mask_ratio": 0.9}
    kinds = {"video": video, "audio": audio}
    return {
        f"modalities.{n}.{k}": v for n in scenic_rules.modalities(p) for k, v in kinds[n].items()
    }
