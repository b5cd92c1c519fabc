"""The public API: lazy import, probabilities, features, reconstructions, and what it refuses."""

import copy
import dataclasses
import io

import numpy as np
import pytest
import tiny
import tiny_models
from PIL import Image

import av_mae
from av_mae import api
from av_mae.config import modality, schema
from av_mae.inference import views


@pytest.fixture(scope="module")
def classifier() -> api.Model:
    return tiny_models.model("classify")


@pytest.fixture(scope="module")
def autoencoder() -> api.Model:
    return tiny_models.model("pretrain")


def _silent(clip):
    return dataclasses.replace(clip, audio=None)


def _blind(clip):
    return dataclasses.replace(clip, frames=None)


def test_a_name_on_hugging_face_says_how_to_get_it():
    with pytest.raises(ValueError, match="hf download MCG-NJU/videomae-base --local-dir videomae-"):
        av_mae.load("MCG-NJU/videomae-base")


def test_the_package_names_what_it_has():
    assert av_mae.Model is api.Model and av_mae.read_clip is api.read_clip
    assert {"load", "read_clip", "Model", "__version__"} <= set(dir(av_mae))
    with pytest.raises(AttributeError, match="'lode'; it has .*load"):
        av_mae.lode  # noqa: B018


def test_probabilities_by_label_best_first(classifier):
    found = classifier.classify(tiny_models.clip(), top=2)
    assert set(found) == set(tiny.LABELS)
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert sum(found.values()) == pytest.approx(1.0, abs=1e-5)
    assert list(classifier.classify(tiny_models.clip(), top=1)) == list(found)[:1]


def test_lists_and_paths_are_classified_like_clips(classifier, tmp_path):
    clips = [tiny_models.clip(seed=0), _silent(tiny_models.clip(seed=1)), tiny_models.clip(seed=2)]
    together = classifier.classify(clips, top=2)
    for clip, found in zip(clips, together, strict=True):
        assert found == pytest.approx(classifier.classify(clip, top=2), abs=1e-5)
    path = tiny_models.media_file(tmp_path / "clip.mp4", sound=False)
    found = classifier.classify(str(path), modalities=("video",))
    assert [found] == classifier.classify([path], modalities=("video",))
    assert found == classifier.classify(av_mae.read_clip(path), modalities=("video",))
    features = classifier.features(path, modalities=("video",))
    assert features["video"].shape[1:] == (16,)
    with pytest.raises(ValueError, match=r"gone.mp4: .*not found|gone.mp4"):
        classifier.classify("gone.mp4")


def test_models_and_reconstructions_are_shown_in_a_line_and_drawn(classifier, autoencoder):
    assert repr(classifier).startswith("Model(this model, step 0: classify of ")
    assert "2 labels" in repr(classifier) and "labels" not in repr(autoencoder)
    found = autoencoder.reconstruct(tiny_models.clip())
    assert "original, masked, predicted" in repr(found) and len(repr(found)) < 100
    drawn = found.plot()
    titles = [axis.get_title(loc="left") for axis in drawn.axes]
    assert titles == ["original", "masked", "predicted"] * 2
    drawn.savefig(written := io.BytesIO())
    assert np.asarray(Image.open(written).convert("L")).std() > 10  # something is drawn


def test_labels_of_a_multilabel_model_are_independent(classifier):
    dataset = dataclasses.replace(classifier.experiment.dataset, multilabel=True)
    found = _with(classifier, dataset=dataset).classify(tiny_models.clip())
    assert all(0 < p < 1 for p in found.values())
    assert abs(sum(found.values()) - 1) > 1e-3


def _with(model, **changes):
    """The same compiled model under a changed experiment."""
    other = copy.copy(model)
    other.experiment = dataclasses.replace(model.experiment, **changes)
    return other


def test_views_are_averaged_as_the_runs_evaluator_does(classifier):
    clip = tiny_models.clip(seconds=4.0)
    cut = views.evaluation(clip, classifier.experiment.modalities, temporal=3)
    single_vk = np.array([_in_order(classifier.classify(_part(clip, cut, v))) for v in range(3)])
    averaged = np.exp(np.log(single_vk).mean(0))
    np.testing.assert_allclose(
        _in_order(classifier.classify(clip, temporal_views=3)), averaged / averaged.sum(), rtol=1e-4
    )
    evaluators = {"test": schema.Evaluator(temporal_views=3, merge="softmax")}
    other = _with(classifier, evaluators=evaluators)
    np.testing.assert_allclose(_in_order(other.classify(clip)), single_vk.mean(0), rtol=1e-4)


def _part(clip, cut, view):
    """A clip that is nothing but one view, already at the model's size."""
    wave = (cut.batch["audio"][view] / 32_768).astype(np.float32)
    return dataclasses.replace(clip, frames=cut.batch["video"][view], fps=12.5, audio=wave)


