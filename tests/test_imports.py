"""Imports point one way, TensorFlow and JAX stay apart, and `import av_mae` costs nothing."""

import ast
import functools
import graphlib
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
MODELS = {"models.mae", "models.classifier"}

# The house from its ground floor up: each wing (a folder, or a module of the package's root), and
# all that it imports of the wings above it in this table.
ARROWS: dict[str, str] = {
    "version": "",
    "config": "",
    "recipes": "config",
    "input": "config",
    "preprocess": "config",
    "models": "config",
    "tasks": "config models preprocess",
    "report": "config tasks version",
    "prepare": "config input preprocess report version",
    "experiment": "config input models prepare preprocess report tasks version",
    "inference": "config prepare preprocess report version",
    "evaluation": "config experiment inference input models report tasks",
    "planning": "config experiment input models tasks",
    "convert": "config experiment models tasks",
    "api": "config convert experiment inference tasks",
    "training": "config convert evaluation experiment input models report tasks",
    "tools": "api config experiment inference input planning report training",
    "main": "config evaluation experiment input tasks training",
    "": "version",  # and api, by its name at first use
}


@functools.cache
def modules() -> dict[str, ast.Module]:
    """Every module of the package by its name within it; the package itself is ""."""
    found = {}
    for file in sorted((ROOT / "av_mae").rglob("*.py")):
        parts = file.relative_to(ROOT / "av_mae").with_suffix("").parts
        found[".".join(p for p in parts if p != "__init__")] = ast.parse(file.read_text())
    return found


def imported(tree: ast.Module) -> set[str]:
    """Full names of what a module imports anywhere, save for type checkers alone."""
    names = set()
    nodes: list[ast.AST] = [tree]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        nodes += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@functools.cache
def ours(name: str) -> frozenset[str]:
    """Modules of the package that a module imports; a name in a module stands for the module."""
    found = set()
    for full in imported(modules()[name]):
        if full.startswith("av_mae."):
            inner = full.removeprefix("av_mae.")
            found.add(inner if inner in modules() else inner.rpartition(".")[0])
    return frozenset(found - {name, ""})


def outside(name: str) -> set[str]:
    return {full.split(".")[0] for full in imported(modules()[name])} - {"av_mae"}


def everything_behind(name: str) -> set[str]:
    """A module and all that it imports of ours, with the packages they lie in."""
    seen, todo = set(), [name]
    while todo:
        here = todo.pop()
        if here not in seen and here in modules():
            seen.add(here)
            todo += [*ours(here), here.rpartition(".")[0]]
    return seen


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def wing(name: str) -> str:
    return name.partition(".")[0]


def test_the_table_names_every_wing_and_goes_up():
    assert set(ARROWS) == {wing(name) for name in modules()}
    below: set[str] = set()
    for name, imports in ARROWS.items():
        assert set(imports.split()) <= below, name
        below.add(name)


@pytest.mark.parametrize("name", ARROWS)
def test_a_wing_imports_what_the_table_says(name):
    own = [module for module in modules() if wing(module) == name]
    found = {wing(other) for module in own for other in ours(module)} - {name}
    assert found == set(ARROWS[name].split())


def test_the_two_models_do_not_know_each_other_and_nothing_below_knows_them():
    for name in modules():
        if within(name, "models") and name not in MODELS:
            assert not ours(name) & MODELS, name
    for model in MODELS:
        assert not ours(model) & MODELS, model


def test_there_is_no_circle():
    tuple(graphlib.TopologicalSorter({n: ours(n) for n in modules()}).static_order())


def test_nothing_imports_the_entry_point_or_what_lies_outside_the_package():
    for name in modules():
        assert "main" not in ours(name), name
        assert not outside(name) & {"configs", "data", "tests", "benchmarks"}, name


def test_no_module_touches_both_tensorflow_and_jax():
    for name in modules():
        assert not {"jax", "flax"} & outside(name) or not tensorflows(name), name


@pytest.mark.parametrize("door", ["tasks.pretrain", "tasks.classify", "preprocess", "api"])
def test_models_and_inference_run_without_tensorflow(door):
    for name in everything_behind(door):
        assert not tensorflows(name), f"av_mae.{door} imports TensorFlow through av_mae.{name}"


@pytest.mark.parametrize("door", ["input.pipeline", "prepare.media.decode"])
def test_input_and_decoding_run_without_jax(door):
    for name in everything_behind(door):
        assert not {"jax", "flax"} & outside(name), f"through av_mae.{name}"


def tensorflows(name: str) -> set[str]:
    return outside(name) & {"tensorflow", "tensorflow_datasets", "clu"}


def test_every_command_writes_names_that_its_terminal_cannot_show():
    for name, tree in modules().items():
        if "if __name__ == '__main__'" in ast.unparse(tree):
            assert "config.command_line" in everything_behind(name), name


def test_configs_import_the_recipes_only():
    for file in (ROOT / "configs").rglob("*.py"):
        names = {n for n in imported(ast.parse(file.read_text())) if n.startswith("av_mae")}
        assert names == {"av_mae.recipes"}, file


def test_importing_the_package_imports_nothing_heavy():
    script = "import sys, av_mae; av_mae.__version__; print(*sys.modules)"
    out = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    heavy = {"jax", "flax", "tensorflow", "numpy", "absl", "ml_collections", "av", "matplotlib"}
    assert not heavy & set(out.stdout.split())


def test_a_step_is_planned_where_tensorflow_is_not_installed():
    script = (
        "import sys\n"
        "sys.modules.update(tensorflow=None, tensorflow_datasets=None, clu=None)\n"
        "import av_mae.experiment.run, av_mae.planning.synthetic, av_mae.tools.plan"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
