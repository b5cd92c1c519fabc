"""What the reporter writes can be read back, also after a kill and a restart."""

import io
import json
import math
import subprocess
import sys
import wave

import numpy as np
import report_run
from PIL import Image
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.util import tensor_util

from av_mae.report import gallery, history, media, page


def events(workdir) -> event_accumulator.EventAccumulator:
    everything = event_accumulator.EventAccumulator(
        str(workdir / "tensorboard"), size_guidance={event_accumulator.TENSORS: 0}
    )
    everything.Reload()
    return everything


def curve(workdir, tag: str) -> list[tuple[int, float]]:
    return [
        (e.step, round(float(tensor_util.make_ndarray(e.tensor_proto)), 4))
        for e in events(workdir).Tensors(tag)
    ]


def steps_in_metrics(workdir, kind: str) -> list[int]:
    lines, broken = history.read_lines(workdir / history.METRICS)
    assert not broken
    return [line["step"] for line in lines if line["kind"] == kind]


def test_numbers_reach_the_line_the_file_and_tensorboard(tmp_path, capsys):
    reporter = report_run.reporter(tmp_path)
    report_run.train(reporter, 100, 0.5)
    reporter.evaluation(100, {"val/loss": 0.25, "val/accuracy": 0.7123})
    reporter.close()
    first, second = capsys.readouterr().out.splitlines()
    assert first == (
        "step 100/1000  loss 0.500  2.00 it/s  128 clips/s  MFU 40%  input wait 3%  eta 7m30s"
    )
    assert second == "step 100/1000  eval  val/loss 0.250  val/accuracy 0.712"
    log = history.read(tmp_path)
    assert log.train[0].values["loss"] == 0.5
    assert log.train[0].values["speed/clips_per_second"] == 128
    assert math.isclose(log.train[0].values["speed/mfu"], 0.4)
    assert log.evaluations[0].values == {"val/loss": 0.25, "val/accuracy": 0.7123}
    assert curve(tmp_path, "train/loss") == [(100, 0.5)]
    assert curve(tmp_path, "speed/clips_per_second") == [(100, 128.0)]
    assert curve(tmp_path, "val/loss") == [(100, 0.25)]


def test_a_line_is_in_the_file_before_the_next_step(tmp_path):
    reporter = report_run.reporter(tmp_path)
    report_run.train(reporter, 100, 0.5)
    assert steps_in_metrics(tmp_path, "train") == [100]
    reporter.close()


def test_gallery_reaches_tensorboard_with_pictures_and_sound(tmp_path, example):
    reporter = report_run.reporter(tmp_path)
    reporter.gallery(100, "val", [example])
    reporter.close()
    found = events(tmp_path)
    strips = tensor_util.make_ndarray(found.Tensors("val/0/frames")[0].tensor_proto)
    image = np.asarray(Image.open(io.BytesIO(strips[2])))
    assert image.shape == (3 * 32 + 2 * 4, 8 * 48 + 7 * 4, 3)
    assert tuple(image[0, 0]) == (200, 40, 40)
    assert tuple(image[-1, 0]) == (40, 40, 200)
    sound = tensor_util.make_ndarray(found.Tensors("val/0/predicted")[0].tensor_proto)
    with wave.open(io.BytesIO(sound.reshape(-1)[0])) as file:
        assert (file.getframerate(), file.getnframes()) == (16_000, 20_480)
    assert len(gallery.read(tmp_path)) == 1


def test_a_restart_takes_back_what_came_after_the_checkpoint(tmp_path, example):
    reporter = report_run.reporter(tmp_path)
    for step in (100, 200, 300):
        report_run.train(reporter, step, 1.0)
        reporter.evaluation(step, {"val/loss": 1.0})
        reporter.gallery(step, "val", [example])
    reporter.close()
    # A kill in the middle of a line and of an event.
    with (tmp_path / history.METRICS).open("a") as file:
        file.write('{"step": 400, "kind": "tr')
    (event_file,) = (tmp_path / "tensorboard").glob("events*")
    with event_file.open("ab") as file:
        file.write(b"\x18\x00\x00\x00")

    reporter = report_run.reporter(tmp_path, resume_step=200)
    for step in (300, 400):
        report_run.train(reporter, step, 2.0)
    reporter.close()
    assert steps_in_metrics(tmp_path, "train") == [100, 200, 300, 400]
    assert steps_in_metrics(tmp_path, "eval") == [100, 200]
    assert [g.step for g in gallery.read(tmp_path)] == [100, 200]
    assert curve(tmp_path, "train/loss") == [(100, 1.0), (200, 1.0), (300, 2.0), (400, 2.0)]
    assert curve(tmp_path, "val/loss") == [(100, 1.0), (200, 1.0)]
    sessions = json.loads((tmp_path / "run.json").read_text())["sessions"]
    assert [s["resume_step"] for s in sessions] == [0, 200]


def test_a_fresh_start_in_an_old_workdir_forgets_it(tmp_path):
    for _ in range(2):
        reporter = report_run.reporter(tmp_path, resume_step=0)
        report_run.train(reporter, 100, 1.0)
        reporter.close()
    assert steps_in_metrics(tmp_path, "train") == [100]
    assert curve(tmp_path, "train/loss") == [(100, 1.0)]


def test_an_evaluation_of_a_finished_run_keeps_its_history(tmp_path):
    reporter = report_run.reporter(tmp_path)
    report_run.train(reporter, 1000, 1.0)
    reporter.close()
    reporter = report_run.reporter(tmp_path, resume_step=None)
    reporter.evaluation(800, {"test/accuracy": 0.9})
    reporter.close()
    log = history.read(tmp_path)
    assert [p.step for p in log.train] == [1000]
    assert log.evaluations[0].values == {"test/accuracy": 0.9}
    assert log.session["resume_step"] == 0


def test_run_json_tells_what_ran(tmp_path):
    report_run.reporter(tmp_path).close()
    info = history.read(tmp_path).info
    assert info["digest"] == report_run.EXPERIMENT.digest()
    assert info["total_steps"] == 1000
    (session,) = info["sessions"]
    assert session["device_kind"] == "cpu"
    assert session["command"].startswith("python")
    assert {"jax", "flax", "numpy", "av_mae"} <= set(session["packages"])


def test_other_hosts_write_nothing_and_do_not_import_tensorflow(tmp_path):
    program = f"""
import sys
sys.path[:0] = {sys.path!r}
import report_run
reporter = report_run.reporter({str(tmp_path / "run")!r}, primary=False)
report_run.train(reporter, 100, 1.0)
reporter.evaluation(100, {{"val/loss": 1.0}})
reporter.gallery(100, "val", [])
reporter.note("text")
reporter.close()
assert "tensorflow" not in sys.modules and "clu" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert not (tmp_path / "run").exists()


def test_without_pyav_there_are_animations_and_a_note(tmp_path, example, monkeypatch):
    monkeypatch.setattr(media, "encoders", lambda: False)
    reporter = report_run.reporter(tmp_path)
    reporter.gallery(100, "val", [example])
    reporter.close()
    assert "PyAV is not installed" in history.read(tmp_path).notes[0][1]
    assert list(tmp_path.glob("media/**/reconstruction.webp"))
    text = page.write(tmp_path).read_text()
    assert "data:image/webp;base64," in text
    assert "data:audio/x-wav;base64," in text
    assert "<video" not in text
