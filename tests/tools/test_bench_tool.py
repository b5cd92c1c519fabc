"""The bench tool times the real step on real records, and says what is slower."""

import json
import re

import pytest
import tiny
import warm

from av_mae.config import parse, schema
from av_mae.planning import speed
from av_mae.tools import bench


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    data = tiny.write_records(tmp_path_factory.mktemp("records"))
    return bench.prepared(parse.experiment(tiny.experiment(data)), None, None)


def test_measures_steps_input_and_both(compiled, tmp_path):
    """On records some of whose clips are silent: what is compiled is what training would be."""
    figures = speed.measure(compiled, ["step", "input", "both"], 3, str(tmp_path / "trace"))
    assert all(seconds > 0 for seconds in figures["seconds"].values())
    assert figures["clips_per_second"]["both"] == pytest.approx(8 / figures["seconds"]["both"])
    step = figures["step"]
    assert step["analytic_gflop"] == pytest.approx(compiled.run.flops_per_step / 1e9)
    assert step["of_product"] > 0
    assert json.loads(json.dumps(figures)) == figures
    assert list((tmp_path / "trace").rglob("*.xplane.pb"))


@pytest.mark.parametrize("step, fed, limit", [(2.0, 0.5, "devices are"), (0.5, 2.0, "input is")])
def test_the_slower_side_is_named(step, fed, limit):
    figures = {"seconds": {"step": step, "input": fed}, "clips_per_second": {"step": 1, "input": 1}}
    assert re.search(f"{limit} the limit: .* 4.0 times", speed.table(figures)[-1])


def test_steps_on_noise_need_no_records():
    compiled = bench.prepared(parse.experiment(tiny.experiment("nowhere")), 1000, 2)
    assert speed.measure(compiled, ["step"], 1)["seconds"]["step"] > 0


def test_without_records_it_says_so():
    with pytest.raises(schema.ConfigError, match="nowhere"):
        bench.prepared(parse.experiment(tiny.experiment("nowhere")), None, None)


@pytest.mark.parametrize("tool", ["bench", "plan"])
def test_help_names_the_flags_that_the_tools_share(tool):
    done = warm.run(["-m", f"av_mae.tools.{tool}", "--help"], cwd=tiny.ROOT)
    assert all(f"--{name}:" in done.stdout for name in ("config", "clips", "labels", "json"))
