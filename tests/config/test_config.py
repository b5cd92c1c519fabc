"""The config schema: what is accepted, what is refused and with which sentence."""

import dataclasses
import json
import typing

import ml_collections
import pytest
from annotated_types import Interval

from av_mae.config import keys, limits, modality, parse, schema


def values(**changes) -> dict:
    return {"modalities": {"video": {}, "audio": {}}} | changes


def refusal(**changes) -> str:
    with pytest.raises(schema.ConfigError) as error:
        parse.experiment(values(**changes))
    return str(error.value)


def nested(key: str, value) -> dict:
    """`{"a": {"b": value}}` for the key `a.b`."""
    for name in reversed(key.split(".")):
        value = {name: value}
    return value


def types(kind: type = schema.Experiment, prefix: str = "") -> dict[str, typing.Any]:
    """The type of every key of a config; `val` is an evaluator."""
    found = {}
    entries = {"modalities": modality.KINDS, "evaluators": {"val": schema.Evaluator}}
    for name, hint in typing.get_type_hints(kind, include_extras=True).items():
        key = f"{prefix}{name}"
        if dataclasses.is_dataclass(hint):
            found |= types(hint, f"{key}.")
        elif typing.get_origin(hint) is dict:
            for entry, sub in entries[name].items():
                found |= types(sub, f"{key}.{entry}.")
        elif typing.get_origin(hint) is not typing.ClassVar:
            found[key] = hint
    return found


KEYS = types()
CHOICES = {k: typing.get_args(t) for k, t in KEYS.items() if typing.get_origin(t) is typing.Literal}
BOUNDS = {
    key: (limits.base(hint), bounds)
    for key, hint in KEYS.items()
    for bounds in getattr(hint, "__metadata__", ())
    if isinstance(bounds, Interval)
}
DURATIONS = [k for k, t in KEYS.items() if "steps, epochs" in limits.expected(t)]


def test_limits_are_found_for_the_keys_that_have_some():
    assert len(CHOICES) >= 20 and len(BOUNDS) >= 50 and len(DURATIONS) == 5


def test_an_experiment_survives_being_written_and_read():
    before = parse.experiment(
        values(
            task="classify",
            lr=1,
            modalities={"audio": {"mean": -6.5, "std": 3}, "video": {"patch": [4, 8, 8]}},
            model={"fusion": "bottleneck", "drop_path": 0.1},
            evaluators={"test": {"split": "test", "modalities": ["audio"]}},
        )
    )
    after = parse.experiment(json.loads(json.dumps(before.to_dict())))
    assert after == before
    assert after.digest() == before.digest()


def test_any_change_changes_the_digest():
    assert parse.experiment(values(seed=1)).digest() != parse.experiment(values(seed=2)).digest()


def test_a_config_dict_reads_as_a_plain_dict_does():
    assert parse.experiment(ml_collections.ConfigDict(values())) == parse.experiment(values())


def test_modalities_are_ordered_whatever_the_file_says():
    e = parse.experiment(values(modalities={"audio": {}, "video": {}}))
    assert list(e.modalities) == ["video", "audio"]


def test_numbers_are_read_as_the_schema_wants_them():
    e = parse.experiment(values(lr=1, optim={"clip": 2}))
    assert isinstance(e.lr, float)
    assert isinstance(e.optim.clip, float)


@pytest.mark.parametrize(
    ("changes", "near"),
    [
        ({"batchsize": 1}, "batch_size"),
        ({"model": {"widht": 1}}, "model.width"),
        ({"modalities": {"video": {"strides": 2}}}, "modalities.video.stride"),
        ({"modalities": {"vidio": {}}}, "modalities.video"),
        ({"evaluators": {"val": {"splits": "val"}}}, "evaluators.val.split"),
        ({"optim": {"lr": 1.0}}, "lr"),
        ({"mask_ratio": 0.9}, "modalities.video.mask_ratio' or 'modalities.audio.mask_ratio"),
        ({"learning_rate": 1e-3}, "lr"),
        ({"epochs": 3}, "total"),
        ({"model": {"layers": 4}}, "model.depth"),
        ({"layers": 4}, "model.depth"),
        ({"model": {"depht": 4}}, "model.depth"),
        ({"num_workers": 4}, "dataset.workers"),
        ({"train": {"lr": 1.0}}, "dataset.train"),
    ],
)
def test_an_unknown_key_is_answered_by_the_nearest(changes, near):
    message = refusal(**changes)
    assert "unknown key" in message
    assert f"did you mean '{near}'" in message


def test_an_unknown_key_like_no_other_lists_the_known_ones():
    assert "'dataset.zzzz'; dataset has path, source" in refusal(dataset={"zzzz": 1})