def _in_order(found):
    return [found[label] for label in tiny.LABELS]


def test_missing_modalities_are_left_out_loudly(classifier, caplog):
    clip = tiny_models.clip()
    caplog.set_level("WARNING", logger="absl")
    silent = classifier.classify(_silent(clip))
    assert "clip0 has no audio" in caplog.text
    assert silent == classifier.classify(clip, modalities=("video",))
    assert silent != classifier.classify(clip)
    assert classifier.classify(_blind(clip)) == classifier.classify(clip, modalities=("audio",))


def test_one_modality_does_not_look_at_the_other(classifier):
    clip, other = tiny_models.clip(seed=0), tiny_models.clip(seed=1)
    swapped = dataclasses.replace(clip, audio=other.audio)
    assert classifier.classify(clip, modalities=("video",)) == classifier.classify(
        swapped, modalities=("video",)
    )
    assert classifier.classify(clip) != classifier.classify(swapped)


def test_nothing_to_look_at_is_an_error(classifier):
    clip = tiny_models.clip()
    with pytest.raises(ValueError, match="clip0 has no audio, and this model needs audio"):
        classifier.classify(_silent(clip), modalities=("audio",))
    with pytest.raises(ValueError, match="no video and no audio"):
        classifier.features(_silent(_blind(clip)))


def test_unknown_modalities_are_named(classifier):
    with pytest.raises(ValueError, match="unknown modality 'sound'; this model knows video, audio"):
        classifier.classify(tiny_models.clip(), modalities=("sound",))


@pytest.mark.parametrize("task", ["classify", "pretrain"])
def test_features_of_tokens_and_of_the_clip(task, classifier, autoencoder):
    model = {"classify": classifier, "pretrain": autoencoder}[task]
    found = model.features(tiny_models.clip())
    tokens = {n: m.tokens for n, m in model.experiment.modalities.items()}
    assert {n: x.shape for n, x in found.items()} == {
        "video": (tokens["video"], 16), "audio": (tokens["audio"], 16), "pooled": (16,)
    }  # fmt: skip
    mean = (found["video"].mean(0) + found["audio"].mean(0)) / 2
    np.testing.assert_allclose(found["pooled"], mean, rtol=1e-5)
    assert set(model.features(_silent(tiny_models.clip()))) == {"video", "pooled"}


def test_features_of_a_layer(autoencoder):
    clip, depth = tiny_models.clip(), autoencoder.experiment.model.depth
    first, last = (autoencoder.features(clip, layer=k) for k in (0, depth))
    output = autoencoder.features(clip)
    assert {k: x.shape for k, x in first.items()} == {k: x.shape for k, x in output.items()}
    assert not np.allclose(first["pooled"], last["pooled"], atol=1e-3)
    with pytest.raises(ValueError, match=f"layer 9: this model has {depth}; expected 0 to {depth}"):
        autoencoder.features(clip, layer=9)


def test_more_views_than_a_batch_holds(autoencoder):
    clip = tiny_models.clip(seconds=4.0)
    cut = views.at(clip, autoencoder.experiment.modalities, np.linspace(0.5, 3.5, 11))
    found = autoencoder.embed(cut)
    assert found["video"].shape[0] == 11
    rows = views.Views({k: x[9:10] for k, x in cut.batch.items()}, {})
    np.testing.assert_allclose(found["audio"][9], autoencoder.embed(rows)["audio"][0], atol=1e-5)


def test_reconstruction_shows_the_same_part_three_times(autoencoder):
    clip = tiny_models.clip()
    found = autoencoder.reconstruct(clip, seed=3)
    video, audio = autoencoder.experiment.modalities.values()
    assert isinstance(audio, modality.Audio)
    for kind in ("original", "masked", "predicted"):
        assert found.frames[kind].shape == video.input_shape
        assert found.frames[kind].dtype == np.uint8
        assert found.spectrogram[kind].shape == audio.input_shape
        assert found.waveform[kind].shape == (audio.samples,)
        assert np.isfinite(found.waveform[kind]).all()
        assert np.isfinite(found.spectrogram[kind]).all() == (kind != "masked")
    start = round(found.seconds["audio"][0] * 16_000)
    np.testing.assert_allclose(
        found.waveform["original"], clip.audio[start : start + audio.samples], atol=1e-4
    )
    cut = views.evaluation(clip, autoencoder.experiment.modalities)
    close = np.abs(found.frames["original"].astype(int) - cut.batch["video"][0])
    assert close.max() <= 1


