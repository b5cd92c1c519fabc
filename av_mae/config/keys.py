"""Which key of a config was meant by one that does not exist: by spelling, place or synonym."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

# What other programs call a key, without underscores.
SYNONYMS = {
    "learningrate": "lr", "baselr": "lr", "baselearningrate": "lr", "peaklr": "lr",
    "epochs": "total", "numepochs": "total", "maxepochs": "total", "numtrainepochs": "total",
    "steps": "total", "numsteps": "total", "maxsteps": "total", "totalsteps": "total",
    "trainsteps": "total", "numtrainingsteps": "total", "iterations": "total",
    "trainbatchsize": "batch_size", "perdevicebatchsize": "batch_size", "bs": "batch_size",
    "loginterval": "log_every", "logsteps": "log_every", "logginginterval": "log_every",
    "rngseed": "seed", "randomseed": "seed",
    "layers": "model.depth", "numlayers": "model.depth", "numhiddenlayers": "model.depth",
    "hiddensize": "model.width", "hiddendim": "model.width", "embeddim": "model.width",
    "dim": "model.width", "dmodel": "model.width", "numheads": "model.heads",
    "numattentionheads": "model.heads", "mlpdim": "model.mlp", "intermediatesize": "model.mlp",
    "fusionlayer": "model.fusion_layers", "droprate": "model.dropout",
    "dropoutrate": "model.dropout", "droppathrate": "model.drop_path",
    "stochasticdepth": "model.drop_path", "stochasticdroplayerrate": "model.drop_path",
    "normpixloss": "model.normalise_targets", "normalizetargets": "model.normalise_targets",
    "decoderembeddim": "model.decoder_width", "decodernumheads": "model.decoder_heads",
    "wd": "optim.weight_decay", "optimizer": "optim.name", "momentum": "optim.momentum",
    "beta1": "optim.b1", "beta2": "optim.b2", "warmupsteps": "optim.warmup",
    "warmupepochs": "optim.warmup", "lrschedule": "optim.schedule", "scheduler": "optim.schedule",
    "gradclip": "optim.clip", "clipgrad": "optim.clip", "maxgradnorm": "optim.clip",
    "maxgradientnorm": "optim.clip", "layerlrdecay": "optim.layer_decay",
    "layerdecayrate": "optim.layer_decay", "emadecay": "optim.ema", "modelema": "optim.ema",
    "gradientaccumulationsteps": "optim.accumulate", "accumulationsteps": "optim.accumulate",
    "accumiter": "optim.accumulate", "smoothing": "optim.label_smoothing",
    "precision": "compute.dtype", "bf16": "compute.dtype", "fp16": "compute.dtype",
    "gradientcheckpointing": "compute.remat", "remattype": "compute.remat",
    "numworkers": "dataset.workers", "datadir": "dataset.path", "datapath": "dataset.path",
    "records": "dataset.path", "trainsplit": "dataset.train", "framesampling": "dataset.sampling",
    "saveevery": "checkpoint.every", "savesteps": "checkpoint.every",
    "checkpointevery": "checkpoint.every", "savetotallimit": "checkpoint.keep",
    "savebest": "checkpoint.best", "metricforbestmodel": "checkpoint.best",
    "pretrained": "init_from.path", "initfrom": "init_from.path", "finetune": "init_from.path",
    "checkpointpath": "init_from.path", "weights": "init_from.path",
    "numframes": "modalities.video.frames", "clipframes": "modalities.video.frames",
    "samplingrate": "modalities.video.stride", "framestride": "modalities.video.stride",
    "imagesize": "modalities.video.size", "inputsize": "modalities.video.size",
    "resolution": "modalities.video.size", "cropsize": "modalities.video.size",
    "patchsize": "modalities.video.patch", "nmels": "modalities.audio.mels",
    "melbins": "modalities.audio.mels", "nummelbins": "modalities.audio.mels",
    "audioseconds": "modalities.audio.seconds", "maskingratio": "modalities.video.mask_ratio",
}  # fmt: skip


def flat(values: Mapping[str, Any], where: str = "") -> list[str]:
    """Every key of a nested mapping by its whole path, sections included."""
    keys = []
    for name, value in values.items():
        path = f"{where}.{name}".removeprefix(".")
        keys.append(path)
        if isinstance(value, Mapping):
            keys += flat(value, path)
    return keys


def advice(key: str, known: Iterable[str]) -> str:
    """What to write instead of a key that does not exist, and what its section has.

    Args:
        key: the whole path, such as `model.layers`.
        known: whole paths of all keys there are, sections included.
    """
    known = list(known)
    section, _, name = key.rpartition(".")
    first = name  # part of the path that does not exist
    while section and section not in known:
        section, _, first = section.rpartition(".")
    inside = {path.rpartition(".")[2]: path for path in known if path.rpartition(".")[0] == section}

    plain = name.replace("_", "").replace("-", "").lower()
    same = [path for path in known if path.rpartition(".")[2].replace("_", "") == plain]
    alike = difflib.get_close_matches(first, inside, n=1, cutoff=0.75)
    loosely = difflib.get_close_matches(first, inside, n=1)
    if SYNONYMS.get(plain) in known:
        meant = [SYNONYMS[plain]]
    elif alike:
        meant = [inside[alike[0]]]
    elif same:
        meant = same
    else:
        meant = [inside[near] for near in loosely]
    hint = f"did you mean {' or '.join(map(repr, meant))}? " if meant else ""
    return f"{hint}{section or 'the config'} has {', '.join(inside)}"
