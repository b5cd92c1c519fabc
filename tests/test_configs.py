"""Every config file: it builds for every argument, names its records, and takes a step."""

import importlib.util
import pathlib

import jax
import numpy as np
import pytest
import tiny
from flax import nnx

from av_mae import recipes, tasks
from av_mae.config import parse, published, schema
from av_mae.experiment import sharding
from av_mae.experiment.run import Run
from av_mae.input import description, pipeline

FILES = sorted((tiny.ROOT / "configs").glob("*/*.py"))
NAMES = [f"{file.parent.name}/{file.stem}" for file in FILES]
MODALITIES = ("video", "audio", "audio,video")


def load(file: pathlib.Path, arg: str = ""):
    spec = importlib.util.spec_from_file_location(f"config_{file.parent.name}_{file.stem}", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(arg)


def test_every_data_set_can_be_pretrained_on_and_finetuned():
    for folder in {file.parent for file in FILES}:
        assert {file.stem for file in FILES if file.parent == folder} == {"pretrain", "finetune"}


@pytest.mark.parametrize("modalities", MODALITIES)
@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_a_config_builds_a_model_for_every_choice_of_modalities(file, modalities):
    e = parse.experiment(load(file, f"modalities={modalities}"))
    assert sorted(e.modalities) == sorted(modalities.split(","))
    assert list(e.modalities) == sorted(e.modalities, reverse=True)  # video first
    assert e.task == {"pretrain": "pretrain", "finetune": "classify"}[file.stem]
    assert e.dataset.path.startswith(f"records/{file.parent.name}")
    model = nnx.eval_shape(lambda: tasks.make(e, ["a", "b"]).init(nnx.Rngs(0)))
    assert jax.tree.leaves(nnx.state(model, nnx.Param))


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_a_config_states_its_command_and_what_to_expect(file):
    text = file.read_text().split('"""')[1]
    assert f"--config=configs/{file.parent.name}/{file.stem}.py" in text
    assert "hat to expect: " in text or file.parent.name == "sample"
    assert len(file.read_text().splitlines()) <= 90


def test_finetuning_sees_what_pretraining_saw():
    for file in FILES:
        if file.stem == "pretrain":
            before = parse.experiment(load(file)).modalities
            after = parse.experiment(load(file.with_name("finetune.py"))).modalities
            for name in before:
                assert before[name].patch == after[name].patch
                assert before[name].axes[1:] == after[name].axes[1:]
                assert (before[name].mean, before[name].std) == (after[name].mean, after[name].std)
            assert before["video"].remove_still == after["video"].remove_still
            if file.parent.name in ("kinetics400", "ssv2", "ucf101", "hmdb51"):
                assert before["video"].seconds == after["video"].seconds


def test_a_variant_sets_the_sizes_of_encoder_decoder_and_patch():
    file = tiny.ROOT / "configs/audioset/pretrain.py"
    e = parse.experiment(load(file, "variant=B/8x4,modalities=video"))
    assert (e.model.width, e.model.depth, e.model.decoder_width) == (768, 12, 384)
    assert e.modalities["video"].patch == (4, 8, 8)
    assert set(recipes.DECODERS) == set(schema.VARIANTS) | set(schema.SMALL)


@pytest.mark.parametrize("size", [*schema.VARIANTS, *schema.SMALL])
@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_every_config_has_the_size_it_is_asked_for_or_refuses_it(file, size):
    try:
        e = parse.experiment(load(file, f"variant={size}/16x2"))
    except schema.ConfigError as error:
        refused = f"variant={size}/16x2: a recipe is published for" in str(error)
        assert refused and file.parent.name in ("kinetics400", "ssv2", "ucf101", "hmdb51")
        return
    sizes = (schema.VARIANTS | schema.SMALL)[size]
    assert (e.model.width, e.model.depth, e.model.heads, e.model.mlp) == sizes
    assert e.modalities["video"].patch == (2, 16, 16)
    if e.task == "pretrain" and file.parent.name in ("sample", "grid"):
        m = e.model
        decoder = (m.decoder_width, m.decoder_depth, m.decoder_heads, m.decoder_mlp)
        assert decoder == recipes.DECODERS[size]


# Counted in the original programs: VideoMAE's and Scenic's.
COUNTS = {
    ("kinetics400/pretrain", "variant=S/16x2,modalities=video"): 24_029_376,
    ("kinetics400/pretrain", "variant=B/16x2,modalities=video"): 94_210_944,
    ("kinetics400/finetune", "variant=S/16x2,modalities=video"): 22_033_936,
    ("kinetics400/finetune", "variant=B/16x2,modalities=video"): 86_534_800,
    ("audioset/pretrain", "variant=L/16x2"): 595_849_984,
}


@pytest.mark.parametrize(("name", "arg"), COUNTS, ids=str)
def test_published_models_have_the_published_number_of_parameters(name, arg):
    e = parse.experiment(load(tiny.ROOT / f"configs/{name}.py", arg))
    model = nnx.eval_shape(lambda: tasks.make(e, ["class"] * 400).init(nnx.Rngs(0)))
    assert sum(x.size for x in jax.tree.leaves(nnx.state(model, nnx.Param))) == COUNTS[name, arg]


PUBLISHED = [
    ("kinetics400", "S", 1024, 768, 2.5e-4, 150, 0.75),
    ("kinetics400", "B", 2048, 768, 2.5e-4, 75, 0.75),
    ("kinetics400", "L", 512, 256, 1e-3, 35, 0.75),
    ("kinetics400", "H", 1024, 1024, 5e-4, 50, 0.75),
    ("ssv2", "S", 1024, 768, 5e-4, 40, 0.7),
    ("ssv2", "B", 2048, 768, 2.5e-4, 30, 0.75),
    ("ucf101", "B", 192, 256, 2.5e-4, 100, 0.7),
    ("hmdb51", "B", 192, 256, 2.5e-4, 100, 0.7),
]


@pytest.mark.parametrize(
    ("data", "size", "clips", "rows", "rate", "epochs", "decay"), PUBLISHED, ids=str
)
def test_videomaes_recipes_differ_by_size(data, size, clips, rows, rate, epochs, decay):
    """Rates are for 256 rows; each clip is two rows of a finetuning batch."""
    arg = f"variant={size}/16x2,modalities=video"
    before = parse.experiment(load(tiny.ROOT / f"configs/{data}/pretrain.py", arg))
    after = parse.experiment(load(tiny.ROOT / f"configs/{data}/finetune.py", arg))
    assert (before.batch_size, after.batch_size, after.dataset.repeat) == (clips, rows, 2)
    assert after.lr == pytest.approx(rate * rows / 256)
    assert (after.total, after.optim.layer_decay) == (f"{epochs} epochs", decay)
    assert before.model.decoder_depth == (12 if size in "LH" else 4)
    assert before.model.decoder_width == before.model.decoder_heads * (80 if size == "H" else 64)
    assert before.modalities["video"].stride == (2 if data == "ssv2" else 4)
    assert after.augment.flip == (0.0 if data == "ssv2" else 0.5)
    test = after.evaluators["test"]
    assert (test.temporal_views, test.spatial_views) == ((2 if data == "ssv2" else 5), 3)


def test_a_size_without_a_published_recipe_is_refused():
    for name, size in (("kinetics400/pretrain", "Ti"), ("ssv2/finetune", "L")):
        with pytest.raises(schema.ConfigError, match=f"variant={size}/16x2: a recipe is published"):
            load(tiny.ROOT / f"configs/{name}.py", f"variant={size}/16x2")


def test_the_learning_rate_follows_the_batch_size_until_it_is_set_itself():
    c = load(tiny.ROOT / "configs/audioset/pretrain.py")
    assert c.lr == pytest.approx(6e-4)
    c.batch_size = 64
    assert parse.experiment(c).lr == pytest.approx(6e-4 / 8)
    c.lr = 0.5
    c.batch_size = 128
    assert parse.experiment(c).lr == 0.5


def test_every_key_of_the_schema_can_be_overridden():
    c = load(tiny.ROOT / "configs/sample/finetune.py")
    assert set(c) == set(schema.Experiment().to_dict())
    assert set(c.model) == set(schema.Experiment().to_dict()["model"])
    c.modalities.audio.mean = -6.5
    assert parse.experiment(c).modalities["audio"].mean == -6.5


@pytest.mark.parametrize(
    ("arg", "message"),
    [
        ("modality=audio", "expected modalities=... or variant=..."),
        ("audio", "as in modalities=audio,video"),
        ("modalities=adio", "one or more of video, audio"),
        ("modalities=audio,audio", "each once"),
        ("modalities=", "one or more of video, audio"),
        ("variant=XL/16x2", "expected <Ti, S, B, L, H, pico, nano>"),
        ("modalities=video", "modalities=video: the recipe has audio only"),
    ],
)
def test_a_wrong_argument_is_a_sentence(arg, message):
    with pytest.raises(schema.ConfigError) as error:
        recipes.pretrain(recipes.options(arg), records="x", audio={})
    assert message in str(error.value)


def test_a_recipe_has_the_modalities_that_it_describes():
    for names in (["video"], ["audio"], ["video", "audio"]):
        inputs = {name: {} for name in reversed(names)}
        for start in (recipes.pretrain, recipes.finetune):
            assert list(parse.experiment(start(records="x", **inputs)).modalities) == names
    with pytest.raises(schema.ConfigError, match="unknown modality 'vidio'; did you mean 'video'"):
        recipes.pretrain(records="x", vidio={})


def test_published_configs_are_found_by_name_and_others_answered_by_the_nearest():
    assert published.names() == NAMES
    c = recipes.load("ssv2/finetune").get_config("variant=S/16x2")
    assert c == load(tiny.ROOT / "configs/ssv2/finetune.py", "variant=S/16x2")
    with pytest.raises(schema.ConfigError) as error:
        recipes.load("audioste/pretrain")
    assert "did you mean 'audioset/pretrain'?" in str(error.value)
    assert "audioset, grid, hmdb51, kinetics400, sample, ssv2" in str(error.value)


def test_a_misspelt_key_is_an_error_at_its_own_line():
    c = recipes.pretrain(recipes.options(""), records="x", video={}, audio={})
    with pytest.raises(KeyError, match="fusion"):
        c.model.update(fussion="mid")
    with pytest.raises(TypeError, match="strid"):
        recipes.pretrain(recipes.options(""), records="x", video={"strid": 2}, audio={})
    with pytest.raises(TypeError, match="vews"):
        recipes.evaluators(test={"vews": 4})


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> pathlib.Path:
    return tiny.write_records(tmp_path_factory.mktemp("records"))


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_a_shrunk_config_takes_a_step(file, records):
    e = parse.experiment(shrink(load(file), records))
    run = Run.assemble(e, description.of(e.dataset), jax.devices()[:1])  # layouts: test_parallel
    rows = next(
        pipeline.train_batches(
            records, e.modalities, e.dataset, e.augment, batch_size=e.batch_size, seed=e.seed
        )
    )
    batch = sharding.to_devices(rows, run.mesh)
    step = run.train_step().lower(run.abstract, batch)
    after, metrics = step.compile()(some_state(run), batch)
    assert int(after.step) == 1
    assert np.isfinite(float(metrics["loss"]))
    assert float(metrics["grad_norm"]) > 0


def some_state(run: Run):
    """A training state of small random parameters, made without compiling their initialisers."""
    rng = np.random.default_rng(0)
    state = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), run.abstract)
    params = jax.tree.map(lambda x: rng.normal(0, 0.1, x.shape).astype(x.dtype), state.params)
    layout = jax.tree.map(lambda x: x.sharding, run.abstract)
    return jax.device_put(state.replace(params=params), layout)


def shrink(c, folder: pathlib.Path):
    """The same recipe on a model, an input and a data set that a CPU steps through at once."""
    c.dataset.path = str(folder)
    c.dataset.workers = 1
    c.batch_size, c.total = 8 * c.dataset.repeat, "4 steps"
    c.optim.warmup = "1 steps"
    c.model.update(width=24, depth=3, heads=2, mlp=32)
    c.model.update(decoder_width=24, decoder_depth=1, decoder_heads=2, decoder_mlp=32)
    for key in ("fusion_layers", "fusion_norm_layer"):
        c.model[key] = min(c.model[key], 2)
    c.compute.scan, c.compute.remat = False, "none"
    c.modalities.video.update(frames=4, stride=2, size=32)
    if "audio" in c.modalities:
        c.modalities.audio.seconds = 0.64
    for evaluator in c.evaluators.values():
        evaluator.split = "val"
    return c
