"""Tasks are found by the names of their modules, and refuse configs that they cannot do with."""

import pytest

from av_mae import tasks
from av_mae.config import parse, schema
from av_mae.tasks import pretrain


def refusal(values: dict) -> str:
    experiment = parse.experiment({"modalities": {"video": {}, "audio": {}}} | values)
    with pytest.raises(schema.ConfigError) as error:
        tasks.check(experiment)
    return str(error.value)


def test_a_module_with_a_class_of_its_name_is_a_task():
    assert tasks.names() == ["classify", "pretrain"]
    assert tasks.find("pretrain") is pretrain.Pretrain


@pytest.mark.parametrize("name", ["zzz", "losses", "", "pretrain.losses"])
def test_an_unknown_task_is_answered_by_the_list(name):
    assert f"task is {name!r}, expected one of classify, pretrain" in refusal({"task": name})


@pytest.mark.parametrize("key", pretrain.UNUSED)
def test_what_pretraining_would_not_do_is_not_asked_of_it(key):
    group, name = key.split(".")
    default = getattr(getattr(schema.Experiment(), group), name)
    some = "sqrt" if default == "none" else type(default)(1)
    values = {"modalities": {"video": {}}, group: {name: some}}
    tasks.check(parse.experiment(values | {"task": "classify"}))
    message = refusal(values | {"task": "pretrain"})
    assert f"{key} is {some}, which only task 'classify' has a use for" in message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": {"fusion": "bottleneck"}}, ["bottleneck is for finetuning"]),
        ({"model": {"fusion": "mid", "fusion_layers": 13}}, ["fusion_layers is 13", "(12)"]),
        (
            {"modalities": {"video": {"mask_ratio": 0.0}}},
            ["nothing to reconstruct", "mask_ratio of modalities.video (1568 tokens)"],
        ),
        (
            {"model": {"decoder_heads": 3}, "compute": {"tensor": 2}},
            ["model.decoder_heads is 3, which compute.tensor 2 does not divide"],
        ),
        (
            {"model": {"positions": "sincos3d", "width": 512, "heads": 8}},
            ["model.width: modalities.video: positions sincos3d need a width divisible by 6"],
        ),
        (
            {"model": {"decoder_positions": "sincos3d", "decoder_width": 512, "decoder_heads": 8}},
            ["model.decoder_width: modalities.video: positions sincos3d need a width divisible"],
        ),
    ],
)
def test_values_that_contradict_each_other_are_refused(changes, words):
    message = refusal(changes)
    assert all(word in message for word in words)


@pytest.mark.parametrize("fusion", ["mid", "bottleneck"])
def test_a_classifier_cannot_fuse_more_layers_than_it_has(fusion):
    values = {"task": "classify", "model": {"fusion": fusion, "fusion_layers": 13}}
    assert "model.fusion_layers is 13, expected 0 to model.depth (12)" in refusal(values)


def test_a_model_is_told_from_one_that_lacks_a_part():
    assert "finetune it: task classify with init_from.path=here" in tasks.find("classify").instead(
        "here", ""
    )
    assert tasks.find("pretrain").instead("here", "there").endswith("started from: there")