def test_every_synonym_is_of_a_key_that_exists():
    known = keys.flat(parse.experiment(values()).to_dict())
    for synonym, key in keys.SYNONYMS.items():
        assert f"did you mean {key!r}" in keys.advice(synonym, known)


@pytest.mark.parametrize(
    ("changes", "where", "kind"),
    [
        ({"batch_size": 1.5}, "batch_size", "int"),
        ({"batch_size": True}, "batch_size", "int"),
        ({"lr": "fast"}, "lr", "float"),
        ({"total": 100}, "total", "str"),
        ({"dataset": {"multilabel": 1}}, "dataset.multilabel", "bool"),
        ({"model": 3}, "model", "dict"),
        ({"modalities": {"video": {"patch": 16}}}, "modalities.video.patch", "tuple"),
        ({"modalities": {"video": {"patch": (2, 16.0, 16)}}}, "video.patch[1]", "int"),
        ({"modalities": ("video",)}, "modalities", "dict"),
        ({"augment": {"crop_area": (0.1, 0.5, 1.0)}}, "augment.crop_area", "2 values"),
    ],
)
def test_a_value_of_the_wrong_kind_names_its_key_and_the_right_kind(changes, where, kind):
    message = refusal(**changes)
    assert where in message
    assert kind in message


@pytest.mark.parametrize("key", sorted(CHOICES))
def test_a_choice_outside_the_list_is_answered_by_the_list(key):
    message = refusal(**nested(key, "zzz"))
    assert f"{key} is 'zzz', expected one of {', '.join(CHOICES[key])}" in message


@pytest.mark.parametrize("key", sorted(BOUNDS))
def test_a_number_below_its_minimum_is_named(key):
    kind, bounds = BOUNDS[key]
    below = kind(bounds.ge - 1)
    assert f"{key} is {below}, expected {bounds.ge} " in refusal(**nested(key, below))


@pytest.mark.parametrize("key", sorted(k for k, (_, b) in BOUNDS.items() if b.lt is not None))
def test_a_share_of_one_and_more_is_named(key):
    assert f"{key} is 1.0, expected 0 to less than 1" in refusal(**nested(key, 1.0))


@pytest.mark.parametrize("key", sorted(k for k, (_, b) in BOUNDS.items() if b.le is not None))
def test_a_number_above_its_maximum_is_named(key):
    kind, bounds = BOUNDS[key]
    limits.check(KEYS[key], bounds.le, key)
    above = bounds.le + (0.5 if kind is float else 1)
    sentence = f"{key} is {above}, expected {bounds.ge} to {bounds.le:,}"
    assert sentence in refusal(**nested(key, above))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"modalities": {"video": {"size": 9984, "frames": 10_000}}}, "modalities.video: an input"),
        ({"modalities": {"video": {"size": 1024, "patch": (1, 1, 1)}}}, "modalities.video: an inp"),
        ({"modalities": {"audio": {"seconds": 86_400.0, "patch": (1, 1)}}}, "modalities.audio: an"),
        ({"model": {"width": 998_400, "depth": 1}}, "model: width, depth and mlp make"),
        ({"model": {"depth": 999_999}}, "model: width, depth and mlp make"),
        ({"model": {"decoder_width": 998_400}}, "model.decoder: width, depth and mlp make"),
        ({"dataset": {"canvas": (10**9, 10**9)}}, "1 to 10,000 pixels"),
        ({"dataset": {"workers": 10**9}}, "dataset.workers is 1000000000, expected 0 to 1,000"),
    ],
)
def test_sizes_that_would_claim_terabytes_together_are_refused(changes, sentence):
    assert sentence in refusal(**changes)


def test_what_is_no_number_is_within_no_limits():
    for value in (float("nan"), float("-inf")):
        assert f"lr is {value}, expected 0 or more" in refusal(lr=value)


def test_limits_of_both_sides_are_those_of_the_keys_that_are_shares():
    assert {k for k, (_, b) in BOUNDS.items() if b.lt is not None} == {
        "model.drop_path", "model.dropout", "model.attention_dropout", "model.head_dropout",
        "optim.b1", "optim.b2", "optim.momentum", "optim.ema", "optim.label_smoothing",
        "optim.class_weights_beta",
        "modalities.video.mask_ratio", "modalities.audio.mask_ratio",
    }  # fmt: skip
    assert {k for k, (kind, b) in BOUNDS.items() if b.le is not None and kind is float} == {
        "augment.flip", "augment.color", "augment.gray", "augment.erase", "augment.drop_modality",
        "augment.rand_augment_magnitude", "modalities.audio.seconds", "modalities.video.fps",
    }  # fmt: skip


@pytest.mark.parametrize("key", DURATIONS)
def test_a_duration_that_is_none_is_named(key):
    message = refusal(**nested(key, "5 parsecs"))
    assert message.startswith(f"{key} is '5 parsecs', expected a number and steps, epochs")


