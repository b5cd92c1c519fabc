"""What an evaluation writes: no score that is there already is lost."""

import json

from av_mae.evaluation import evaluate


def test_scores_of_the_same_step_stay_and_older_ones_go(tmp_path):
    evaluate.write(tmp_path, 5, {"val/loss": 2.0, "val/accuracy": 0.5})
    evaluate.write(tmp_path, 5, {"val/accuracy": 0.6, "test/loss": float("nan")})
    assert written(tmp_path) == {"val/loss": 2.0, "val/accuracy": 0.6, "test/loss": None}
    evaluate.write(tmp_path, 6, {"val/loss": 1.0})
    assert written(tmp_path) == {"val/loss": 1.0}


def test_a_damaged_file_is_kept_aside(tmp_path):
    path = tmp_path / "results.json"
    for damaged in ('{"step": 5', "[]", '{"step": 5}'):
        path.write_text(damaged)
        evaluate.write(tmp_path, 5, {"val/loss": 1.0})
        assert written(tmp_path) == {"val/loss": 1.0}
        assert (tmp_path / "results.json.damaged").read_text() == damaged


def written(folder) -> dict:
    return json.loads((folder / "results.json").read_text())["results"]