def test_reconstruction_keeps_the_visible_and_replaces_the_hidden(autoencoder):
    found = autoencoder.reconstruct(tiny_models.clip())
    video = autoencoder.experiment.modalities["video"]
    patches = {k: np.asarray(video.patchify(x[None]))[0] for k, x in found.frames.items()}
    hidden = (patches["original"] != patches["masked"]).any(1)
    assert hidden.sum() == video.hidden
    np.testing.assert_array_equal(patches["predicted"][~hidden], patches["original"][~hidden])
    assert (patches["predicted"][hidden] != patches["masked"][hidden]).any(1).all()


def test_the_seed_decides_what_is_hidden(autoencoder):
    clip = tiny_models.clip()
    first, again, other = (
        autoencoder.reconstruct(clip, seed=s).frames["masked"] for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_normalised_targets_come_back_as_pictures():
    """With the true statistics of every patch, a prediction of 0 is the patch's mean."""
    model = tiny_models.model("pretrain", model=_model(normalise_targets="patch"))
    zero = [x * 0 for x in model._variables[0]["predict"]["video"].values()]
    for name, x in zip(model._variables[0]["predict"]["video"], zero, strict=True):
        model._variables[0]["predict"]["video"][name] = x
    found = model.reconstruct(tiny_models.clip(), modalities=("video",))
    video = model.experiment.modalities["video"]
    patches = {k: np.asarray(video.patchify(x[None]))[0] for k, x in found.frames.items()}
    hidden = (patches["original"] != patches["masked"]).any(1)
    means = patches["original"].mean(1)[hidden]
    assert np.abs(patches["predicted"][hidden] - means[:, None]).max() <= 1


def _model(**changes):
    return tiny.experiment("", "pretrain")["model"] | changes


def test_reconstruction_of_one_modality(autoencoder):
    found = autoencoder.reconstruct(_silent(tiny_models.clip()))
    assert found.frames and not found.spectrogram and not found.waveform
    assert found.example("x").fps == found.fps > 0


def test_the_wrong_kind_of_model_says_what_to_do(classifier, autoencoder):
    with pytest.raises(ValueError, match=r"pretrain model.*finetune it: task classify.*init_from"):
        autoencoder.classify(tiny_models.clip())
    with pytest.raises(ValueError, match="classify model.*no decoder; load the pretraining run"):
        classifier.reconstruct(tiny_models.clip())


def test_a_loaded_model_is_the_saved_one(tmp_path, classifier):
    loaded = av_mae.load(tiny_models.write_run(tmp_path))
    assert loaded.labels == tiny.LABELS and loaded.step == 7
    assert loaded.experiment == classifier.experiment
    clip = tiny_models.clip()
    assert loaded.classify(clip) == pytest.approx(classifier.classify(clip), abs=1e-6)


def test_loading_nothing_says_what_was_looked_for(tmp_path):
    with pytest.raises(ValueError, match="no checkpoint in"):
        av_mae.load(tmp_path)
    with pytest.raises(ValueError, match="does not exist"):
        av_mae.load(tmp_path / "nothing")
    tiny_models.write_run(tmp_path)
    with pytest.raises(ValueError, match="no checkpoint of step 3"):
        av_mae.load(tmp_path, step=3)


def test_reads_a_media_file(tmp_path, classifier):
    pytest.importorskip("av")
    path = tiny_models.media_file(tmp_path / "clip.mp4")
    clip = av_mae.read_clip(path)
    assert clip.frames.shape == (25, 40, 48, 3) and clip.fps == pytest.approx(12.5)
    assert abs(clip.seconds - 2.0) < 0.1 and clip.audio.dtype == np.float32
    part = av_mae.read_clip(path, start=1.0, end=1.5)
    assert part.seconds == pytest.approx(0.5, abs=0.09) and part.start == pytest.approx(1, abs=0.05)
    assert av_mae.read_clip(tiny_models.media_file(tmp_path / "b.mp4", sound=False)).audio is None
    assert classifier.classify(clip)


def test_reads_a_file_of_sound_only(tmp_path, classifier):
    pytest.importorskip("av")
    from av_mae.report import media

    wave = tiny_models.clip().audio
    (tmp_path / "sound.wav").write_bytes(media.wav(wave))
    clip = av_mae.read_clip(tmp_path / "sound.wav")
    assert clip.frames is None
    np.testing.assert_allclose(clip.audio, wave, atol=2e-4)
    assert classifier.classify(clip) == pytest.approx(
        classifier.classify(_blind(tiny_models.clip())), abs=1e-2
    )


def test_files_that_are_no_clip_are_named(tmp_path):
    pytest.importorskip("av")
    with pytest.raises(ValueError, match="nothing.mp4: file not found"):
        av_mae.read_clip(tmp_path / "nothing.mp4")
    (tmp_path / "text.mp4").write_text("not a film")
    with pytest.raises(ValueError, match="text.mp4: "):
        av_mae.read_clip(tmp_path / "text.mp4")