def test_only_evaluators_wait_for_the_end():
    parse.experiment(values(evaluators={"val": {"every": "end"}}))
    assert "checkpoint.every" in refusal(checkpoint={"every": "end"})


@pytest.mark.parametrize(
    ("video", "words"),
    [
        ({"mask_ratio": 1.0}, ["mask_ratio is 1.0", "0 to less than 1"]),
        ({"mask_ratio": -0.1}, ["mask_ratio is -0.1"]),
        ({"masking": "time"}, ["masking is 'time'", "random, tube"]),
        ({"size": 225}, ["225", "patch size 16", "use 224 or 240"]),
        ({"frames": 15}, ["frames 15", "use 14 or 16"]),
        ({"patch": (2, 16)}, ["expected 3 positive sizes"]),
        ({"patch": (2, 0, 16)}, ["expected 3 positive sizes"]),
    ],
)
def test_a_video_that_cannot_be_cut_says_which_sizes_can(video, words):
    message = refusal(modalities={"video": video})
    assert "modalities.video" in message
    assert all(word in message for word in words)


def test_a_sound_shorter_than_a_patch_is_refused():
    message = refusal(modalities={"audio": {"seconds": 0.1}})
    assert "no whole patch" in message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"modalities": {}}, ["modalities is empty"]),
        ({"batch_size": 10, "optim": {"accumulate": 4}}, ["10", "accumulate 4"]),
        ({"batch_size": 9, "dataset": {"repeat": 2}}, ["9", "repeat 2"]),
        ({"model": {"width": 100}}, ["width 100", "12 heads"]),
        ({"model": {"decoder_heads": 5}}, ["model.decoder", "5 heads"]),
        (
            {"dataset": {"multilabel": True}, "evaluators": {"test": {"merge": "softmax"}}},
            ["evaluators.test.merge is softmax", "use logits"],
        ),
        (
            {"model": {"inpainting": True}, "modalities": {"audio": {}}},
            ["inpainting needs two modalities"],
        ),
    ],
)
def test_values_that_contradict_each_other_are_refused(changes, words):
    message = refusal(**changes)
    assert all(word in message for word in words)


@pytest.mark.parametrize(
    ("duration", "steps"),
    [
        ("200 steps", 200),
        ("1 step", 1),
        ("3 epochs", 30),
        ("2.5 epochs", 25),
        ("640 examples", 10),
        ("5 %", 50),
        ("5 percent", 50),
        ("1e2 steps", 100),
    ],
)
def test_durations_are_steps(duration, steps):
    assert limits.steps(duration, steps_per_epoch=10, batch_size=64, total=1000) == steps


@pytest.mark.parametrize(
    "duration", ["", "5", "epochs", "5 furlongs", "-1 steps", "5 epochs!", "1.2.3 epochs"]
)
def test_what_is_no_duration_says_what_is(duration):
    with pytest.raises(schema.ConfigError, match="expected a number and steps, epochs"):
        limits.steps(duration, steps_per_epoch=1, batch_size=1)


def test_a_variant_names_widths_and_patch():
    sizes, patch = schema.variant("L/16x2")
    assert sizes == {"width": 1024, "depth": 24, "heads": 16, "mlp": 4096}
    assert patch == (2, 16, 16)


@pytest.mark.parametrize("name", ["L", "L/16", "XL/16x2", "l/16x2", "L/16x2x3"])
def test_what_is_no_variant_says_what_is(name):
    with pytest.raises(schema.ConfigError, match="as in B/16x2"):
        schema.variant(name)


@pytest.mark.parametrize("number", ["1e999", "9" * 400, "9" * 4000 + "e9"])
def test_a_duration_without_an_end_is_refused(number):
    with pytest.raises(schema.ConfigError, match="longer than any run"):
        limits.steps(f"{number} steps", steps_per_epoch=1, batch_size=1)


@pytest.mark.parametrize(
    "modalities, message",
    [
        ({"video": {"std": (0.5, 0.0, 0.5)}}, "modalities.video.std is .0.5, 0.0, 0.5., expected"),
        ({"video": {"std": (0.5,)}}, "modalities.video.std is .0.5,., expected 3 values"),
        ({"video": {"fps": 0.0}}, "modalities.video.fps is 0.0, expected 0.01 to 1,000"),
        ({"video": {"stride": 0}}, "modalities.video.stride is 0, expected 1 to"),
        ({"audio": {"std": 0.0}}, "modalities.audio.std is 0.0, expected a value above 0"),
    ],
)
def test_inputs_that_cannot_be_normalised_or_sampled_are_refused(modalities, message):
    with pytest.raises(schema.ConfigError, match=message):
        parse.experiment(values(modalities=modalities))
