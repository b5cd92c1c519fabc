"""Which golden cases there are, and which of them show an option that this project leaves out.

Cases are found by listing the folder that AV_MAE_GOLDEN names (default: the shared one, else the
small selection beside this file), so that a folder with further cases is checked as it is.
"""

import json
import os
import pathlib

import jax
import numpy as np
import pytest
from flax import traverse_util

HERE = pathlib.Path(__file__).parent
_SHARED = HERE.parents[2] / "shared" / "golden"
FOLDER = pathlib.Path(
    os.environ.get("AV_MAE_GOLDEN", _SHARED if _SHARED.is_dir() else HERE / "data")
)

# Options that no published config or checkpoint uses, as a case's config.json has them;
# docs/decisions.md says more about each.
LEFT_OUT = {
    ("select_central_frame", True): "targets of the middle frame of a tubelet alone",
    ("standardise_per_patch_channels", True): "targets standardised by channel, with Scenic's eps",
    ("reconstruct_grayscale", True): "targets without colour",
    ("shuffle_inpainted_tokens", True): "shuffles predictions, not their targets: a fault",
    ("classifier", "gsp"): "the sum over tokens instead of their mean",
}


# Recomputation changes no number, and what has it compiles a quarter longer.
QUICK = {"compute.remat": "none"}


def evaluate(step, params, *, gradients: bool):
    """What `step` returns (a loss and more), and its gradients where they are wanted, else None."""
    if gradients:
        return jax.jit(jax.value_and_grad(step, has_aux=True))(params)
    return jax.jit(step)(params), None


def found(place: str) -> list:
    """Folders of cases below `place`, as parameters of a test; left-out ones skip with a reason."""
    root = FOLDER / place
    names = sorted(p.name for p in root.iterdir() if p.is_dir()) if root.is_dir() else []
    return [_parameter(place, name) for name in names]


def _parameter(place: str, name: str):
    file = FOLDER / place / name / "config.json"
    reason = _left_out(settings(file)) if file.is_file() else None
    marks = [pytest.mark.skip(reason=f"left out: {reason}")] if reason else []
    return pytest.param(FOLDER / place / name, id=f"{place}/{name}", marks=marks)


def _left_out(values: dict) -> str | None:
    """Why a case of these settings is left out; None: it is not."""
    chosen = {
        k.rsplit(".", 1)[-1]: v for k, v in traverse_util.flatten_dict(values, sep=".").items()
    }
    if chosen.get("standardise_per_patch"):  # where both are set, this one counts
        chosen["standardise_per_patch_channels"] = False
    found = (why for (key, value), why in LEFT_OUT.items() if chosen.get(key) == value)
    return next(found, None)


def at(place: str) -> pathlib.Path:
    """A single file or folder; the test skips where it is absent."""
    path = FOLDER / place
    if not path.exists():
        pytest.skip(f"{path} is not among the golden files")
    return path


def arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return dict(file)


def settings(path: pathlib.Path) -> dict:
    return json.loads(path.read_text())


def close(ours, theirs, tolerance: float = 2e-5, what: str = "") -> None:
    np.testing.assert_allclose(
        np.asarray(ours), np.asarray(theirs), atol=tolerance, rtol=tolerance, err_msg=what
    )


def close_gradients(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    """Every gradient of theirs, within 1e-4 of the largest value of that array."""
    assert theirs
    for name, expected in theirs.items():
        if name not in ours:  # a parameter that Scenic makes and never uses
            assert not expected.any(), name
            continue
        x = ours[name].reshape(expected.shape)
        assert np.abs(x - expected).max() <= 1e-4 * np.abs(expected).max() + 1e-7, name


def close_summaries(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    """As `close_gradients`, for [sum, norm, largest, first five] of every array."""
    assert theirs
    for name, (total, norm, largest, *first) in theirs.items():
        if name not in ours:
            assert not largest, name
            continue
        x = ours[name].astype(np.float64).ravel()
        size = 1e-4 * largest + 1e-7
        assert abs(x.sum() - total) <= size * x.size, name
        assert abs(np.linalg.norm(x) - norm) <= 1e-4 * norm + 1e-7, name
        assert abs(np.abs(x).max() - largest) <= size, name
        head = x[: len(first)]
        assert np.abs(head - first[: len(head)]).max() <= size, name
